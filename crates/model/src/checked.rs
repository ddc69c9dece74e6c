//! The machine: what may happen in a state, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use controllers_core::stateful_set::{
    self as planner, Action, HealRollout, Ordinal, Owner, Plan, PodFacts, RevisionFacts, SetFacts, StatusFacts, View,
};
use meta::{ResourceVersion, Timestamp};
use serde_json::{Value, json};
use stateright::{Model, Property};

use crate::promises;
use crate::world::{Bounds, Do, NODES_MAX, ORDINALS_MAX, Phase, Pod, Pods, Set, Status, World};

/// Names of UIDs; a state never has more of one ordinal.
const UIDS: [&str; 8] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"];
/// Names of pods.
const NAMES: [&str; ORDINALS_MAX] = ["web-0", "web-1", "web-2"];
/// Templates.
const TEMPLATES: u8 = 2;

/// The machine to check.
#[derive(Debug)]
pub struct Checked {
    /// How much may happen.
    pub bounds: Bounds,
    /// The set with each template, as the planner reads it.
    sets: Vec<SetFacts>,
    /// Names of the revisions of the templates.
    revisions: Vec<String>,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Happening {
    /// The controller's cache of the set catches up.
    SeeSet,
    /// The controller's cache of the pods catches up.
    SeePods,
    /// The controller plans.
    Plan,
    /// The controller does the next thing.
    Act,
    /// The controller writes the status.
    WriteStatus,
    /// The controller is killed and starts again.
    KillController,
    /// The scheduler binds a pod.
    Bind(u8, u8),
    /// A node starts a pod's process.
    Start(u8),
    /// A pod becomes ready.
    Ready(u8),
    /// A pod is ready no longer.
    Unready(u8),
    /// A pod fails.
    Fail(u8),
    /// A node ends a pod's process.
    Stop(u8),
    /// A node reports a pod's end: the object goes.
    Finish(u8),
    /// A node loses its power.
    LosePower(u8),
    /// Somebody deletes a pod.
    DeletePod(u8),
    /// Somebody changes the template.
    Edit,
    /// Somebody changes the replicas.
    Scale,
}

impl Checked {
    /// The machine within these bounds.
    ///
    /// # Panics
    /// If the planner cannot read the set that this function writes.
    pub fn new(bounds: Bounds) -> Self {
        let sets: Vec<SetFacts> = (0..TEMPLATES).map(|template| set_facts(&bounds, template)).collect();
        let revisions = sets.iter().map(|set| format!("web-{}", set.data.hash(0))).collect();
        Self { bounds, sets, revisions }
    }

    fn template_of(&self, revision: &str) -> Option<u8> {
        let index = self.revisions.iter().position(|name| name == revision)?;
        u8::try_from(index).ok()
    }

    /// What the real planner says to a state of the caches.
    pub(crate) fn plan(&self, set: &Set, pods: &Pods) -> Plan {
        let name =
            |template: Option<u8>| template.map_or("", |template| &self.revisions[usize::from(template)]).to_owned();
        let status = set.status;
        let facts = SetFacts {
            replicas: set.replicas.into(),
            status: StatusFacts {
                observed_generation: 1,
                replicas: status.replicas.into(),
                ready_replicas: status.ready.into(),
                available_replicas: status.available.into(),
                current_replicas: status.current.into(),
                updated_replicas: status.updated.into(),
                current_revision: name(status.current_template),
                update_revision: name(status.update_template),
                collision_count: None,
            },
            ..self.sets[usize::from(set.template)].clone()
        };
        let revisions = set.revisions.iter().zip(1..).map(|(template, number)| RevisionFacts {
            name: &self.revisions[usize::from(*template)],
            uid: "r",
            resource_version: ResourceVersion(1),
            owner: Owner::ThisSet,
            selected: true,
            terminating: false,
            number,
            created: None,
            data: &self.sets[usize::from(*template)].data.value,
            annotations: None,
            owners: &[],
        });
        let pods = pods.iter().enumerate().filter_map(|(ordinal, pod)| Some(self.pod_facts(ordinal, (*pod)?)));
        let view = View {
            set: &facts,
            pods: pods.collect(),
            claims: BTreeMap::new(),
            revisions: revisions.collect(),
            taken: BTreeSet::new(),
            service_exists: true,
            heal_rollout: if self.bounds.heal { HealRollout::NeverReady } else { HealRollout::Off },
        };
        planner::plan(&view, Timestamp::UNIX_EPOCH)
    }

    fn pod_facts(&self, ordinal: usize, pod: Pod) -> PodFacts<'_> {
        PodFacts {
            name: NAMES[ordinal],
            uid: UIDS[usize::from(pod.uid)],
            resource_version: ResourceVersion(1),
            ordinal: i32::try_from(ordinal).ok().map(Ordinal),
            owner: Owner::ThisSet,
            selected: true,
            phase: match pod.phase {
                Phase::Pending => planner::Phase::Pending,
                Phase::Running => planner::Phase::Running,
                Phase::Failed => planner::Phase::Failed,
            },
            ready_since: pod.ready.then_some(Timestamp::MIN),
            created: None,
            terminating: pod.terminating,
            revision: &self.revisions[usize::from(pod.template)],
            identity_matches: true,
            never_ready: !pod.ever_ready,
            claim_volumes: Vec::new(),
            owners: &[],
        }
    }

    /// The controller plans from its caches.
    fn replan(&self, world: &mut World) {
        let (set, pods) = (world.seen_set().clone(), *world.seen_pods());
        let plan = self.plan(&set, &pods);
        world.broken_promise = world.broken_promise.or(promises::of_plan(&self.bounds, &set, &pods, &plan));
        let order = plan.prepare.iter().chain(plan.batches.iter().flatten().flatten());
        world.controller.todo = order.map(|action| self.todo(action, &pods)).collect();
        let after = &plan.status_after;
        let count = |count: i32| u8::try_from(count).unwrap_or(u8::MAX);
        let status = Status {
            replicas: count(after.replicas),
            ready: count(after.ready_replicas),
            available: count(after.available_replicas),
            current: count(after.current_replicas),
            updated: count(after.updated_replicas),
            current_template: self.template_of(&after.current_revision),
            update_template: self.template_of(&after.update_revision),
        };
        world.controller.status = plan.status.is_some().then_some((status, set));
    }

    fn todo(&self, action: &Action, pods: &Pods) -> Do {
        let template = |revision: &str| self.template_of(revision).expect("a revision of one of the templates");
        let index = |ordinal: &Ordinal| u8::try_from(ordinal.0).expect("an ordinal of the model");
        match action {
            Action::CreateRevision { name, .. } => Do::CreateRevision(template(name)),
            Action::RenumberRevision { revision, .. } => Do::Renumber(template(&revision.name)),
            Action::CreatePod { ordinal, revision, .. } => {
                Do::Create { ordinal: index(ordinal), template: template(revision) }
            }
            Action::DeletePod { ordinal, .. } => {
                let seen = pods[usize::from(index(ordinal))].expect("only a pod that was seen is deleted");
                Do::Delete { ordinal: index(ordinal), seen }
            }
            other => panic!("the model has no {other}"),
        }
    }

    /// The store takes the controller's next write, or refuses it: then the rest of the plan is dropped.
    fn act(&self, world: &mut World) {
        let todo = world.controller.todo.remove(0);
        let happened = match todo {
            Do::CreateRevision(template) => {
                let is_new = !world.set.revisions.contains(&template);
                if is_new {
                    world.change_set(|set| set.revisions.push(template));
                    world.controller.awaits_set = world.controller.set.is_some();
                }
                is_new
            }
            Do::Renumber(template) => {
                world.change_set(|set| {
                    set.revisions.retain(|other| *other != template);
                    set.revisions.push(template);
                });
                world.controller.awaits_set = world.controller.set.is_some();
                true
            }
            Do::Create { ordinal, template } => {
                let index = usize::from(ordinal);
                let is_free = world.pods[index].is_none();
                if is_free {
                    let promise = promises::of_creation(&self.bounds, world, index);
                    world.broken_promise = world.broken_promise.or(promise);
                    let uid = world.fresh_uid(index);
                    let pod = Pod {
                        uid,
                        template,
                        node: None,
                        phase: Phase::Pending,
                        ready: false,
                        ever_ready: false,
                        terminating: false,
                    };
                    world.change_pods(|pods| pods[index] = Some(pod));
                    world.controller.awaits_pods = world.controller.pods.is_some();
                }
                is_free
            }
            Do::Delete { ordinal, seen } => {
                let index = usize::from(ordinal);
                let found = world.pods[index];
                let is_same = found == Some(seen);
                if is_same && self.bounds.forced {
                    world.change_pods(|pods| pods[index] = None);
                } else if is_same {
                    delete(world, index);
                }
                if is_same {
                    world.controller.awaits_pods = world.controller.pods.is_some();
                }
                is_same || found.is_none()
            }
        };
        if !happened {
            world.controller.todo.clear();
        }
    }

    /// Whether the template's pods can become ready.
    pub(crate) fn is_sound(&self, template: u8) -> bool {
        !(self.bounds.broken && template == 1)
    }

    /// What the nodes and the scheduler may do about a pod.
    fn for_pod(&self, world: &World, ordinal: u8, happenings: &mut Vec<Happening>) {
        let index = usize::from(ordinal);
        let Some(pod) = world.pods[index] else { return };
        let runs = world.runs(index);
        match pod.node {
            None if !pod.terminating => {
                happenings.extend((0..self.bounds.nodes).map(|node| Happening::Bind(ordinal, node)));
            }
            None => {}
            Some(node) => {
                // A new incarnation starts nothing while its node still runs another one (D7).
                let is_free = world.processes[usize::from(node)][index].is_none();
                if !pod.terminating && pod.phase != Phase::Failed && is_free {
                    happenings.push(Happening::Start(ordinal));
                }
                if runs && !pod.ready && !pod.terminating && self.is_sound(pod.template) {
                    happenings.push(Happening::Ready(ordinal));
                }
                if pod.terminating && runs {
                    happenings.push(Happening::Stop(ordinal));
                }
                if pod.terminating && !runs {
                    happenings.push(Happening::Finish(ordinal));
                }
            }
        }
        if world.mishaps > 0 && !pod.terminating {
            happenings.push(Happening::DeletePod(ordinal));
            if pod.ready {
                happenings.push(Happening::Unready(ordinal));
            }
            if runs {
                happenings.push(Happening::Fail(ordinal));
            }
        }
    }

    /// What the controller may do.
    pub(crate) fn for_controller(&self, world: &World, happenings: &mut Vec<Happening>) {
        let controller = &world.controller;
        if controller.set.is_some() {
            happenings.push(Happening::SeeSet);
        }
        if controller.pods.is_some() {
            happenings.push(Happening::SeePods);
        }
        if !controller.todo.is_empty() {
            happenings.push(Happening::Act);
        }
        if controller.status.is_some() {
            happenings.push(Happening::WriteStatus);
        }
        let has_seen = (controller.set.is_none() || (self.bounds.stale && !controller.awaits_set))
            && (controller.pods.is_none() || (self.bounds.stale && !controller.awaits_pods));
        if has_seen && controller.todo.is_empty() && controller.status.is_none() {
            happenings.push(Happening::Plan);
        }
    }

    /// What comes of something that happens.
    pub(crate) fn happen(&self, world: &mut World, happening: Happening) {
        match happening {
            Happening::SeeSet => world.see_set(),
            Happening::SeePods => world.see_pods(),
            Happening::Plan => self.replan(world),
            Happening::Act => self.act(world),
            Happening::WriteStatus => {
                if let Some((status, seen)) = world.controller.status.take()
                    && (world.set.replicas, world.set.template) == (seen.replicas, seen.template)
                    && world.set.status == seen.status
                {
                    world.change_set(|set| set.status = status);
                    world.controller.awaits_set = world.controller.set.is_some();
                }
            }
            Happening::KillController => {
                world.crashes -= 1;
                world.controller = World::new(&self.bounds).controller;
            }
            Happening::Edit => {
                world.edits -= 1;
                world.change_set(|set| set.template = 1 - set.template);
            }
            Happening::Scale => {
                world.scalings -= 1;
                world.meddled = true;
                let full = self.bounds.ordinals;
                world.change_set(|set| set.replicas = if set.replicas == full { full - 1 } else { full });
            }
            Happening::LosePower(node) => {
                world.crashes -= 1;
                world.meddled = true;
                world.processes[usize::from(node)] = [None; ORDINALS_MAX];
            }
            Happening::Bind(..)
            | Happening::Start(_)
            | Happening::Ready(_)
            | Happening::Unready(_)
            | Happening::Fail(_)
            | Happening::Stop(_)
            | Happening::Finish(_)
            | Happening::DeletePod(_) => happen_to_pod(world, happening),
        }
        promises::note_established(world);
    }
}

/// What comes of something that happens to a pod.
fn happen_to_pod(world: &mut World, happening: Happening) {
    let change = |world: &mut World, ordinal: u8, change: &dyn Fn(&mut Pod)| {
        world.change_pods(|pods| pods[usize::from(ordinal)].iter_mut().for_each(change));
    };
    let process = |world: &mut World, ordinal: u8, runs: bool| {
        if let Some(Pod { uid, node: Some(node), .. }) = world.pods[usize::from(ordinal)] {
            world.processes[usize::from(node)][usize::from(ordinal)] = runs.then_some(uid);
        }
    };
    match happening {
        Happening::Bind(ordinal, node) => change(world, ordinal, &|pod| pod.node = Some(node)),
        Happening::Start(ordinal) => {
            process(world, ordinal, true);
            change(world, ordinal, &|pod| (pod.phase, pod.ready) = (Phase::Running, false));
        }
        Happening::Ready(ordinal) => change(world, ordinal, &|pod| (pod.ready, pod.ever_ready) = (true, true)),
        Happening::Unready(ordinal) => {
            (world.mishaps, world.meddled) = (world.mishaps - 1, true);
            change(world, ordinal, &|pod| pod.ready = false);
        }
        Happening::Fail(ordinal) => {
            (world.mishaps, world.meddled) = (world.mishaps - 1, true);
            process(world, ordinal, false);
            change(world, ordinal, &|pod| (pod.phase, pod.ready) = (Phase::Failed, false));
        }
        Happening::Stop(ordinal) => {
            process(world, ordinal, false);
            change(world, ordinal, &|pod| pod.ready = false);
        }
        Happening::Finish(ordinal) => world.change_pods(|pods| pods[usize::from(ordinal)] = None),
        Happening::DeletePod(ordinal) => {
            (world.mishaps, world.meddled) = (world.mishaps - 1, true);
            delete(world, usize::from(ordinal));
        }
        Happening::SeeSet
        | Happening::SeePods
        | Happening::Plan
        | Happening::Act
        | Happening::WriteStatus
        | Happening::KillController
        | Happening::LosePower(_)
        | Happening::Edit
        | Happening::Scale => {}
    }
}

/// A graceful deletion: a pod that no node has, or that has ended, goes at once (N-39).
fn delete(world: &mut World, ordinal: usize) {
    world.change_pods(|pods| {
        pods[ordinal] = pods[ordinal]
            .filter(|pod| pod.node.is_some() && pod.phase != Phase::Failed)
            .map(|pod| Pod { terminating: true, ..pod });
    });
}

fn set_facts(bounds: &Bounds, template: u8) -> SetFacts {
    let policy = if bounds.parallel { "Parallel" } else { "OrderedReady" };
    let set: Value = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "replicas": bounds.ordinals, "serviceName": "web", "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": format!("v{template}")}]}},
        },
    });
    SetFacts::read(set.to_string().as_bytes()).expect("a set as the API has it")
}

impl Model for Checked {
    type State = World;
    type Action = Happening;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, happenings: &mut Vec<Happening>) {
        self.for_controller(world, happenings);
        for ordinal in 0..self.bounds.ordinals {
            self.for_pod(world, ordinal, happenings);
        }
        if world.crashes > 0 {
            happenings.push(Happening::KillController);
            let has_process = |node: &usize| world.processes[*node].iter().any(Option::is_some);
            let nodes = (0..NODES_MAX).filter(has_process).filter_map(|node| u8::try_from(node).ok());
            happenings.extend(nodes.map(Happening::LosePower));
        }
        if world.edits > 0 {
            happenings.push(Happening::Edit);
        }
        if world.scalings > 0 {
            happenings.push(Happening::Scale);
        }
    }

    fn next_state(&self, world: &World, happening: Happening) -> Option<World> {
        let mut next = world.clone();
        self.happen(&mut next, happening);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}
