//! S13, S15, S17: who asks is told nothing older than what was there when he asked.
//!
//! Whatever a client was answered before was there by then, so nobody sees time run backwards either.

use meta::Status;
use store_core::EventKind;

use super::Found;
use super::history::{History, kind_prefix};
use super::writes::key;
use crate::wire::{Answer, Call, Verb};

/// A read was answered; `asked` is the newest revision when it reached the server.
pub fn answered(call: &Call, history: &History, asked: u64, answer: Result<Answer<'_>, &Status>) -> Found {
    let key = key(call);
    let kind = kind_prefix(&key);
    let newest = history.revision();
    match (call.verb, answer) {
        (Verb::List, Ok(Answer::List(list))) if list.resource_version.0 > newest => {
            vec![("S13", format!("{call} is answered at {}, and {newest} is the newest", list.resource_version.0))]
        }
        (Verb::List, Ok(Answer::List(list))) if list.resource_version.0 < asked => {
            vec![("S17", format!("{call} is answered at {}, and was asked at {asked}", list.resource_version.0))]
        }
        (Verb::Get, Ok(Answer::Object(object))) if call.subresource.is_empty() => {
            let revision = object.resource_version.0;
            let of_key = |after: u64, upto: u64| history.of_kind(kind, after, upto).filter(|past| past.key == key);
            let Some(past) = of_key(revision.saturating_sub(1), revision).next() else {
                // What the judges were never shown is none that they can judge.
                let is_known = of_key(0, newest).next().is_some();
                let what = || format!("{call} is told of {revision}, at which it did not change");
                return is_known.then(|| ("S13", what())).into_iter().collect();
            };
            if past.kind == EventKind::Deleted {
                return vec![("S17", format!("{call} is told of {revision}, which is its end"))];
            }
            if object.json != *past.after.bytes() {
                return vec![("S15", format!("{call} is told other bytes than those of {revision}"))];
            }
            let newer = of_key(revision, asked).last();
            let newer = newer.map(|newer| format!("{call} is told of {revision} after {} was there", newer.revision));
            newer.map(|what| ("S17", what)).into_iter().collect()
        }
        (Verb::Get, Err(status)) if call.subresource.is_empty() && status.is_not_found() => {
            let is_there = history.get(&key).is_some_and(|state| state.revision <= asked);
            // It may have been made anew meanwhile; whoever is at the same state since he asked was never away.
            if is_there { vec![("S17", format!("{call} is told that it is not there"))] } else { Found::new() }
        }
        _ => Found::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use client::ObjectList;
    use meta::{Reason, ResourceVersion};
    use serde_json::json;

    use super::super::testing::{Play, call};
    use super::*;

    const POD: &str = "/registry/core/pods/default/web-0";

    #[test]
    fn a_list_is_not_older_than_its_question() {
        let mut play = Play::default();
        let first = play.put(POD, json!({"metadata": {"name": "web-0", "uid": "a"}}));
        let second = play.put(POD, json!({"metadata": {"name": "web-0", "uid": "a", "labels": {}}}));
        let list = call(Verb::List, "pods", "", "client", 1);
        let at = |revision| ObjectList { resource_version: ResourceVersion(revision), items: Vec::new() };
        for (revision, asked, is_right) in [(second, first, true), (second, second, true), (first, second, false)] {
            let found = answered(&list, &play.history, asked, Ok(Answer::List(&at(revision))));
            assert_eq!(found.is_empty(), is_right, "{revision} at {asked}: {found:?}");
        }
    }

    #[test]
    fn an_object_is_told_as_it_was_when_it_was_asked_for_or_later() {
        let mut play = Play::default();
        let first = play.put(POD, json!({"metadata": {"name": "web-0", "uid": "a"}}));
        let old = play.object(POD);
        let second = play.put(POD, json!({"metadata": {"name": "web-0", "uid": "a", "labels": {}}}));
        let new = play.object(POD);
        let get = call(Verb::Get, "pods", "web-0", "client", 1);
        let judge = |object: &Arc<client::Object>, asked, play: &Play| {
            answered(&get, &play.history, asked, Ok(Answer::Object(object)))
        };
        assert!(judge(&old, first, &play).is_empty(), "it changed while the answer was made");
        assert!(judge(&new, first, &play).is_empty());
        assert!(judge(&new, second, &play).is_empty());
        assert_eq!(judge(&old, second, &play).len(), 1);
        let other = Arc::new(client::Object::new(ResourceVersion(second), "{}".into()));
        assert_eq!(judge(&other, second, &play).len(), 1, "other bytes");

        let never = Arc::new(client::Object::new(ResourceVersion(second + 1), "{}".into()));
        assert_eq!(judge(&never, second, &play)[0].0, "S13", "a revision that nobody gave out");

        let missing = Status::new(Reason::NotFound, "not found");
        assert_eq!(answered(&get, &play.history, second, Err(&missing)).len(), 1);
        assert!(answered(&get, &play.history, first - 1, Err(&missing)).is_empty(), "it was not there yet");
        play.drop(POD);
        assert!(answered(&get, &play.history, second, Err(&missing)).is_empty(), "it went meanwhile");
    }
}
