//! What can be typed: every flag and every help text, and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Kubernetes StatefulSets in one program: a whole cluster on this machine, driven by unmodified kubectl.
#[derive(Parser, Debug)]
#[command(name = "roadstead", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  roadstead image import redis.tar            bring an image, no registry needed
  roadstead up -f examples/redis.yaml         start a cluster and wait until everything is ready
  export KUBECONFIG=$(roadstead kubeconfig --path)
  kubectl get pods
  roadstead down                              stop pods in order; data is kept")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start the cluster, apply manifests, wait until all is ready
    #[command(after_help = "\
Examples:
  roadstead up                                an empty cluster, in the background
  roadstead up -f redis.yaml                  start (or use the running one), apply, show progress until ready
  cat *.yaml | roadstead up -f -              manifests from standard input
  roadstead up --name ci --listen 127.0.0.1:0 a second cluster beside the first, on a free port
  roadstead up --virtual-nodes 100            100 nodes without a machine, to test operators and charts
  roadstead up --foreground                   stay in the foreground, for systemd")]
    Up(UpArgs),
    /// Stop the cluster: pods highest ordinal first, data kept
    #[command(after_help = "\
Examples:
  roadstead down                              the next `up` brings the pods back in order
  roadstead down --delete-data                also delete volumes, images and objects; asks first")]
    Down(DownArgs),
    /// Show whether the cluster runs, where, and its pods
    #[command(after_help = "\
Examples:
  roadstead status                            exit code 0 if it runs, 3 if not
  roadstead status --name ci                  the cluster that `up --name ci` started")]
    Status(InstanceArgs),
    /// Say what manifests would change before they do: which pods, in which order, what is unavailable meanwhile
    #[command(after_help = "\
Examples:
  roadstead plan -f redis.yaml                exit code 0: nothing to do, 2: something, 1: refused
  roadstead plan -f redis.yaml -o json        the same for programs
  kubectl diff -f redis.yaml                  the fields alone")]
    Plan(PlanArgs),
    /// Say what an object waits for, down to the one fact that blocks it, and what to do next
    #[command(after_help = "\
Examples:
  roadstead why redis                         the StatefulSet redis
  roadstead why pod/redis-1
  roadstead why -n shop pvc/data-redis-0      exit code 0: nothing blocks it, 2: it waits, 3: it is stuck")]
    Why(WhyArgs),
    /// Print the kubeconfig
    #[command(after_help = "\
Examples:
  roadstead kubeconfig > ~/.kube/roadstead
  export KUBECONFIG=$(roadstead kubeconfig --path)")]
    Kubeconfig(KubeconfigArgs),
    /// Import, list, pull and remove images
    Image(ImageArgs),
    /// Print the version
    Version,
}

/// Which cluster.
#[derive(Args, Clone, Debug)]
pub struct InstanceArgs {
    /// Data folder of the cluster [default: /var/lib/roadstead/NAME]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Name of the cluster
    #[arg(long, default_value = "default")]
    pub name: String,
}

/// Arguments of `up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Which cluster.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Address and port of the API server; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Manifest file, folder of manifests, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// Namespace of manifests that name none
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Most pods that this node takes; 0 sends all to virtual nodes
    #[arg(long, value_name = "N", default_value_t = server::PODS_MAX)]
    pub max_pods: usize,
    /// Whether pods that never became ready, on a template that is no longer wanted, are replaced in StatefulSets that
    /// say nothing about it (annotation roadstead.dev/heal-rollout): never-ready or off
    #[arg(long, value_name = "WHICH", default_value_t = server::HealRollout::Off)]
    pub heal_rollout: server::HealRollout,
    /// Nodes without a machine.
    #[command(flatten)]
    pub virtual_args: VirtualArgs,
    /// Longest time to wait until all is ready, for example 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
    /// Return when the manifests are applied, without waiting until they are ready
    #[arg(long)]
    pub no_wait: bool,
    /// Stay in the foreground and log to standard error; stop on SIGTERM
    #[arg(long, conflicts_with = "files")]
    pub foreground: bool,
    /// File descriptor on which the background server says that it is ready
    #[arg(long, hide = true, value_name = "FD")]
    pub notify_fd: Option<i32>,
}

/// Nodes without a machine.
#[derive(Args, Clone, Debug)]
pub struct VirtualArgs {
    /// Make sure that N virtual nodes are there, from virtual-0 up, whose pods live by a script, without processes;
    /// they stay until they are deleted
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub virtual_nodes: u32,
    /// What a new virtual node has [default: cpu=32,memory=256Gi,pods=110]
    #[arg(long, value_name = "NAME=AMOUNT,…", default_value = "", hide_default_value = true, value_parser = parse_capacity)]
    pub virtual_node_capacity: Capacity,
}

/// Amounts of resources by name.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Capacity(pub BTreeMap<String, Quantity>);

/// Reads `cpu=8,memory=32Gi,pods=110`.
fn parse_capacity(text: &str) -> Result<Capacity, String> {
    let one = |part: &str| {
        let wanted = || format!("{part:?} is not NAME=AMOUNT; write for example cpu=8,memory=32Gi,pods=110");
        let (name, amount) = part.split_once('=').ok_or_else(wanted)?;
        let is_amount = meta::Quantity::parse(amount).is_ok_and(|amount| amount >= meta::Quantity::default());
        if name.is_empty() || !is_amount {
            return Err(wanted());
        }
        Ok((name.to_owned(), Quantity(amount.to_owned())))
    };
    text.split(',').filter(|part| !part.is_empty()).map(one).collect::<Result<_, _>>().map(Capacity)
}

/// Arguments of `down`.
#[derive(Args, Debug)]
pub struct DownArgs {
    /// Which cluster.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Delete the data folder too: objects, volumes, images
    #[arg(long)]
    pub delete_data: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Longest time to wait for the pods to stop
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Which cluster.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Manifest file, folder of manifests, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of manifests that name none
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// How the plan is printed
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    pub output: Output,
    /// Another cluster, by its kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Arguments of `why`.
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// Which cluster.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// The object: TYPE/NAME, or the name of a StatefulSet
    #[arg(value_name = "OBJECT")]
    pub object: String,
    /// Namespace of the object
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// How the answer is printed
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    pub output: Output,
    /// Another cluster, by its kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Arguments of `kubeconfig`.
#[derive(Args, Debug)]
pub struct KubeconfigArgs {
    /// Which cluster.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Print the file's path instead of its content
    #[arg(long)]
    pub path: bool,
}

/// Arguments of `image`.
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The commands of `image`.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Import an archive: docker-archive (`docker save`) or OCI layout, packed or as a folder
    #[command(after_help = "Example:\n  docker save redis:7 -o redis.tar && roadstead image import redis.tar")]
    Import {
        /// Which cluster.
        #[command(flatten)]
        instance: InstanceArgs,
        /// Archives
        #[arg(required = true, value_name = "FILE|DIR")]
        archives: Vec<PathBuf>,
    },
    /// List the images that are here
    #[command(after_help = "Example:\n  roadstead image list")]
    List(InstanceArgs),
    /// Fetch an image from its registry
    #[command(after_help = "\
Examples:
  roadstead image pull redis:7                from Docker Hub, with the credentials of ~/.docker/config.json
  roadstead image pull 127.0.0.1:5000/app:1   from a registry on this machine, which needs no TLS")]
    Pull {
        /// Which cluster.
        #[command(flatten)]
        instance: InstanceArgs,
        /// Image names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove an image
    #[command(after_help = "Example:\n  roadstead image rm redis:7")]
    Rm {
        /// Which cluster.
        #[command(flatten)]
        instance: InstanceArgs,
        /// Image names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Reads `127.0.0.1:6443`.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, for example 127.0.0.1:6443 or [::1]:0".to_owned())
}

/// Reads `90s`, `5m`, `1h30m` or plain seconds.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(secs) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(secs));
    }
    let mut total = std::time::Duration::ZERO;
    let mut digits = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let secs = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(format!("{letter:?} is not a unit of time; write for example 90s, 5m or 1h30m")),
        };
        let count: u64 = digits.parse().map_err(|_| "write for example 90s, 5m or 1h30m".to_owned())?;
        digits.clear();
        total += std::time::Duration::from_secs(count.saturating_mul(secs));
    }
    if digits.is_empty() && !text.is_empty() { Ok(total) } else { Err("write for example 90s, 5m or 1h30m".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_capacity_is_names_with_amounts() {
        let read = parse_capacity("cpu=8,memory=32Gi").unwrap();
        let shown: Vec<(&str, &str)> = read.0.iter().map(|(name, amount)| (name.as_str(), amount.0.as_str())).collect();
        assert_eq!(shown, [("cpu", "8"), ("memory", "32Gi")]);
        for text in ["cpu", "cpu=", "=8", "cpu=many", "cpu=-1"] {
            assert!(parse_capacity(text).unwrap_err().contains("write for example"), "{text}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, secs) in [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400)] {
            assert_eq!(parse_duration(text), Ok(std::time::Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "s", "5x", "5m3"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
