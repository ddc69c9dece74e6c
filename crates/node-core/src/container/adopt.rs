//! What an agent that has just started found on the node (S24).

use meta::Timestamp;

use super::{Container, Current, Ended, Image, Surroundings};
use crate::alive::{Alive, HookState};
use crate::step::{Exit, ExitCause, ImageFact, ProbeKind};

/// What an agent before this one had found out about an instance that still lives (S24).
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) ready: bool,
    pub(crate) started: bool,
    pub(crate) image_id: String,
}

impl Ended {
    /// The better account of one end: the API only knows that it ran where the machine knows how it ended.
    fn or(self, found: Self) -> Self {
        if self.exit.cause == ExitCause::Sandbox { Self { image_id: self.image_id, ..found } } else { self }
    }
}

impl Container {
    /// Makes the container as it was found on the node by an agent that has just started.
    pub(crate) fn adopt_alive(
        &mut self,
        id: String,
        attempt: u32,
        started_at: Timestamp,
        carried: Carried,
        around: &Surroundings<'_>,
    ) {
        let mut alive = Alive {
            id,
            attempt,
            started_at,
            image: self.image_name(around),
            image_id: carried.image_id,
            post_start: HookState::Done,
            probes: Vec::new(),
            kill: None,
            held_until: None,
        };
        if let Some(spec) = around.container(&self.name) {
            alive.arm_probes(spec, around.now);
            for probe in &mut alive.probes {
                let well = match probe.kind {
                    ProbeKind::Startup => carried.started,
                    ProbeKind::Readiness => carried.ready,
                    ProbeKind::Liveness => true,
                };
                probe.carry(well);
            }
        }
        self.attempts = attempt + 1;
        self.image = Image::Present(ImageFact { id: alive.image_id.clone() });
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Ended(known) if known.id != alive.id => self.last = Some(known),
            _ => {}
        }
        self.current = Current::Alive(Box::new(alive));
    }

    /// Takes note of an instance that was found dead: it becomes the current one, or, if a later one is known, the one
    /// before that.
    pub(crate) fn adopt_ended(&mut self, id: String, attempt: u32, exit: Exit, image_id: String) {
        self.attempts = self.attempts.max(attempt + 1);
        let found = Ended { id, attempt, exit, image_id, backoff_told: false };
        match std::mem::replace(&mut self.current, Current::None) {
            Current::Ended(known) if known.id == found.id => self.end_as(known.or(found)),
            Current::Ended(known) if known.attempt > found.attempt => {
                let older = match self.last.take() {
                    Some(last) if last.id == found.id => last.or(found),
                    Some(last) if last.attempt > found.attempt => last,
                    _ => found,
                };
                self.last = Some(older);
                self.current = Current::Ended(known);
            }
            Current::Ended(known) => {
                self.last = Some(known);
                self.end_as(found);
            }
            Current::None | Current::Starting { .. } | Current::Alive(_) => self.end_as(found),
        }
    }
}
