//! `cargo xtask bench`: the figures of docs/benchmarks.md, each the median of several runs.
//!
//! The client is `ksb`, the program by which upstream was measured too; it and the cluster share the machine, in a
//! network namespace of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use conformance::{Cluster, TestImage, Tools, Up, build_image, root_folder, run, say};

use crate::build::{self, Profile, cargo};

/// The rows between these two lines of docs/benchmarks.md are written by this command.
const MARKS: [&str; 2] = ["<!-- begin: cargo xtask bench -->", "<!-- end: cargo xtask bench -->"];

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Runs of each row; the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only rows whose name contains this text; docs/benchmarks.md is left alone then
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Measures one thing once; several figures by row name.
type Measure = fn(&Bed) -> Result<Figures>;
type Figures = BTreeMap<&'static str, f64>;

/// What a row says: name, unit, floor, aim. Higher is better where the unit is a rate.
struct Row {
    name: &'static str,
    unit: &'static str,
    floor: f64,
    aim: f64,
}

const ROWS: [Row; 19] = [
    Row { name: "empty folder to ready", unit: "s", floor: 0.5, aim: 0.2 },
    Row { name: "memory (PSS), idle", unit: "MB", floor: 50.0, aim: 30.0 },
    Row { name: "memory (PSS), 3 pods", unit: "MB", floor: 80.0, aim: 40.0 },
    Row { name: "store alone, 64 writers", unit: "puts/s", floor: 25_000.0, aim: 40_000.0 },
    Row { name: "creates over TLS, 1 client", unit: "/s", floor: 1_200.0, aim: 1_500.0 },
    Row { name: "creates over TLS, 64 clients", unit: "/s", floor: 6_000.0, aim: 8_000.0 },
    Row { name: "list of 13,000 ConfigMaps", unit: "ms", floor: 40.0, aim: 25.0 },
    Row { name: "1,000 watchers, p99", unit: "ms", floor: 25.0, aim: 15.0 },
    Row { name: "ordered pods, create", unit: "ms a pod", floor: 80.0, aim: 40.0 },
    Row { name: "ordered pods, rolling update", unit: "ms a pod", floor: 150.0, aim: 80.0 },
    Row { name: "30 Parallel pods", unit: "pods/s", floor: 30.0, aim: 60.0 },
    Row { name: "virtual, ordered create", unit: "ms a pod", floor: 3.0, aim: 1.5 },
    Row { name: "virtual, ordered rolling update", unit: "ms a pod", floor: 6.0, aim: 3.0 },
    Row { name: "virtual, ordered scale to zero", unit: "ms a pod", floor: 3.0, aim: 1.5 },
    Row { name: "virtual, 10 Parallel sets of 100", unit: "pods/s", floor: 1_000.0, aim: 2_000.0 },
    Row { name: "virtual, memory (PSS) with 1,000 pods", unit: "MB", floor: 150.0, aim: 100.0 },
    Row { name: "one reconcile of a settled set of 1,000", unit: "ms", floor: 1.0, aim: 0.2 },
    Row { name: "store reopened after a kill, 1 GiB", unit: "s", floor: f64::NAN, aim: f64::NAN },
    Row { name: "store reopened after a kill, memory", unit: "MB", floor: f64::NAN, aim: f64::NAN },
];

const MEASURES: [(&str, Measure); 9] = [
    ("start and memory", start_and_memory),
    ("store", store_alone),
    ("creates and list", creates_and_list),
    ("watch", watch),
    ("ordered pods", ordered),
    ("parallel pods", parallel),
    ("virtual ordered pods", virtual_ordered),
    ("virtual parallel pods", virtual_parallel),
    ("reconcile", reconcile),
];

/// What a measurement needs.
struct Bed {
    binary: std::path::PathBuf,
    ksb: std::path::PathBuf,
    busybox: std::path::PathBuf,
}

impl Bed {
    fn cluster(&self) -> Result<Cluster> {
        let cluster = Cluster::new(&self.binary, "bench")?;
        cluster.import(&self.busybox)?;
        cluster.up(&Up::default())?.success()?;
        Ok(cluster)
    }

    /// A cluster of 100 virtual nodes whose own node takes no pods.
    fn virtual_cluster(&self) -> Result<Cluster> {
        let cluster = Cluster::new(&self.binary, "bench")?;
        let arguments = ["--virtual-nodes", "100", "--max-pods", "0"].map(str::to_owned).to_vec();
        cluster.up(&Up { arguments, ..Up::default() })?.success()?;
        Ok(cluster)
    }

    /// Runs the client and reads its `key=value` figures, one map for each line.
    fn ksb(&self, cluster: &Cluster, arguments: &[&str]) -> Result<Vec<BTreeMap<String, String>>> {
        let mut command = cluster.netns().command(&self.ksb.display().to_string());
        command.args(arguments).arg("-kubeconfig").arg(cluster.kubeconfig());
        let printed = run(&mut command)?.success().with_context(|| format!("ksb {}", arguments.join(" ")))?;
        Ok(printed.lines().map(pairs).collect())
    }
}

fn pairs(line: &str) -> BTreeMap<String, String> {
    line.split_whitespace().filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn number(figures: &BTreeMap<String, String>, name: &str) -> Result<f64> {
    let text = figures.get(name).with_context(|| format!("no figure {name} in {figures:?}"))?;
    text.parse().with_context(|| format!("{name}={text}"))
}

/// Runs the benchmarks and writes the table.
///
/// # Errors
/// The row that could not be measured.
pub fn run_all(args: &Args) -> Result<()> {
    let bed = Bed {
        binary: build::build(Profile::Dist)?,
        ksb: Tools::new().install_ksb()?,
        busybox: build_image(TestImage::Busybox)?,
    };
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, measure) in MEASURES {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        for turn in 1..=args.runs {
            say(&format!("{name}, run {turn} of {}", args.runs));
            for (row, figure) in measure(&bed).with_context(|| format!("measure {name}"))? {
                all.entry(row).or_default().push(figure);
            }
        }
    }
    let table = table(&all);
    println!("{table}");
    if args.only.is_none() {
        write_table(&root_folder().join("docs/benchmarks.md"), &table)?;
    }
    Ok(())
}

fn table(all: &BTreeMap<&'static str, Vec<f64>>) -> String {
    let mut text =
        String::from("| what | unit | median | lowest | highest | floor | aim |\n|---|---|---|---|---|---|---|\n");
    for row in &ROWS {
        let Some(figures) = all.get(row.name) else {
            continue;
        };
        let mut sorted = figures.clone();
        sorted.sort_by(f64::total_cmp);
        let shown = |f: f64| {
            if f.is_nan() {
                "–".to_owned()
            } else if f < 10.0 {
                format!("{f:.2}")
            } else if f < 100.0 {
                format!("{f:.1}")
            } else {
                format!("{f:.0}")
            }
        };
        text.push_str(&format!(
            "| {} | {} | **{}** | {} | {} | {} | {} |\n",
            row.name,
            row.unit,
            shown(sorted[sorted.len() / 2]),
            shown(sorted[0]),
            shown(sorted[sorted.len() - 1]),
            shown(row.floor),
            shown(row.aim)
        ));
    }
    text
}

fn write_table(path: &Path, table: &str) -> Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let (Some(begin), Some(end)) = (old.find(MARKS[0]), old.find(MARKS[1])) else {
        bail!("{} has lost the lines {MARKS:?}", path.display());
    };
    let new = format!("{}\n\n{table}\n{}", &old[..begin + MARKS[0].len()], &old[end..]);
    fs::write(path, new)?;
    Ok(())
}

fn start_and_memory(bed: &Bed) -> Result<Figures> {
    let cluster = Cluster::new(&bed.binary, "bench")?;
    cluster.import(&bed.busybox)?;
    let begun = Instant::now();
    cluster.up(&Up::default())?.success()?;
    let ready = begun.elapsed().as_secs_f64();
    let idle = settled_memory(bed)?;
    let set = set_manifest(&cluster)?;
    cluster.up(&Up { files: vec![set], ..Up::default() })?.success()?;
    let with_pods = settled_memory(bed)?;
    Ok(BTreeMap::from([
        ("empty folder to ready", ready),
        ("memory (PSS), idle", idle),
        ("memory (PSS), 3 pods", with_pods),
    ]))
}

/// Memory after the start's own work has settled: the lowest of ten looks within two seconds.
fn settled_memory(bed: &Bed) -> Result<f64> {
    let mut lowest = f64::MAX;
    for _ in 0..10 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        lowest = lowest.min(memory(&bed.binary)?);
    }
    Ok(lowest)
}

/// Proportional set size of every process of our binary, in MB. Helpers run from a view of it under another path.
fn memory(binary: &Path) -> Result<f64> {
    let mut kilobytes = 0.0;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let is_server = fs::read_link(folder.join("exe")).is_ok_and(|exe| exe == binary);
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let is_helper = words.split(|b| *b == 0).nth(1) == Some(b"runtime-helper");
        if is_server || is_helper {
            let rollup = fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
            let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
            let words = pss.and_then(|l| l.split_whitespace().next());
            kilobytes += words.and_then(|w| w.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    Ok(kilobytes / 1000.0)
}

fn set_manifest(cluster: &Cluster) -> Result<std::path::PathBuf> {
    let path = cluster.folder().join("three.yaml");
    fs::write(
        &path,
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: three}\nspec:\n  serviceName: \"\"\n  replicas: 3\n  \
         selector: {matchLabels: {app: three}}\n  template:\n    metadata: {labels: {app: three}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      containers: [{name: c, image: \"busybox:1.35\", command: [sleep, \"9999\"]}]\n",
    )?;
    Ok(path)
}

/// Runs an example that prints figures as `key=value`.
fn example(package: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", package, "--example", name]);
    Ok(run(&mut command)?.success()?.lines().flat_map(pairs).collect())
}

fn reconcile(_: &Bed) -> Result<Figures> {
    let figures = example("controllers-core", "plan_bench")?;
    Ok(BTreeMap::from([("one reconcile of a settled set of 1,000", number(&figures, "settled_1000_ms")?)]))
}

fn store_alone(_: &Bed) -> Result<Figures> {
    let figures = example("store", "store_bench")?;
    Ok(BTreeMap::from([
        ("store alone, 64 writers", number(&figures, "puts_per_s_64")?),
        ("store reopened after a kill, 1 GiB", number(&figures, "reopen_s")?),
        ("store reopened after a kill, memory", number(&figures, "reopen_rss_mb")?),
    ]))
}

fn creates_and_list(bed: &Bed) -> Result<Figures> {
    let cluster = bed.cluster()?;
    let one = bed.ksb(&cluster, &["create", "-n", "3000", "-c", "1"])?;
    let many = bed.ksb(&cluster, &["create", "-n", "10000", "-c", "64"])?;
    let list = bed.ksb(&cluster, &["list"])?;
    Ok(BTreeMap::from([
        ("creates over TLS, 1 client", number(&one[0], "per_s")?),
        ("creates over TLS, 64 clients", number(&many[0], "per_s")?),
        ("list of 13,000 ConfigMaps", number(&list[0], "p50_ms")?),
    ]))
}

fn watch(bed: &Bed) -> Result<Figures> {
    let cluster = bed.cluster()?;
    let printed = bed.ksb(&cluster, &["watch", "-w", "1000", "-n", "200"])?;
    let (delivered, of) = (number(&printed[0], "delivered")?, number(&printed[0], "of")?);
    if delivered < of {
        bail!("only {delivered} of {of} events were delivered");
    }
    Ok(BTreeMap::from([("1,000 watchers, p99", number(&printed[0], "p99_ms")?)]))
}

fn ordered(bed: &Bed) -> Result<Figures> {
    let cluster = bed.cluster()?;
    let printed = bed.ksb(&cluster, &["sts", "-image", "busybox:1.35", "-replicas", "10"])?;
    Ok(BTreeMap::from([
        ("ordered pods, create", number(&printed[0], "per_pod_ms")?),
        ("ordered pods, rolling update", number(&printed[1], "per_pod_ms")?),
    ]))
}

fn parallel(bed: &Bed) -> Result<Figures> {
    let cluster = bed.cluster()?;
    let arguments = ["sts", "-image", "busybox:1.35", "-replicas", "30", "-policy", "Parallel"];
    let printed = bed.ksb(&cluster, &arguments)?;
    Ok(BTreeMap::from([("30 Parallel pods", number(&printed[0], "pods_per_s")?)]))
}

fn virtual_ordered(bed: &Bed) -> Result<Figures> {
    const PODS: u32 = 100;
    let cluster = bed.virtual_cluster()?;
    let printed = bed.ksb(&cluster, &["sts", "-replicas", &PODS.to_string()])?;
    let [create, update, scale] = printed.as_slice() else { bail!("three phases, not {printed:?}") };
    Ok(BTreeMap::from([
        ("virtual, ordered create", number(create, "per_pod_ms")?),
        ("virtual, ordered rolling update", number(update, "per_pod_ms")?),
        ("virtual, ordered scale to zero", number(scale, "total_s")? * 1000.0 / f64::from(PODS)),
    ]))
}

fn virtual_parallel(bed: &Bed) -> Result<Figures> {
    let cluster = bed.virtual_cluster()?;
    let arguments = ["sts", "-sets", "10", "-replicas", "100", "-policy", "Parallel", "-keep"];
    let printed = bed.ksb(&cluster, &arguments)?;
    Ok(BTreeMap::from([
        ("virtual, 10 Parallel sets of 100", number(&printed[0], "pods_per_s")?),
        ("virtual, memory (PSS) with 1,000 pods", settled_memory(bed)?),
    ]))
}
