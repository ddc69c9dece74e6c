//! Drawing: lines that are redrawn on a terminal, plain lines as they change where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use images::{DiskImages, Transfer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::world::Line;
use crate::terminal;

/// How often a plain line repeats how far something has come.
const REPEAT_EVERY: Duration = Duration::from_secs(10);
/// Work on images that is done sooner is not shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked how far images have come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The lines on the terminal.
pub(super) struct Screen {
    bars: MultiProgress,
    by_name: BTreeMap<String, ProgressBar>,
    last: BTreeMap<String, Printed>,
    interactive: bool,
}

/// What a line said last, and when.
struct Printed {
    doing: String,
    so_far: Option<String>,
    at: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            by_name: BTreeMap::new(),
            last: BTreeMap::new(),
            interactive: terminal::is_interactive(),
        }
    }

    pub(super) fn draw(&mut self, lines: &[Line]) {
        for line in lines {
            if self.is_news(line) {
                self.show(line);
            }
        }
        let names: BTreeSet<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        let gone: Vec<String> = self.last.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.show(&Line { name: name.clone(), doing: "gone".to_owned(), done: true, ..Line::default() });
            self.last.remove(&name);
            self.by_name.remove(&name);
        }
    }

    fn is_news(&self, line: &Line) -> bool {
        let Some(last) = self.last.get(&line.name) else {
            return true;
        };
        let is_further = last.so_far != line.so_far && (self.interactive || last.at.elapsed() >= REPEAT_EVERY);
        last.doing != line.doing || is_further
    }

    fn show(&mut self, line: &Line) {
        let so_far = line.so_far.as_ref().map(|so_far| format!(": {so_far}")).unwrap_or_default();
        let text = format!("{}{so_far}", line.doing);
        let printed = Printed { doing: line.doing.clone(), so_far: line.so_far.clone(), at: Instant::now() };
        self.last.insert(line.name.clone(), printed);
        if !self.interactive {
            eprintln!("{}: {text}", line.name);
            return;
        }
        let bar = self.by_name.entry(line.name.clone()).or_insert_with(|| spinner(&self.bars, &line.name));
        if line.done {
            bar.finish_with_message(format!("{text} ✓"));
        } else {
            if bar.is_finished() {
                // It was ready and is not any more: a finished bar does not turn again.
                bar.reset();
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            bar.set_message(text);
        }
    }

    pub(super) fn finish(&mut self) {
        for bar in self.by_name.values().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

fn spinner(bars: &MultiProgress, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bars.add(ProgressBar::new_spinner().with_style(style));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.set_prefix(name.to_owned());
    bar
}

/// How far an image has come: `12.3 of 43.0 MB, layer 1 of 2`.
pub fn amount(transfer: &Transfer) -> String {
    let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
    let layers = match transfer.layers {
        0 | 1 => String::new(),
        layers => format!(", layer {} of {layers}", transfer.layer),
    };
    match transfer.bytes {
        0 => format!("{} MB{layers}", tenths(transfer.bytes_done)),
        bytes => format!("{} of {} MB{layers}", tenths(transfer.bytes_done), tenths(bytes)),
    }
}

/// Shows how far this process's own work on images has come, while the work goes on.
pub struct Meters<'s> {
    store: &'s DiskImages,
    screen: Screen,
}

impl<'s> Meters<'s> {
    /// Meters of this store.
    pub fn new(store: &'s DiskImages) -> Self {
        Self { store, screen: Screen::new() }
    }

    /// Does `work` and shows meanwhile how far it is, if it takes longer than a second.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        tokio::pin!(work);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut work => break answer,
                _ = look.tick() => if begun.elapsed() >= SHOWN_AFTER { self.look() },
            }
        };
        self.screen.finish();
        answer
    }

    fn look(&mut self) {
        let transfers = self.store.transfers().unwrap_or_default();
        let mine = transfers.iter().filter(|transfer| transfer.pid == std::process::id());
        let lines: Vec<Line> = mine
            .map(|transfer| Line {
                name: transfer.name.clone(),
                doing: transfer.stage.to_string(),
                so_far: Some(amount(transfer)),
                ..Line::default()
            })
            .collect();
        self.screen.draw(&lines);
    }
}
