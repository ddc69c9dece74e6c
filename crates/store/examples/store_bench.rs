//! Measures the store on this machine and prints `key=value` lines.
//!
//! `store_bench [--folder FOLDER] [--reopen-mib MIB] [puts] [range] [watch] [reopen]`: without a part all of them. The
//! folder must lie on the disk that is to be measured; the default is a temporary one beside this program.
//! `cargo run --release -p store --example store_bench`

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Config, RedbConfig, RedbEngine, Store};
use store_core::{Expected, Key, Op, Payload, Range, Revision, Transaction};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const VALUE_BYTES: usize = 1_024;
const PUTS_FOR: Duration = Duration::from_secs(5);
const RANGE_ITEMS: usize = 13_000;
/// Operations in one transaction of [`fill`].
const FILL_OPS: usize = 64;
const WATCHES: usize = 1_000;
const EVENTS_PER_SEC: u32 = 50;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let mut folder = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    let (mut reopen_mib, mut parts) = (1_024, Vec::new());
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or("a value is missing");
        match arg.as_str() {
            "--folder" => folder = value()?.into(),
            "--reopen-mib" => reopen_mib = value()?.parse()?,
            "fill-and-die" => return fill_and_die(Path::new(&value()?), value()?.parse()?),
            _ => parts.push(arg),
        }
    }
    let folder = folder.join(format!("store-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = measure(&runtime, &folder, reopen_mib, &parts);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(runtime: &tokio::runtime::Runtime, folder: &Path, reopen_mib: u64, parts: &[String]) -> Outcome<()> {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("puts") {
        for writers in [1, 64] {
            puts(runtime, &folder.join(format!("puts-{writers}")), writers)?;
        }
    }
    if wanted("range") {
        range(runtime, &folder.join("range"))?;
    }
    if wanted("watch") {
        fan_out(runtime, &folder.join("watch"))?;
    }
    if wanted("reopen") {
        reopen(&folder.join("reopen"), reopen_mib)?;
    }
    Ok(())
}

fn puts(runtime: &tokio::runtime::Runtime, dir: &Path, writers: usize) -> Outcome<()> {
    let store = open(dir)?;
    let (puts, latencies) = runtime.block_on(put_for(&store, writers))?;
    println!("puts_per_s_{writers}={puts:.0}");
    println!("put_p50_us_{writers}={}", percentile(&latencies, 50).as_micros());
    println!("put_p99_us_{writers}={}", percentile(&latencies, 99).as_micros());
    let metrics = store.metrics();
    println!("puts_per_batch_{writers}={:.1}", metrics.transactions_total as f64 / metrics.batches_total as f64);
    println!("disk_to_logical_{writers}={:.2}", metrics.disk_bytes as f64 / (latencies.len() * VALUE_BYTES) as f64);
    runtime.block_on(store.close());
    Ok(())
}

fn open(dir: &Path) -> Outcome<Store> {
    Ok(Store::open(Config::standard(), RedbEngine::open(RedbConfig::standard(dir))?)?)
}

/// Bytes that no file system or engine can make smaller.
fn value(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let bytes: Vec<u8> = (0..VALUE_BYTES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    bytes.into()
}

fn key(writer: usize, number: usize) -> String {
    format!("/core/configmaps/default/cm-{writer:04}-{number:08}")
}

async fn put_for(store: &Store, writers: usize) -> Outcome<(f64, Vec<Duration>)> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let payload = Payload::plain(value(writer as u64 + 1));
            while start.elapsed() < PUTS_FOR {
                let asked = Instant::now();
                let put = Transaction::put(key(writer, latencies.len()), payload.clone(), Expected::Any);
                store.commit(put).await?;
                latencies.push(asked.elapsed());
            }
            Ok::<_, store::CommitError>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok((latencies.len() as f64 / start.elapsed().as_secs_f64(), latencies))
}

fn range(runtime: &tokio::runtime::Runtime, dir: &Path) -> Outcome<()> {
    let store = open(dir)?;
    runtime.block_on(fill(&store, RANGE_ITEMS))?;
    let all = Range::prefix("/core/configmaps/");
    let mut took = Vec::new();
    for _ in 0..50 {
        let asked = Instant::now();
        let values = store.range(&all)?;
        took.push(asked.elapsed());
        assert_eq!(values.records.len(), RANGE_ITEMS, "the range is complete");
    }
    println!("range_{RANGE_ITEMS}_p50_us={}", percentile(&took, 50).as_micros());
    println!("range_{RANGE_ITEMS}_p99_us={}", percentile(&took, 99).as_micros());
    runtime.block_on(store.close());
    Ok(())
}

/// Puts `items` keys, many to a transaction: filling is not what is measured.
async fn fill(store: &Store, items: usize) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for first in (writer * FILL_OPS..items).step_by(8 * FILL_OPS) {
                let put = |number| Op::Put {
                    key: key(0, number).into(),
                    payload: Payload::plain(value(number as u64)),
                    expected: Expected::Any,
                };
                let ops = (first..items.min(first + FILL_OPS)).map(put).collect();
                store.commit(Transaction { ops }).await?;
            }
            Ok::<_, store::CommitError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// From just before the commit until a watch holds the event: 1,000 watches, 50 events a second.
fn fan_out(runtime: &tokio::runtime::Runtime, dir: &Path) -> Outcome<()> {
    let store = open(dir)?;
    let latencies = runtime.block_on(async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        let events = EVENTS_PER_SEC as usize * 4;
        for _ in 0..WATCHES {
            let mut watch = store.watch(&Key::from("/core/configmaps/"), Revision::ZERO)?;
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(events);
                while latencies.len() < events {
                    for event in watch.next_batch(64).await? {
                        let sent = u64::from_le_bytes(event.record.value[..8].try_into().unwrap_or_default());
                        latencies.push(start.elapsed().saturating_sub(Duration::from_nanos(sent)));
                    }
                }
                Ok::<_, store::WatchError>(latencies)
            });
        }
        let mut tick = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SEC);
        for number in 0..events {
            tick.tick().await;
            let mut bytes = value(number as u64).to_vec();
            bytes[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_le_bytes());
            store.commit(Transaction::put(key(1, number), Payload::plain(bytes), Expected::Any)).await?;
        }
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done??);
        }
        Outcome::Ok(latencies)
    })?;
    println!("fan_out_{WATCHES}_p50_us={}", percentile(&latencies, 50).as_micros());
    println!("fan_out_{WATCHES}_p99_us={}", percentile(&latencies, 99).as_micros());
    runtime.block_on(store.close());
    Ok(())
}

/// A child fills a store and kills itself; this process opens what is left.
fn reopen(dir: &Path, mib: u64) -> Outcome<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("fill-and-die")
        .arg(dir)
        .arg(mib.to_string())
        .stdout(Stdio::inherit())
        .spawn()?;
    child.wait()?;
    let config = RedbConfig::standard(dir);
    let asked = Instant::now();
    let engine = RedbEngine::open(config)?;
    let repaired = asked.elapsed();
    let store = Store::open(Config::standard(), engine)?;
    println!("reopen_mib={mib}");
    println!("reopen_repair_s={:.3}", repaired.as_secs_f64());
    println!("reopen_s={:.3}", asked.elapsed().as_secs_f64());
    println!("reopen_rss_mb={:.0}", memory_mb("/proc/self/status", "VmRSS:"));
    println!("reopen_keys={}", store.metrics().keys);
    println!("reopen_disk_mib={}", store.metrics().disk_bytes >> 20);
    println!("reopen_resident_mib={}", store.metrics().live_resident_bytes >> 20);
    Ok(())
}

fn fill_and_die(dir: &Path, mib: u64) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(open(dir)?);
    runtime.block_on(fill(&store, (mib as usize) << 10))?;
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL)?;
    Ok(())
}

fn percentile(sample: &[Duration], percent: usize) -> Duration {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn memory_mb(path: &str, field: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1_024.0
}
