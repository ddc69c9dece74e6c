//! Scenarios of the work queue.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use informer::{Backoff, Clock, ManualClock, Outcome, WorkQueue, work};
use tokio_util::sync::CancellationToken;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(40) };

fn queue() -> (ManualClock, WorkQueue<&'static str>) {
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let queue = WorkQueue::new(Arc::new(clock.clone()), BACKOFF);
    (clock, queue)
}

/// The next key, if there is one now.
fn next(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
    let mut take = pin!(queue.take());
    match take.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(key) => Some(key),
        Poll::Pending => None,
    }
}

#[test]
fn a_key_is_in_line_once_and_keys_come_in_order() {
    let (_, queue) = queue();
    for key in ["a", "b", "a", "c", "b"] {
        queue.add(key);
    }
    assert_eq!([next(&queue), next(&queue), next(&queue), next(&queue)], [Some("a"), Some("b"), Some("c"), None]);
}

#[test]
fn a_key_is_never_at_work_twice_and_is_looked_at_again_if_added_meanwhile() {
    // C-1.
    let (_, queue) = queue();
    queue.add("a");
    assert_eq!(next(&queue), Some("a"));
    queue.add("a");
    queue.add("a");
    assert_eq!(next(&queue), None, "it is at work");
    queue.finish(&"a", Outcome::Done);
    assert_eq!(next(&queue), Some("a"));
    queue.finish(&"a", Outcome::Done);
    assert_eq!(next(&queue), None);
}

#[test]
fn failures_in_a_row_wait_longer_up_to_the_limit_and_success_forgets_them() {
    // C-8.
    let (clock, queue) = queue();
    queue.add("a");
    for pause in [5, 10, 20, 40, 40] {
        assert_eq!(next(&queue), Some("a"));
        queue.finish(&"a", Outcome::Failed);
        clock.advance(Duration::from_millis(pause - 1));
        assert_eq!(next(&queue), None, "not before {pause} ms");
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(next(&queue), Some("a"));
    queue.finish(&"a", Outcome::Done);
    queue.add("a");
    assert_eq!(next(&queue), Some("a"));
    queue.finish(&"a", Outcome::Failed);
    clock.advance(Duration::from_millis(5));
    assert_eq!(next(&queue), Some("a"), "the first pause again");
}

#[test]
fn an_event_does_not_wait_for_the_pause_of_an_earlier_failure() {
    let (_, queue) = queue();
    queue.add("a");
    assert_eq!(next(&queue), Some("a"));
    queue.finish(&"a", Outcome::Failed);
    queue.add("a");
    assert_eq!(next(&queue), Some("a"));
}

#[test]
fn the_earlier_of_two_deadlines_wins_until_the_key_says_otherwise() {
    let (clock, queue) = queue();
    let at = |secs: i64| clock.now() + jiff::SignedDuration::from_secs(secs);
    queue.add_at("a", at(20));
    queue.add_at("a", at(10));
    queue.add_at("a", at(30));
    assert_eq!(queue.depth(), (0, 0, 1));
    clock.advance(Duration::from_secs(10));
    assert_eq!(next(&queue), Some("a"));
    let later = clock.now() + jiff::SignedDuration::from_secs(60);
    queue.finish(&"a", Outcome::LookAgain(later));
    clock.advance(Duration::from_secs(59));
    assert_eq!(next(&queue), None);
    clock.advance(Duration::from_secs(1));
    assert_eq!(next(&queue), Some("a"));
}

#[tokio::test]
async fn waiting_takers_are_woken_by_keys_and_by_time() {
    let (clock, queue) = queue();
    let queue = Arc::new(queue);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let cancel = CancellationToken::new();
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let worker = {
        let (queue, seen, cancel) = (Arc::clone(&queue), Arc::clone(&seen), cancel.clone());
        tokio::spawn(async move {
            work(&queue, NonZeroUsize::new(2).unwrap(), &cancel, |key| {
                seen.lock().unwrap().push(key);
                let tell = tell.clone();
                async move {
                    tell.send(key).await.unwrap();
                    Outcome::Done
                }
            })
            .await;
        })
    };
    queue.add("a");
    assert_eq!(told.recv().await, Some("a"));
    queue.add_at("b", clock.now() + jiff::SignedDuration::from_secs(5));
    while clock.next_sleeper().is_none() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(5));
    assert_eq!(told.recv().await, Some("b"));
    cancel.cancel();
    worker.await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["a", "b"]);
}
