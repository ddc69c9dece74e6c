//! The control plane's server: the real API server over the real store on a simulated disk, which can be killed.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use apiserver::{ApiServer, Config, Limits, TimeAndChance};
use client::Client;
use informer::Clock;
use pki::{Pki, PkiRequest, ServingNames};
use store::{Store, Writer};
use store_core::{HistoryLimits, Key, Revision};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::Disk;
use crate::ground::{Ground, ToPlacer, while_it_lasts};
use crate::oracle::watches::ReaderJudge;
use crate::rng::Rng;

/// Longest time a flush takes, in microseconds.
const FLUSH_MICROS_MAX: u64 = 3_000;
/// Commits of one run; the busiest that is right makes a third of them.
const COMMITS_MAX: usize = 6_000;
/// What the slow reader reads.
const READ_KIND: &str = "/registry/core/pods/";
/// Longest pause of the slow reader, and how much it takes at once.
const READ_MILLIS_MAX: u64 = 6_000;
const READ_EVENTS_MAX: usize = 4;

/// One incarnation of the API server with its store.
pub struct Server {
    api: ApiServer,
    /// The store below it.
    pub store: Store,
    gone: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Keys are not what is simulated: one authority serves all runs of this program.
fn authority() -> Arc<Pki> {
    static PKI: OnceLock<Arc<Pki>> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().expect("a temporary folder for the keys");
        let request = PkiRequest {
            cluster_name: "sim".to_owned(),
            serving: ServingNames { dns: Vec::new(), addresses: Vec::new() },
        };
        let pki = Pki::open(&folder.path().join("pki"), &request, meta::Timestamp::now());
        Arc::new(pki.expect("keys in a fresh folder"))
    };
    Arc::clone(PKI.get_or_init(make))
}

impl Server {
    /// Opens the store on the disk and starts the server over it.
    ///
    /// # Errors
    /// A sentence, if either does not start: the disk may fail on the way.
    pub async fn start(ground: &Arc<Ground>, disk: &Disk) -> Result<Arc<Self>, String> {
        let mut config = store::Config::standard();
        // Small enough that slow watches fall out of the ring, and out of the history.
        config.history =
            HistoryLimits { events_min: 200, age_min: Duration::from_secs(20), events_max: 2_000, bytes_max: 8 << 20 };
        config.watch_ring_events_max = 48;
        let begun = ground.begun;
        ground.server_clock.begin_anew();
        config.clock = store::Clock::injected(move || begun.elapsed());
        let (store, writer) = disk.open(config).map_err(|error| format!("open the store: {error}"))?;
        let found = ground.court().reopened(&store);
        ground.violated_all(found);
        let (gone, tasks) = (CancellationToken::new(), TaskTracker::new());
        let rng = Mutex::new(Rng::of(ground.seed, &format!("disk/{}", store.revision().0)));
        let writing = write(Arc::clone(ground), store.clone(), writer, disk.clone(), rng);
        tasks.spawn(gone.clone().run_until_cancelled_owned(writing));
        let reader = Rng::of(ground.seed, &format!("reader/{}", store.revision().0));
        tasks.spawn(gone.clone().run_until_cancelled_owned(read(Arc::clone(ground), store.clone(), reader)));
        let config = Config {
            pki: authority(),
            service_range: "10.96.0.0/16".parse().expect("a range"),
            advertise: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6443),
            admin_token: None,
            event_ttl: Duration::from_secs(3600),
            limits: Limits::STANDARD,
        };
        let (clock, chance) = (ground.server_clock.clone(), Arc::clone(ground));
        let chance = TimeAndChance::injected(move || clock.now(), move || chance.server_random());
        let api = match ApiServer::start_in(config, store.clone(), chance).await {
            Ok(api) => api,
            Err(error) => {
                gone.cancel();
                return Err(format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)));
            }
        };
        api.set_placer(Arc::new(ToPlacer(Arc::downgrade(ground))));
        Ok(Arc::new(Self { api, store, gone, tasks }))
    }

    /// A client that speaks to this incarnation.
    pub fn client(&self, user: &str) -> Arc<dyn Client> {
        self.api.client(user)
    }

    /// Does something as a part of the server: it is dropped where it stands when the server is killed.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.gone.clone().run_until_cancelled_owned(work));
    }

    /// Ends when the server is killed.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// What ends with the server.
    pub fn token(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Kills it: every request stops where it stands, and what is not on the disk is lost.
    pub async fn kill(&self) {
        self.gone.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.api.stop(Duration::ZERO).await;
    }
}

/// The store's writer: takes what has arrived, flushes, and shows the judges what was committed before anybody else
/// can act on it.
async fn write(ground: Arc<Ground>, store: Store, mut writer: Writer, disk: Disk, rng: Mutex<Rng>) {
    let from = store.revision();
    let mut watch = match store.watch(&Key::from("/registry/"), from) {
        Ok(watch) => watch,
        Err(error) => return ground.violated("S16", format!("a watch from the newest revision is refused: {error}")),
    };
    let mut last = from;
    loop {
        writer.arrival().await;
        let micros = rng.lock().unwrap_or_else(PoisonError::into_inner).below(FLUSH_MICROS_MAX);
        tokio::time::sleep(Duration::from_micros(micros)).await;
        while_it_lasts(|| ground.weather().disk_stalled_for()).await;
        disk.before_flush();
        writer.step();
        loop {
            match watch.try_next_batch(256) {
                Ok(events) if events.is_empty() => break,
                Ok(events) => {
                    for event in events {
                        last = committed(&ground, &event, last);
                    }
                }
                Err(error) => return ground.violated("S16", format!("the judges' own watch ended: {error}")),
            }
        }
    }
}

/// Reads the store's events more slowly than they come, as a client behind a slow line makes the server do.
async fn read(ground: Arc<Ground>, store: Store, mut rng: Rng) {
    loop {
        let from = store.revision();
        let Ok(mut watch) = store.watch(&Key::from(READ_KIND), from) else { return };
        let mut judge = ReaderJudge::new(READ_KIND, from.0);
        loop {
            tokio::time::sleep(Duration::from_millis(rng.below(READ_MILLIS_MAX))).await;
            let found = if rng.chance(400) {
                let progress = watch.progress();
                progress.map_or_else(Vec::new, |upto| judge.told(&ground.court(), upto.0))
            } else {
                match watch.try_next_batch(READ_EVENTS_MAX) {
                    Ok(events) => judge.took(&ground.court(), &events),
                    // History was forgotten: it begins anew.
                    Err(_) => break,
                }
            };
            ground.violated_all(found);
        }
        ground.count("event", "slow reader fell behind");
        tokio::time::sleep(Duration::from_millis(READ_MILLIS_MAX)).await;
    }
}

fn committed(ground: &Ground, event: &Arc<store_core::Event>, last: Revision) -> Revision {
    let revision = event.revision();
    if revision <= last {
        ground.violated("S13", format!("revision {revision} follows {last}"));
    }
    ground.trace().hash_bytes(&event.record.value);
    let found = ground.court().committed(event, ground.millis());
    if event.record.key.0.starts_with(b"/registry/core/events/")
        && let Some(past) = ground.court().history.newest()
        && past.after.tree()["involvedObject"]["kind"] == "StatefulSet"
    {
        let reason = past.after.tree()["reason"].as_str().unwrap_or_default().to_owned();
        ground.told(&reason);
    }
    ground.note(format_args!("    {revision} {:?} {}", event.kind(), event.record.key));
    if ground.court().history.len() > COMMITS_MAX {
        ground.violated("L2", format!("{COMMITS_MAX} commits: something goes round in circles"));
    }
    ground.violated_all(found);
    revision
}
