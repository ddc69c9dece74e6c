//! Hears what no part should have to say: errors in the log, and panics.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What was said.
#[derive(Clone, Debug)]
pub struct Said {
    /// `ERROR` or `PANIC`.
    pub property: &'static str,
    /// The words.
    pub what: String,
}

/// Listens to this thread until dropped.
pub struct Ears {
    heard: Arc<Mutex<Option<String>>>,
    _guard: DefaultGuard,
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ears")
    }
}

/// Begins to listen to this thread. With `SIM_LOG` in the environment everything of that level is printed, too.
pub fn listen() -> Ears {
    hook();
    PANIC.with_borrow_mut(|panic| *panic = None);
    let heard: Arc<Mutex<Option<String>>> = Arc::default();
    let layer = Listener(Arc::clone(&heard)).with_filter(LevelFilter::ERROR);
    let guard = match std::env::var("SIM_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok()) {
        Some(level) => {
            let print = tracing_subscriber::fmt::layer().without_time().with_writer(std::io::stderr);
            let all = tracing_subscriber::registry().with(layer).with(print.with_filter(level));
            tracing::subscriber::set_default(all)
        }
        None => tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)),
    };
    Ears { heard, _guard: guard }
}

/// Panics of simulated parts are findings, not noise on the terminal; those of other threads are printed as ever.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if tokio::runtime::Handle::try_current().is_ok() {
                PANIC.with_borrow_mut(|panic| {
                    panic.get_or_insert_with(|| info.to_string());
                });
            } else {
                before(info);
            }
        }));
    });
}

impl Ears {
    /// The first thing that was said.
    pub fn first(&self) -> Option<Said> {
        if let Some(what) = PANIC.with_borrow(Clone::clone) {
            return Some(Said { property: "PANIC", what });
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heard.map(|what| Said { property: "ERROR", what })
    }
}

struct Listener(Arc<Mutex<Option<String>>>);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // A disk that was told to fail is an error that somebody has to act on, and is acted on.
        if event.metadata().target().starts_with("store::writer") {
            return;
        }
        let mut words = Words(event.metadata().target().to_owned());
        event.record(&mut words);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(words.0);
    }
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
