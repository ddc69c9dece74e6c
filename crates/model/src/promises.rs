//! What must hold in every state.

use controllers_core::stateful_set::{Action, Plan, Why};
use stateright::Property;

use crate::checked::{Checked, Happening};
use crate::world::{Bounds, ORDINALS_MAX, Pod, Pods, Set, World};

/// Most steps that a world without faults takes to come to rest; far more than any takes.
const STEPS_MAX: usize = 200;

/// The promises, by the names of `reliability.md`.
pub(crate) fn all() -> Vec<Property<Checked>> {
    vec![
        Property::always("S1: at most one running pod of an identity", |_, world: &World| {
            (0..ORDINALS_MAX).all(|ordinal| world.processes.iter().filter(|node| node[ordinal].is_some()).count() <= 1)
        }),
        Property::always("S2: what runs is the incarnation that the store has", |_, world: &World| {
            (0..ORDINALS_MAX).all(|ordinal| {
                let running = world.processes.iter().find_map(|node| node[ordinal]);
                running.is_none_or(|uid| world.pods[ordinal].is_some_and(|pod| pod.uid == uid))
            })
        }),
        Property::always("S6: order and budget are kept", |_, world: &World| world.broken_promise.is_none()),
        Property::always("S6: an update takes one pod away at a time", |model: &Checked, world: &World| {
            // Counted in the store, at every instant, where nothing but the controller acts.
            !world.established || world.meddled || unavailable(world) <= 1 || model.bounds.heal
        }),
        Property::always(
            "L1, L4: from here the set comes to rest as it is wanted",
            |model: &Checked, world: &World| {
                !world.controller.todo.is_empty() || !is_curable(model, world) || comes_to_rest(model, world.clone())
            },
        ),
    ]
}

/// What a plan breaks of S6, judged by the state that it was planned from.
pub(crate) fn of_plan(bounds: &Bounds, set: &Set, pods: &Pods, plan: &Plan) -> Option<&'static str> {
    let is_available = |ordinal: usize| pods[ordinal].is_some_and(|pod| pod.ready && !pod.terminating);
    let replicas = usize::from(set.replicas);
    let mut away: Vec<usize> = Vec::new();
    let mut created = 0;
    for action in plan.actions() {
        match action {
            Action::CreatePod { ordinal, .. } => {
                created += 1;
                let below = 0..usize::try_from(ordinal.0).unwrap_or(0);
                if !bounds.parallel && !below.into_iter().all(is_available) {
                    return Some("created before all below are available");
                }
            }
            Action::DeletePod { ordinal, why, .. } => {
                let index = usize::try_from(ordinal.0).unwrap_or(0);
                let Some(Pod { ever_ready, .. }) = pods[index] else { return Some("deleted what is not there") };
                match why {
                    Why::NeverReady if ever_ready => return Some("healed a pod that was ready once"),
                    Why::ScaledDown if index < replicas => return Some("scaled a wanted slot away"),
                    Why::ScaledDown if !bounds.parallel && pods[index + 1..].iter().any(Option::is_some) => {
                        return Some("scaled down below a higher pod");
                    }
                    Why::Outdated if is_available(index) => away.push(index),
                    Why::NeverReady | Why::ScaledDown | Why::Outdated | Why::Ended => {}
                }
            }
            _ => {}
        }
    }
    if !bounds.parallel && created > 1 {
        return Some("created two at once");
    }
    let unavailable = (0..replicas).filter(|ordinal| !is_available(*ordinal)).count();
    if !away.is_empty() && unavailable + away.len() > 1 {
        return Some("took more away than may be unavailable");
    }
    None
}

/// What a creation breaks of S6, judged by the store at that instant, where nothing but the controller acts.
pub(crate) fn of_creation(bounds: &Bounds, world: &World, ordinal: usize) -> Option<&'static str> {
    let is_quiet = world.mishaps == bounds.mishaps && world.scalings == bounds.scalings && world.edits == bounds.edits;
    let below_is_ready = world.pods[..ordinal].iter().all(|pod| pod.is_some_and(|pod| pod.ready && !pod.terminating));
    let is_untouched = is_quiet && world.crashes == bounds.crashes;
    (!bounds.parallel && is_untouched && !below_is_ready).then_some("created before all below are ready in the store")
}

/// Notes that the set has been wholly ready.
pub(crate) fn note_established(world: &mut World) {
    world.established |= unavailable(world) == 0;
}

fn unavailable(world: &World) -> usize {
    let wanted = &world.pods[..usize::from(world.set.replicas)];
    wanted.iter().filter(|pod| !pod.is_some_and(|pod| pod.ready && !pod.terminating)).count()
}

/// Whether the set can become ready at all without a person: the wanted template is sound, and an ordered set is healed
/// or has no broken template behind it (C-75a).
fn is_curable(model: &Checked, world: &World) -> bool {
    model.is_sound(world.set.template) && (model.bounds.heal || model.bounds.parallel || !model.bounds.broken)
}

/// Without faults and with caches that follow, the world comes to rest with exactly the wanted pods, all ready.
fn comes_to_rest(model: &Checked, mut world: World) -> bool {
    for _ in 0..STEPS_MAX {
        let Some(happening) = next_sound_step(model, &world) else {
            return is_as_wanted(model, &world);
        };
        model.happen(&mut world, happening);
    }
    false
}

/// What happens next in a world without faults; `None` if nothing is left to do.
fn next_sound_step(model: &Checked, world: &World) -> Option<Happening> {
    let mut happenings = Vec::new();
    model.for_controller(world, &mut happenings);
    // Seeing and writing come first; a plan that leads to nothing is rest.
    if let Some(first) = happenings.iter().find(|happening| **happening != Happening::Plan) {
        return Some(*first);
    }
    for ordinal in 0..model.bounds.ordinals {
        let index = usize::from(ordinal);
        let Some(pod) = world.pods[index] else { continue };
        let step = match (pod.node, world.runs(index)) {
            (None, _) if pod.terminating => None,
            (None, _) => Some(Happening::Bind(ordinal, 0)),
            (Some(_), true) if pod.terminating => Some(Happening::Stop(ordinal)),
            (Some(_), false) if pod.terminating => Some(Happening::Finish(ordinal)),
            (Some(_), false) if pod.phase != crate::world::Phase::Failed => Some(Happening::Start(ordinal)),
            (Some(_), true) if !pod.ready && model.is_sound(pod.template) => Some(Happening::Ready(ordinal)),
            (Some(_), _) => None,
        };
        if step.is_some() {
            return step;
        }
    }
    let plan = model.plan(&world.set, &world.pods);
    (!plan.is_settled()).then_some(Happening::Plan)
}

fn is_as_wanted(model: &Checked, world: &World) -> bool {
    let wanted = usize::from(world.set.replicas);
    let is_right = |pod: &Option<Pod>| pod.is_some_and(|pod| pod.ready && pod.template == world.set.template);
    let status = world.set.status;
    world.pods[..wanted].iter().all(is_right)
        && world.pods[wanted..usize::from(model.bounds.ordinals)].iter().all(Option::is_none)
        && (status.ready, status.updated, status.current)
            == (world.set.replicas, world.set.replicas, world.set.replicas)
        && status.current_template == Some(world.set.template)
}
