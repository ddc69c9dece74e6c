//! The one writer: takes every waiting transaction, commits them with one flush, publishes, answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use store_core::{Applied, Expected, Op, Revision, Staged, Transaction, encode_record};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::shared::Shared;
use crate::{Batch, CommitError, Engine, EngineCommitError, Haste, Room};

type Answer = Result<Applied, CommitError>;

pub(crate) enum Message {
    Commit {
        transaction: Transaction,
        bytes: usize,
        haste: Haste,
        answer: oneshot::Sender<Answer>,
    },
    /// Forget history up to here, however young.
    Compact {
        upto: Revision,
        answer: oneshot::Sender<Result<Revision, CommitError>>,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// Events that one batch forgets beyond twice the number it adds: history shrinks faster than it grows.
const FORGET_MIN: usize = 64;

/// The store's only writer. It runs on a thread of its own ([`crate::Store::open`]), or is stepped by a test or a
/// simulator ([`crate::Store::open_stepped`]).
pub struct Writer {
    shared: Arc<Shared>,
    engine: Option<Box<dyn Engine>>,
    inbox: mpsc::Receiver<Message>,
    waiting: VecDeque<Message>,
}

impl Message {
    fn may_wait(&self) -> bool {
        matches!(self, Self::Commit { haste: Haste::MayWait, .. })
    }
}

/// What a batch owes its callers once it is durable.
#[derive(Default)]
struct Owed {
    commits: Vec<(oneshot::Sender<Answer>, Answer)>,
    compactions: Vec<oneshot::Sender<Result<Revision, CommitError>>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, engine: Box<dyn Engine>, inbox: mpsc::Receiver<Message>) -> Self {
        Self { shared, engine: Some(engine), inbox, waiting: VecDeque::new() }
    }

    /// Returns once something waits to be written, or nobody can send anything any more. Nothing is lost if dropped.
    pub async fn arrival(&mut self) {
        if self.waiting.is_empty()
            && let Some(message) = self.inbox.recv().await
        {
            self.waiting.push_back(message);
        }
    }

    /// Takes what is waiting, at most one batch, and makes it durable. Returns how many requests it answered.
    pub fn step(&mut self) -> usize {
        while self.waiting.len() < self.shared.config.batch_max {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.waiting.push_back(message);
        }
        self.batch()
    }

    /// Works on this thread until the store is closed or its last handle is dropped.
    pub(crate) fn run(mut self) {
        match runtime::Builder::new_current_thread().enable_time().build() {
            Ok(timed) => timed.block_on(self.work()),
            Err(error) => self.fail(format!("start the writer's timer: {error}"), Owed::default()),
        }
        self.shut();
    }

    async fn work(&mut self) {
        while self.engine.is_some() && self.gather().await {
            self.step();
        }
    }

    /// Waits until something should be flushed; false when nobody can send anything any more.
    async fn gather(&mut self) -> bool {
        if self.waiting.is_empty() && !self.receive().await {
            return false;
        }
        let until = Instant::now() + self.shared.config.patience;
        while self.waiting.len() < self.shared.config.batch_max && self.waiting.iter().all(Message::may_wait) {
            // Nobody in a hurry came, or nobody is left who could.
            if !timeout_at(until, self.receive()).await.unwrap_or(false) {
                break;
            }
        }
        // Who is in haste is told first, too. What closes or compacts the store stays behind what came before it.
        if self.waiting.iter().all(|message| matches!(message, Message::Commit { .. })) {
            self.waiting.make_contiguous().sort_by_key(Message::may_wait);
        }
        true
    }

    /// Takes what has arrived, or waits for it.
    async fn receive(&mut self) -> bool {
        let mut arrived = Vec::new();
        let count = self.inbox.recv_many(&mut arrived, self.shared.config.batch_max).await;
        self.waiting.extend(arrived);
        count > 0
    }

    fn batch(&mut self) -> usize {
        let mut staged = self.shared.index().begin();
        let mut owed = Owed::default();
        let (mut answered, mut bytes_staged, mut close) = (0, 0, None);
        let room = self.engine.as_mut().map_or(Room::Ample, |engine| engine.room());
        while let Some(message) = self.waiting.pop_front() {
            answered += 1;
            match message {
                Message::Commit { transaction, bytes, answer, .. } => {
                    let outcome = self.stage(&mut staged, &transaction, room);
                    owed.commits.push((answer, outcome));
                    bytes_staged += bytes;
                }
                Message::Compact { upto, answer } => {
                    let index = self.shared.index();
                    let upto = upto.min(index.revision());
                    if upto > staged.state().floor {
                        index.stage_compaction(&mut staged, upto);
                    }
                    owed.compactions.push(answer);
                    break;
                }
                Message::Close { answer } => {
                    close = Some(answer);
                    break;
                }
            }
            if bytes_staged >= self.shared.config.batch_bytes_max || answered >= self.shared.config.batch_max {
                break;
            }
        }
        self.commit(staged, owed);
        if let Some(answer) = close {
            self.shut();
            // Nobody may be waiting for it any more.
            let _ = answer.send(());
        }
        answered
    }

    fn stage(&self, staged: &mut Staged, transaction: &Transaction, room: Room) -> Answer {
        if self.engine.is_none() {
            return Err(CommitError::Closed);
        }
        if let Some(why) = self.shared.broken.get() {
            return Err(CommitError::Broken { why: why.clone() });
        }
        if !fits(transaction, room) {
            return Err(CommitError::DiskFull);
        }
        let needs = self.shared.index().needs(staged, transaction);
        for head in needs {
            let record = self.shared.fetch(&head).ok();
            staged.supply(head.key, record);
        }
        Ok(self.shared.index().stage(staged, transaction)?)
    }

    /// Makes the staged batch durable, then visible, then known to the callers.
    fn commit(&mut self, mut staged: Staged, owed: Owed) {
        let before = self.shared.index().state();
        if owed.compactions.is_empty() && !staged.is_empty() {
            self.stage_compaction(&mut staged);
        }
        let state = staged.state();
        if !staged.is_empty() || state.floor != before.floor {
            let batch = Batch {
                state: (state.floor != before.floor || state.base != before.base).then(|| state.encode()),
                records: staged.records().map(|record| (record.revision, encode_record(record))).collect(),
                dropped: staged.dropped(),
            };
            let result = self.engine.as_mut().map(|engine| engine.commit(&batch));
            match result {
                Some(Err(EngineCommitError::Full)) => return owed.refuse(&CommitError::DiskFull),
                Some(Err(EngineCommitError::Broken(_))) if meta::mutants::is_on("failed-flush-is-ignored") => {}
                Some(Err(EngineCommitError::Broken(error))) => return self.fail(error.chain(), owed),
                Some(Ok(())) | None => {}
            }
        }
        let now = self.shared.config.clock.now();
        let events = {
            let mut index = self.shared.index_mut();
            let events = index.publish(staged, now);
            index.cool(&self.shared.config.retained);
            events
        };
        self.shared.transactions.fetch_add(owed.commits.len() as u64, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        // Watchers first: controllers go on from events, callers seldom from answers. But callers do not wait for a crowd.
        let crowds = self.shared.hub.publish(&events);
        owed.settle(state.floor);
        crowds.wake();
        if !events.is_empty() {
            self.shared.revisions.send_replace(state.last);
        }
    }

    fn stage_compaction(&self, staged: &mut Staged) {
        let index = self.shared.index();
        let limits = &self.shared.config.history;
        if index.history_len() <= limits.events_min && index.history_bytes() <= limits.bytes_max {
            return;
        }
        let budget = FORGET_MIN + 2 * staged.records().count();
        let hold = self.shared.hub.hold();
        let floor = index.floor_wanted(limits, self.shared.config.clock.now(), hold, budget);
        if floor > index.floor() {
            index.stage_compaction(staged, floor);
        }
    }

    /// A failed flush is final: nobody knows which pages the disk holds, and asking again may answer "done" for pages
    /// that were dropped (S21).
    fn fail(&mut self, why: String, owed: Owed) {
        tracing::error!(why, "the store's disk failed; no writes until the store is opened anew");
        let _ = self.shared.broken.set(why.clone());
        self.shared.breaking.notify_waiters();
        owed.refuse(&CommitError::Broken { why });
    }

    fn shut(&mut self) {
        self.inbox.close();
        self.engine = None;
        self.shared.hub.close();
        while let Some(message) = self.waiting.pop_front().or_else(|| self.inbox.try_recv().ok()) {
            match message {
                Message::Commit { answer, .. } => drop(answer.send(Err(CommitError::Closed))),
                Message::Compact { answer, .. } => drop(answer.send(Err(CommitError::Closed))),
                Message::Close { answer } => drop(answer.send(())),
            }
        }
    }
}

impl Owed {
    /// Nothing of the batch was committed. Refusals get the same answer: they may rest on an earlier transaction.
    fn refuse(self, error: &CommitError) {
        for (answer, _) in self.commits {
            let _ = answer.send(Err(error.clone()));
        }
        for answer in self.compactions {
            let _ = answer.send(Err(error.clone()));
        }
    }

    /// Refusals too are answered only now: they may rest on an earlier transaction of the same batch.
    fn settle(self, floor: Revision) {
        for (answer, outcome) in self.commits {
            // A caller that went away changes nothing: the transaction is durable.
            let _ = answer.send(outcome);
        }
        for answer in self.compactions {
            let _ = answer.send(Ok(floor));
        }
    }
}

/// Whether the transaction may go ahead with so much room on the disk.
fn fits(transaction: &Transaction, room: Room) -> bool {
    let grows = |op: &Op| match op {
        Op::Create { .. } => true,
        Op::Put { expected, .. } => room == Room::Exhausted || matches!(expected, Expected::Any | Expected::Absent),
        Op::Delete { .. } | Op::Require { .. } => false,
    };
    room == Room::Ample || !transaction.ops.iter().any(grows)
}
