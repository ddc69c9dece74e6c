//! What happens to a pod, and what is to be done: the machine's inputs and outputs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use meta::{Timestamp, Uid};

/// Something happened. Every action is answered by the event named in its documentation.
#[derive(Clone, Debug)]
pub enum Event {
    /// The API object has a new state, or is read for the first time.
    Updated(Arc<Pod>),
    /// The API has no pod of this UID any more: somebody removed it without waiting for its end.
    Gone,
    /// The pod that had this name before is confirmed dead (S2).
    PredecessorGone,
    /// Answer to [`Action::Confirm`].
    Confirmed(Confirmation),
    /// Answer to [`Action::SetUpVolumes`].
    Volumes(Result<(), String>),
    /// Answer to [`Action::SetUpSandbox`]: the pod's addresses.
    Sandbox(Result<Vec<IpAddr>, String>),
    /// The sandbox is dead, and every process of the pod with it; exits of its containers follow or came before.
    SandboxDied,
    /// Answer to [`Action::FindImage`]; `None`: it is not on this machine.
    ImageFound {
        /// Name of the container.
        container: String,
        /// The image.
        image: Result<Option<ImageFact>, ImageFailure>,
    },
    /// Answer to [`Action::PullImage`].
    ImagePulled {
        /// Name of the container.
        container: String,
        /// The image and what it cost.
        image: Result<Pulled, ImageFailure>,
    },
    /// Answer to [`Action::StartContainer`]: its program runs, or ran.
    Started {
        /// Id of the container.
        id: String,
        /// When it was started.
        at: Timestamp,
    },
    /// Answer to [`Action::StartContainer`]: it does not run and never did.
    NotStarted {
        /// Id of the container.
        id: String,
        /// Why.
        failure: StartFailure,
    },
    /// A container's program has ended.
    Exited {
        /// Id of the container.
        id: String,
        /// How.
        exit: Exit,
    },
    /// Answer to [`Action::RunHook`].
    HookDone {
        /// Id of the container.
        id: String,
        /// Which hook.
        hook: Hook,
        /// Its failure, for people.
        result: Result<(), String>,
    },
    /// Answer to [`Action::Probe`].
    Probed {
        /// Id of the container.
        id: String,
        /// Which probe.
        kind: ProbeKind,
        /// What it found.
        outcome: ProbeOutcome,
    },
    /// An instance counts as ready no sooner than this, whatever its probes say: scripts of virtual nodes.
    HoldReadiness {
        /// Id of the container.
        id: String,
        /// Until when.
        until: Timestamp,
    },
    /// Something a step waits for may have changed (a ConfigMap, a claim): try again now.
    SourcesChanged,
    /// Stop for this reason, if not stopping yet.
    Stop(StopCause),
    /// Answer to [`Action::TearDown`].
    TornDown(Result<(), String>),
    /// Answer to [`Action::DeleteObject`]; done also if the object was gone.
    Deleted(Result<(), String>),
}

/// What the linearizable read said (S3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmation {
    /// The pod exists under this UID, on this node, and is not finished.
    Wanted,
    /// It does not, or is bound elsewhere.
    NotWanted,
    /// The API did not answer; ask again.
    Unknown,
}

/// What is to be done. All may be repeated without harm.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Read the pod from the API, linearizably. Answer: [`Event::Confirmed`].
    Confirm,
    /// Make the pod's volumes. Answer: [`Event::Volumes`].
    SetUpVolumes,
    /// Make the pod's sandbox and its network. Answer: [`Event::Sandbox`].
    SetUpSandbox,
    /// Look for the container's image on this machine. Answer: [`Event::ImageFound`].
    FindImage {
        /// Name of the container.
        container: String,
    },
    /// Fetch the container's image. Answer: [`Event::ImagePulled`].
    PullImage {
        /// Name of the container.
        container: String,
    },
    /// Make and start a container. Answer: [`Event::Started`] or [`Event::NotStarted`].
    StartContainer {
        /// Name of the container.
        container: String,
        /// Id of the instance: unique for all time.
        id: String,
        /// Instances of this name there were before.
        attempt: u32,
    },
    /// Run a lifecycle hook, at most for this time. Answer: [`Event::HookDone`].
    RunHook {
        /// Name of the container.
        container: String,
        /// Id of the instance.
        id: String,
        /// Which hook.
        hook: Hook,
        /// Time limit.
        limit: Duration,
    },
    /// Probe a container once. Answer: [`Event::Probed`].
    Probe {
        /// Name of the container.
        container: String,
        /// Id of the instance.
        id: String,
        /// Which probe.
        kind: ProbeKind,
        /// Time limit.
        limit: Duration,
    },
    /// Ask a container to end (its stop signal, `SIGTERM` unless the image or the pod says otherwise). The end comes
    /// as [`Event::Exited`].
    Terminate {
        /// Name of the container.
        container: String,
        /// Id of the instance.
        id: String,
    },
    /// Kill a container. The end comes as [`Event::Exited`].
    Kill {
        /// Name of the container.
        container: String,
        /// Id of the instance.
        id: String,
    },
    /// Remove a dead instance that no log request can ask for any more. No answer.
    RemoveContainer {
        /// Id of the instance.
        id: String,
        /// Its log file may go, too.
        attempt: u32,
        /// Name of the container.
        container: String,
    },
    /// Remove sandbox and network. Answer: [`Event::TornDown`].
    TearDown {
        /// Volumes, too: the pod will not run here again.
        volumes: bool,
        /// Log files, too: nobody can ask for them any more.
        logs: bool,
    },
    /// Remove the object from the API (grace 0, this UID only), after its last status was written. Answer:
    /// [`Event::Deleted`].
    DeleteObject,
    /// Tell people. No answer.
    Record(Record),
}

/// An event for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Good news or not.
    pub event_type: EventType,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// The container it is about: becomes the event's `fieldPath`.
    pub container: Option<String>,
}

/// Type of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventType {
    /// As expected.
    Normal,
    /// Worth a look.
    Warning,
}

/// What the status needs to know of an image.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ImageFact {
    /// `imageID` of the status.
    pub id: String,
}

/// An image that was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pulled {
    /// The image.
    pub image: ImageFact,
    /// How long it took.
    pub took: Duration,
    /// Bytes of its layers.
    pub size_bytes: u64,
}

/// Why there is no image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageFailure {
    /// The name cannot be parsed.
    InvalidName(String),
    /// Everything else.
    Pull(String),
}

/// Why a container was not started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartFailure {
    /// Something its configuration names is missing or wrong (`CreateContainerConfigError`).
    Config(String),
    /// The runtime could not make it (`CreateContainerError`).
    Create(String),
    /// It was made, but its program could not be started (`StartError`); counts as a restart.
    Start(String),
}

/// How a container ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Exit code; 128 + signal if killed by one.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why, as far as the runtime knows.
    pub cause: ExitCause,
    /// Termination message.
    pub message: String,
    /// When it was started; `None` if never.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Why a container ended, as far as the runtime knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitCause {
    /// Its program ended by itself or by a signal; the code tells.
    Program,
    /// The kernel killed it for its memory.
    OutOfMemory,
    /// It could not be started.
    Start,
    /// It went down with its sandbox or with the machine.
    Sandbox,
}

/// A lifecycle hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// A kind of probe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProbeKind {
    /// Holds the others back until it succeeds once.
    Startup,
    /// Failing restarts the container.
    Liveness,
    /// Failing takes the pod out of services.
    Readiness,
}

impl ProbeKind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What one probe found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeOutcome {
    /// It is well.
    Success,
    /// It is not; the output or answer, for people.
    Failure(String),
    /// The probe could not be made; why. Counts as a failure.
    Errored(String),
}

/// Why a pod stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopCause {
    /// Its deletion was asked for; it ends with the deletion of the object.
    Deleted,
    /// Its object is gone.
    Gone,
    /// All its containers have ended and none is to be restarted.
    Completed,
    /// `activeDeadlineSeconds` is over.
    Deadline,
    /// The node shuts down.
    Shutdown {
        /// Longest time for its end.
        grace: Duration,
    },
    /// The node cannot run it (N-37).
    Rejected {
        /// For example `OutOfcpu`.
        reason: String,
        /// A sentence for people.
        message: String,
    },
}

/// A pod that is to be told apart from another by its UID only.
pub(crate) fn container_id(pod: &Uid, container: &str, attempt: u32) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("{pod}/{container}/{attempt}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
