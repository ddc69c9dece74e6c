//! A state: what the store holds, what runs on the nodes, what the controller has seen and is about to do.

/// Pods a state has room for.
pub const ORDINALS_MAX: usize = 3;
/// Nodes a state has room for.
pub const NODES_MAX: usize = 2;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `spec.replicas` at first.
    pub ordinals: u8,
    /// Nodes.
    pub nodes: u8,
    /// One after the other, or all at once.
    pub parallel: bool,
    /// Broken rollouts are healed.
    pub heal: bool,
    /// Pods of template 1 never become ready.
    pub broken: bool,
    /// Crashes of the controller and power losses of nodes.
    pub crashes: u8,
    /// Changes of the template, from 0 to 1 and back.
    pub edits: u8,
    /// Changes of the replicas, down by one and back.
    pub scalings: u8,
    /// Pods that somebody deletes, that fail, or that are ready no longer.
    pub mishaps: u8,
    /// The controller may plan from what was true earlier.
    pub stale: bool,
    /// A known mistake, to see that it is found: the controller deletes by force, without waiting for the node.
    pub forced: bool,
}

/// `status.phase`, as far as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Not started.
    Pending,
    /// Started.
    Running,
    /// Ended badly.
    Failed,
}

/// A pod in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pod {
    /// Tells incarnations of one name apart; used again when nobody knows it any more.
    pub uid: u8,
    /// Template that it was made from.
    pub template: u8,
    /// Where it is bound to.
    pub node: Option<u8>,
    /// Phase.
    pub phase: Phase,
    /// Its Ready condition.
    pub ready: bool,
    /// It was ready once.
    pub ever_ready: bool,
    /// Its deletion has begun.
    pub terminating: bool,
}

/// The counts of the status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Status {
    /// Pods.
    pub replicas: u8,
    /// Ready ones.
    pub ready: u8,
    /// Available ones.
    pub available: u8,
    /// Those of the current template.
    pub current: u8,
    /// Those of the wanted template.
    pub updated: u8,
    /// Current template, once there is one.
    pub current_template: Option<u8>,
    /// Wanted template, once there is one.
    pub update_template: Option<u8>,
}

/// The set and its revisions in the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Set {
    /// Wanted replicas.
    pub replicas: u8,
    /// Wanted template.
    pub template: u8,
    /// Status.
    pub status: Status,
    /// Templates that have a revision, the latest last.
    pub revisions: Vec<u8>,
}

/// The pods in the store, by ordinal.
pub type Pods = [Option<Pod>; ORDINALS_MAX];

/// What the controller is about to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Do {
    /// Make a template's revision.
    CreateRevision(u8),
    /// Make a template's revision the latest.
    Renumber(u8),
    /// Make a pod.
    Create {
        /// Its ordinal.
        ordinal: u8,
        /// Its template.
        template: u8,
    },
    /// Delete a pod in the state that was seen.
    Delete {
        /// Its ordinal.
        ordinal: u8,
        /// As it was seen.
        seen: Pod,
    },
}

/// The controller's part of a state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    /// The set as its cache shows it, if that is old.
    pub set: Option<Set>,
    /// The pods as its cache shows them, if that is old.
    pub pods: Option<Pods>,
    /// It has written the set and must see that before it plans.
    pub awaits_set: bool,
    /// It has written pods and must see that before it plans.
    pub awaits_pods: bool,
    /// What is left of its plan.
    pub todo: Vec<Do>,
    /// The status to write, and the set that it was counted for.
    pub status: Option<(Status, Set)>,
}

/// A state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    /// The set in the store.
    pub set: Set,
    /// The pods in the store.
    pub pods: Pods,
    /// UIDs of the pods whose processes run, by node and ordinal.
    pub processes: [[Option<u8>; ORDINALS_MAX]; NODES_MAX],
    /// The controller.
    pub controller: Controller,
    /// All wanted pods were ready at once.
    pub established: bool,
    /// Something happened to pods or replicas that the controller did not do.
    pub meddled: bool,
    /// What may still happen.
    pub crashes: u8,
    /// See [`Bounds::edits`].
    pub edits: u8,
    /// See [`Bounds::scalings`].
    pub scalings: u8,
    /// See [`Bounds::mishaps`].
    pub mishaps: u8,
    /// A promise that a step broke.
    pub broken_promise: Option<&'static str>,
}

impl World {
    /// A set that was just made.
    pub fn new(bounds: &Bounds) -> Self {
        let set = Set { replicas: bounds.ordinals, template: 0, status: Status::default(), revisions: Vec::new() };
        let controller =
            Controller { set: None, pods: None, awaits_set: false, awaits_pods: false, todo: Vec::new(), status: None };
        Self {
            set,
            pods: [None; ORDINALS_MAX],
            processes: [[None; ORDINALS_MAX]; NODES_MAX],
            controller,
            established: false,
            meddled: false,
            crashes: bounds.crashes,
            edits: bounds.edits,
            scalings: bounds.scalings,
            mishaps: bounds.mishaps,
            broken_promise: None,
        }
    }

    /// The set as the controller sees it.
    pub fn seen_set(&self) -> &Set {
        self.controller.set.as_ref().unwrap_or(&self.set)
    }

    /// The pods as the controller sees them.
    pub fn seen_pods(&self) -> &Pods {
        self.controller.pods.as_ref().unwrap_or(&self.pods)
    }

    /// Changes the set; the controller's cache stays behind.
    pub fn change_set(&mut self, change: impl FnOnce(&mut Set)) {
        let before = self.set.clone();
        change(&mut self.set);
        if self.set != before && self.controller.set.is_none() {
            self.controller.set = Some(before);
        }
        if self.controller.set.as_ref() == Some(&self.set) {
            self.see_set();
        }
    }

    /// Changes the pods; the controller's cache stays behind.
    pub fn change_pods(&mut self, change: impl FnOnce(&mut Pods)) {
        let before = self.pods;
        change(&mut self.pods);
        if self.pods != before && self.controller.pods.is_none() {
            self.controller.pods = Some(before);
        }
        if self.controller.pods.as_ref() == Some(&self.pods) {
            self.see_pods();
        }
    }

    /// The controller's cache of the set catches up.
    pub fn see_set(&mut self) {
        self.controller.set = None;
        self.controller.awaits_set = false;
    }

    /// The controller's cache of the pods catches up.
    pub fn see_pods(&mut self) {
        self.controller.pods = None;
        self.controller.awaits_pods = false;
    }

    /// A UID that nobody knows for this ordinal.
    pub fn fresh_uid(&self, ordinal: usize) -> u8 {
        let in_plan = self.controller.todo.iter().filter_map(|todo| match todo {
            Do::Delete { ordinal: other, seen } if usize::from(*other) == ordinal => Some(seen.uid),
            Do::Delete { .. } | Do::Create { .. } | Do::CreateRevision(_) | Do::Renumber(_) => None,
        });
        let mut known: Vec<u8> = in_plan.collect();
        known.extend(self.pods[ordinal].map(|pod| pod.uid));
        known.extend(self.controller.pods.and_then(|pods| pods[ordinal]).map(|pod| pod.uid));
        known.extend(self.processes.iter().filter_map(|node| node[ordinal]));
        (0..=u8::MAX).find(|uid| !known.contains(uid)).unwrap_or(u8::MAX)
    }

    /// Whether the process of a pod runs where the pod is bound to.
    pub fn runs(&self, ordinal: usize) -> bool {
        self.pods[ordinal]
            .is_some_and(|pod| pod.node.is_some_and(|node| self.processes[usize::from(node)][ordinal] == Some(pod.uid)))
    }
}
