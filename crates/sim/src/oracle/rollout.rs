//! S6: of which revision a pod is made. S7: which revisions a set's status names. S8: what a set takes over.
//!
//! What the set controller looked at cannot be seen, but bounded: nothing that is older than its incarnation, and nothing
//! that is older than what it wrote before its plan. A plan writes revisions first, then the status beside the pods: so a
//! status knows all that was written up to the last status, a pod what was written up to the last but one.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Object;
use serde_json::Value;
use store_core::EventKind;

use super::Found;
use super::history::{History, PODS, Past, REVISIONS, SETS, State};
use super::order::{LAG_MILLIS_MAX, controller, ordinal_of, was_complete};
use super::writes::key;
use crate::wire::{Call, Verb};

/// Follows what the set controller does to revisions, statuses and owners.
#[derive(Debug, Default)]
pub struct Rollout {
    /// Revision when the controllers that live now began.
    began: u64,
    incarnation: u64,
    /// By the UID of a set, where they wrote the set itself: the last time but one, and the last.
    sets: BTreeMap<String, [u64; 2]>,
    /// By the UID of a set, where they wrote its revisions, ascending.
    revisions: BTreeMap<String, Vec<u64>>,
    /// By the UID of a set, the newest revision when they last asked for the set itself and found it alive.
    confirmed: BTreeMap<String, u64>,
}

/// The revisions of a namespace at a moment, by name: the number of a set's own, `None` of another's.
type Known = BTreeMap<String, Option<i64>>;

/// What a controller may have looked at.
struct Sight<'h> {
    history: &'h History,
    revisions: Vec<Known>,
    namespace: &'h str,
}

impl<'h> Sight<'h> {
    /// The revisions at all moments in `[from, upto]`.
    fn of(history: &'h History, namespace: &'h str, uid: &str, from: u64, upto: u64) -> Self {
        let (mut known, mut revisions) = (Known::new(), Vec::new());
        let in_namespace = |past: &&Arc<Past>| past.after.namespace() == namespace;
        for past in history.of_kind(REVISIONS, 0, upto).filter(in_namespace) {
            if past.revision > from {
                revisions.push(known.clone());
            }
            let (name, tree) = (past.after.name().to_owned(), past.after.tree());
            if past.kind == EventKind::Deleted {
                known.remove(&name);
            } else {
                let is_its = controller(tree).is_some_and(|(_, owner)| owner == uid);
                known.insert(name, is_its.then(|| tree["revision"].as_i64().unwrap_or(0)));
            }
        }
        revisions.push(known);
        Self { history, revisions, namespace }
    }

    /// What the revision of a name holds, or held: a name is one content's for ever.
    fn template(&self, name: &str) -> Option<&'h Value> {
        let is_it = |past: &&Arc<Past>| past.after.name() == name && past.after.namespace() == self.namespace;
        let past = self.history.of_kind(REVISIONS, 0, u64::MAX).find(is_it)?;
        Some(&past.after.tree()["data"]["spec"]["template"])
    }

    fn has(&self, name: &str) -> bool {
        self.revisions.iter().any(|known| known.contains_key(name))
    }

    /// Whether a revision may have been none of the set's.
    fn may_lack(&self, name: &str) -> bool {
        self.revisions.iter().any(|known| known.get(name).copied().flatten().is_none())
    }

    /// Whether a revision may have been what a set's template is: the newest one, or one of the same content that still
    /// belongs to a set that was there before.
    fn is_update(&self, name: &str, set: &State) -> bool {
        let newest = |known: &Known| {
            let number = known.get(name).copied().flatten();
            number.is_some() && number == known.values().flatten().max().copied()
        };
        let template = &set.tree()["spec"]["template"];
        self.template(name).is_some_and(|held| program(held) == program(template))
            && (self.may_lack(name) || self.revisions.iter().any(newest))
    }

    /// Whether a pod of a slot may be of a revision, by a state of its set (C-44).
    fn may_be(&self, name: &str, ordinal: u64, set: &State) -> bool {
        let spec = &set.tree()["spec"];
        let current = set.tree()["status"]["currentRevision"].as_str().unwrap_or_default();
        let is_new = || self.is_update(name, set);
        // Without a current revision it is the one of the template.
        let is_old = || name == current || self.may_lack(current) && is_new();
        if spec["updateStrategy"]["type"] == "OnDelete" {
            return is_new();
        }
        let rolling = &spec["updateStrategy"]["rollingUpdate"];
        if rolling.is_null() {
            // It depends on how many pods there were.
            return is_new() || is_old();
        }
        let start = spec["ordinals"]["start"].as_u64().unwrap_or(0);
        if ordinal < start + rolling["partition"].as_u64().unwrap_or(0) { is_old() } else { is_new() }
    }
}

/// By what the templates of a run differ: the images, and the node.
fn program(template: &Value) -> (Vec<&str>, &str) {
    (images(&template["spec"]), template["spec"]["nodeName"].as_str().unwrap_or_default())
}

fn images(spec: &Value) -> Vec<&str> {
    let containers = spec["containers"].as_array().into_iter().flatten();
    containers.map(|container| container["image"].as_str().unwrap_or_default()).collect()
}

/// The last state of a UID up to a revision, and whether it was there at some time since another.
fn known<'h>(history: &'h History, kind: &str, uid: &str, since: u64, upto: u64) -> Option<(&'h State, bool)> {
    let last = history.of_kind(kind, 0, upto).filter(|past| past.after.uid() == uid).last()?;
    Some((last.after.as_ref(), last.kind != EventKind::Deleted || last.revision > since))
}

fn owners(state: &State) -> impl Iterator<Item = &Value> {
    state.tree()["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

/// Whether the labels of an object are those that a set selects. What its selector says beyond labels is not looked at.
fn selects(set: &State, object: &State) -> bool {
    let selector = &set.tree()["spec"]["selector"];
    let labels = &object.tree()["metadata"]["labels"];
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.all(|(name, value)| labels[name] == *value)
}

impl Rollout {
    /// New controllers began.
    pub fn began(&mut self, incarnation: u64, revision: u64) {
        *self = Self { began: revision, incarnation, ..Self::default() };
    }

    fn is_its(&self, call: &Call) -> bool {
        call.user.ends_with(":statefulset-controller") && call.incarnation == self.incarnation
    }

    /// The set controller was told how something is, `asked` being the newest revision when it asked.
    pub fn read(&mut self, call: &Call, asked: u64, object: &Object) {
        let is_set = call.verb == Verb::Get && call.resource.resource == "statefulsets";
        if is_set && self.is_its(call) && object.tree()["metadata"]["deletionTimestamp"].is_null() {
            self.confirmed.insert(object.uid().0, asked);
        }
    }

    /// The set controller wrote something, after a revision; the answer says `written`.
    pub fn done(&mut self, call: &Call, history: &History, from: u64, written: u64, is_calm: bool) -> Found {
        if !self.is_its(call) || !matches!(call.verb, Verb::Create | Verb::Patch) {
            return Found::new();
        }
        let key = key(call);
        // All its patches name the revision they change, so what changes nothing is answered with an older one.
        let effect = history.since(from).iter().find(|past| past.revision == written && past.key == key);
        let Some(effect) = effect else { return Found::new() };
        let since = if is_calm {
            history.revision_at(effect.at_millis.saturating_sub(LAG_MILLIS_MAX)).max(self.began)
        } else {
            self.began
        };
        match (&*call.resource.resource, call.verb, &*call.subresource) {
            ("pods", Verb::Create, "") => self.made(history, effect, since),
            ("pods", Verb::Patch, "") => self.took(history, effect),
            ("persistentvolumeclaims", Verb::Patch, "") => claim_owned(history, effect, since),
            ("controllerrevisions", _, _) => {
                let found = if call.verb == Verb::Patch { self.took(history, effect) } else { Found::new() };
                if let Some((_, uid)) = controller(effect.after.tree()) {
                    self.revisions.entry(uid.to_owned()).or_default().push(effect.revision);
                }
                found
            }
            ("statefulsets", Verb::Patch, subresource) => {
                let found = if subresource == "status" { self.said(history, effect, since) } else { Found::new() };
                let writes = self.sets.entry(effect.after.uid().to_owned()).or_default();
                *writes = [writes[1], effect.revision];
                found
            }
            _ => Found::new(),
        }
    }

    /// What was there since the last write of one of a set's revisions up to `known`, which a plan takes into account.
    fn sight<'h>(
        &self,
        history: &'h History,
        object: &'h State,
        uid: &str,
        since: u64,
        [known, upto]: [u64; 2],
    ) -> Sight<'h> {
        let written = self.revisions.get(uid).into_iter().flatten();
        let from = written.copied().filter(|at| *at <= known).max().unwrap_or(0).max(since).min(upto);
        Sight::of(history, object.namespace(), uid, from, upto)
    }

    /// Where the set itself was written the last time but one, and the last time.
    fn written(&self, uid: &str) -> [u64; 2] {
        self.sets.get(uid).copied().unwrap_or_default()
    }

    /// S6: a pod is of the current revision below the partition, and of the template's above it.
    fn made(&self, history: &History, effect: &Past, since: u64) -> Found {
        let (pod, upto) = (&effect.after, effect.revision - 1);
        let Some((set, uid)) = controller(pod.tree()) else { return Found::new() };
        let Some(ordinal) = ordinal_of(pod.name(), set) else { return Found::new() };
        let name = pod.tree()["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default();
        let [before, _] = self.written(uid);
        let sight = self.sight(history, pod, uid, since, [before, upto]);
        let Some(template) = sight.template(name) else {
            return vec![("S7", format!("{} is of {name:?}, a revision that never was", pod.name()))];
        };
        let (wanted, runs) = (images(&template["spec"]), images(&pod.tree()["spec"]));
        if wanted != runs {
            return vec![("S6", format!("{} is of {name}, which says {wanted:?}, and runs {runs:?}", pod.name()))];
        }
        let from = before.max(since).min(upto);
        let mut states: Vec<&State> = Vec::new();
        for past in history.of_kind(SETS, 0, upto).filter(|past| past.after.uid() == uid) {
            if past.revision <= from {
                states.clear();
            }
            states.push(&past.after);
        }
        if states.iter().any(|state| sight.may_be(name, ordinal, state)) {
            return Found::new();
        }
        let last = states.last().map(|state| (&state.tree()["spec"]["updateStrategy"], &state.tree()["status"]));
        vec![("S6", format!("{} is made of {name}, never its revision since {from}: {last:?}", pod.name()))]
    }

    /// S7: a status names the revision of the set's template, and the one before until that is wholly replaced.
    fn said(&self, history: &History, effect: &Past, since: u64) -> Found {
        let Some(set) = effect.before.as_ref().filter(|set| !set.is_terminating()) else { return Found::new() };
        let upto = effect.revision - 1;
        let names = |state: &State, field: &str| state.tree()["status"][field].as_str().unwrap_or_default().to_owned();
        let (was, is) = (names(set, "currentRevision"), names(&effect.after, "currentRevision"));
        let update = names(&effect.after, "updateRevision");
        let [_, last] = self.written(set.uid());
        let sight = self.sight(history, set, set.uid(), since, [last, upto]);
        let mut found = Found::new();
        for name in [&is, &update] {
            if !sight.has(name) {
                found.push(("S7", format!("the status of {} names {name:?}, which is no revision", set.name())));
            }
        }
        // The write names the state of the set that it was counted from.
        if found.is_empty() && !sight.is_update(&update, set) {
            let what = format!("the status of {} says that {update} is its template, which it is not", set.name());
            found.push(("S7", what));
        }
        if is == was {
            return found;
        }
        if is != update {
            let what = format!("the current revision of {} goes from {was} to {is}, not to {update}", set.name());
            found.push(("S7", what));
        } else if !sight.may_lack(&was) && !was_complete(history, set, &is, since, upto) {
            let what = format!("the current revision of {} goes from {was} to {is} before its pods did", set.name());
            found.push(("S7", what));
        }
        found
    }

    /// S8: a set takes over what it selects and nobody has, and only after it was read live.
    fn took(&self, history: &History, effect: &Past) -> Found {
        let Some(before) = &effect.before else { return Found::new() };
        let Some((name, uid)) = controller(effect.after.tree()) else { return Found::new() };
        if owners(before).any(|owner| owner["uid"] == uid) {
            return Found::new();
        }
        let mut found = Found::new();
        let mut wrong = |why: &str| found.push(("S8", format!("{} is taken over by {name}: {why}", effect.key)));
        if owners(before).any(|owner| owner["controller"] == true) {
            wrong("another one controls it");
        }
        if before.is_terminating() {
            wrong("it is being deleted");
        }
        if self.confirmed.get(uid).is_none_or(|asked| *asked < before.revision) {
            wrong("the set was not read since it was seen so");
        }
        let Some((set, _)) = known(history, SETS, uid, 0, effect.revision) else {
            wrong("there never was such a set");
            return found;
        };
        if (set.namespace(), set.name()) != (before.namespace(), name) {
            wrong("it is the UID of another set");
        }
        if !selects(set, before) {
            wrong("it does not have the labels that the set selects");
        }
        if effect.key.starts_with(PODS) && ordinal_of(before.name(), name).is_none() {
            wrong("it has no name that the set gives");
        }
        found
    }
}

/// S8: a claim belongs to the set and the pod of its name, and to such as were there.
fn claim_owned(history: &History, effect: &Past, since: u64) -> Found {
    let Some(before) = &effect.before else { return Found::new() };
    let mut found = Found::new();
    let claim = before.name();
    for owner in owners(&effect.after).filter(|owner| owners(before).all(|other| other["uid"] != owner["uid"])) {
        let uid = owner["uid"].as_str().unwrap_or_default();
        let (state, is_its_name) = match owner["kind"].as_str() {
            Some("StatefulSet") => {
                let of_a_slot = |name: &str| claim.rsplit_once('-').is_some_and(|(rest, _)| rest.ends_with(name));
                let set = known(history, SETS, uid, since, effect.revision);
                (set, set.is_some_and(|(set, _)| of_a_slot(&format!("-{}", set.name()))))
            }
            Some("Pod") => {
                let pod = known(history, PODS, uid, since, effect.revision);
                (pod, pod.is_some_and(|(pod, _)| claim.ends_with(&format!("-{}", pod.name()))))
            }
            _ => (None, false),
        };
        let was_there = state.is_some_and(|(state, was_there)| was_there && state.namespace() == before.namespace());
        if !was_there || !is_its_name {
            found.push(("S8", format!("{} is given to {owner}, which is not its own or was not there", effect.key)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Play, call};
    use super::*;

    const USER: &str = "system:serviceaccount:kube-system:statefulset-controller";
    const SET: &str = "/registry/apps/statefulsets/default/web";

    fn owner(uid: &str) -> Value {
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": uid, "controller": true}])
    }

    fn template(version: u64) -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": format!("app:v{version}")}]}})
    }

    fn set(version: u64, partition: u64, [current, update]: [&str; 2]) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": "web", "uid": "u"},
            "spec": {
                "replicas": 2, "template": template(version), "selector": {"matchLabels": {"app": "web"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            },
            "status": {"currentRevision": current, "updateRevision": update},
        })
    }

    fn revision(name: &str, version: u64, number: u64, owners: Value) -> Value {
        json!({
            "metadata": {"namespace": "default", "name": name, "uid": format!("u{name}"), "ownerReferences": owners,
                "labels": {"app": "web"}},
            "data": {"spec": {"template": template(version)}}, "revision": number,
        })
    }

    fn pod(ordinal: u64, revision: &str, version: u64, ready: bool) -> Value {
        let mut pod = template(version);
        pod["metadata"] = json!({
            "namespace": "default", "name": format!("web-{ordinal}"), "uid": format!("p{ordinal}-{revision}"),
            "labels": {"controller-revision-hash": revision, "app": "web"}, "ownerReferences": owner("u"),
        });
        let word = if ready { "True" } else { "False" };
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": word}]});
        pod
    }

    /// A set that goes from revision `a` to `b`, both of them there.
    fn stage(partition: u64) -> (Play, Rollout) {
        let mut play = Play::default();
        play.put("/registry/apps/controllerrevisions/default/a", revision("a", 1, 1, owner("u")));
        play.put("/registry/apps/controllerrevisions/default/b", revision("b", 2, 2, owner("u")));
        play.put(SET, set(2, partition, ["a", "b"]));
        let mut rollout = Rollout::default();
        rollout.began(7, play.history.revision());
        (play, rollout)
    }

    fn judge(play: &mut Play, rollout: &mut Rollout, call: &Call, state: Value) -> Found {
        let from = play.history.revision();
        let written = play.put(&key(call), state);
        rollout.done(call, &play.history, from, written, false)
    }

    fn create(play: &mut Play, rollout: &mut Rollout, pod: Value) -> Found {
        let made = call(Verb::Create, "pods", pod["metadata"]["name"].as_str().unwrap(), USER, 7);
        judge(play, rollout, &made, pod)
    }

    fn tell(play: &mut Play, rollout: &mut Rollout, state: Value) -> Found {
        let mut told = call(Verb::Patch, "statefulsets", "web", USER, 7);
        told.subresource = "status".to_owned();
        judge(play, rollout, &told, state)
    }

    #[test]
    fn a_pod_below_the_partition_is_of_the_current_revision_and_one_above_it_of_the_templates() {
        for (ordinal, name, version, is_right) in [
            (0, "a", 1, true),
            (1, "b", 2, true),
            (0, "b", 2, false),
            (1, "a", 1, false),
            // It says the one and is the other.
            (0, "a", 2, false),
            // There is no such revision.
            (1, "c", 2, false),
        ] {
            let (mut play, mut rollout) = stage(1);
            let found = create(&mut play, &mut rollout, pod(ordinal, name, version, false));
            assert_eq!(found.is_empty(), is_right, "{ordinal} of {name}: {found:?}");
        }
    }

    #[test]
    fn a_controller_may_act_on_a_set_that_changes_but_not_on_less_than_it_wrote() {
        let (mut play, mut rollout) = stage(1);
        // A person lowers the partition: the controller may not have seen it.
        play.put(SET, set(2, 0, ["a", "b"]));
        for name in ["a", "b"] {
            let found = create(&mut play, &mut rollout, pod(0, name, if name == "a" { 1 } else { 2 }, false));
            assert!(found.is_empty(), "{found:?}");
            play.drop("/registry/core/pods/default/web-0");
        }
        // The second status after it was counted from a state that showed the first one.
        for _ in 0..2 {
            let found = tell(&mut play, &mut rollout, set(2, 0, ["a", "b"]));
            assert!(found.is_empty(), "{found:?}");
        }
        let mut late = pod(0, "a", 1, false);
        late["metadata"]["uid"] = json!("late");
        assert_eq!(create(&mut play, &mut rollout, late).len(), 1);
    }

    #[test]
    fn without_its_current_revision_a_set_makes_pods_of_its_template() {
        let (mut play, mut rollout) = stage(1);
        play.drop("/registry/apps/controllerrevisions/default/a");
        let found = create(&mut play, &mut rollout, pod(0, "b", 2, false));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_status_names_the_templates_revision_and_moves_on_when_all_pods_have() {
        let (mut play, mut rollout) = stage(0);
        assert!(tell(&mut play, &mut rollout, set(2, 0, ["a", "b"])).is_empty());
        assert_eq!(tell(&mut play, &mut rollout, set(2, 0, ["a", "c"])).len(), 1, "no such revision");
        assert_eq!(tell(&mut play, &mut rollout, set(2, 0, ["a", "a"])).len(), 1, "not the template");
        assert!(tell(&mut play, &mut rollout, set(2, 0, ["a", "b"])).is_empty());
        assert_eq!(tell(&mut play, &mut rollout, set(2, 0, ["b", "b"])).len(), 1, "no pod is of it");

        let (mut play, mut rollout) = stage(0);
        play.put("/registry/core/pods/default/web-0", pod(0, "b", 2, true));
        play.put("/registry/core/pods/default/web-1", pod(1, "b", 2, true));
        // Its cache may show them ready though they are not any more.
        play.put("/registry/core/pods/default/web-1", pod(1, "b", 2, false));
        let found = tell(&mut play, &mut rollout, set(2, 0, ["b", "b"]));
        assert!(found.is_empty(), "{found:?}");
        assert!(!tell(&mut play, &mut rollout, set(2, 0, ["a", "b"])).is_empty(), "back to an older one");
    }

    #[test]
    fn what_is_taken_over_is_selected_and_its_owner_was_read_afresh() {
        let orphan = "/registry/core/pods/default/web-1";
        for (labels, reads, is_right) in
            [("web", Some("u"), true), ("web", None, false), ("nobody", Some("u"), false), ("web", Some("old"), false)]
        {
            let (mut play, mut rollout) = stage(0);
            let mut state = pod(1, "b", 2, true);
            state["metadata"]["labels"]["app"] = json!(labels);
            state["metadata"]["ownerReferences"] = json!([]);
            // Read before the pod was there: that says nothing.
            let read = call(Verb::Get, "statefulsets", "web", USER, 7);
            rollout.read(&read, play.history.revision(), &play.object(SET));
            play.put(orphan, state.clone());
            if let Some(uid) = reads {
                let mut live = set(2, 0, ["a", "b"]);
                live["metadata"]["uid"] = json!(uid);
                let object = Object::new(meta::ResourceVersion(1), live.to_string().into());
                rollout.read(&read, play.history.revision(), &object);
            }
            state["metadata"]["ownerReferences"] = owner("u");
            let adopt = call(Verb::Patch, "pods", "web-1", USER, 7);
            let found = judge(&mut play, &mut rollout, &adopt, state);
            assert_eq!(found.is_empty(), is_right, "{labels} {reads:?}: {found:?}");
        }
    }

    #[test]
    fn a_claim_is_given_to_owners_that_were_there() {
        let claim = "/registry/core/persistentvolumeclaims/default/data-web-1";
        let state = |owners: Value| {
            let mut metadata = json!({"namespace": "default", "name": "data-web-1", "uid": "c"});
            metadata["ownerReferences"] = owners;
            json!({"metadata": metadata})
        };
        let a_pod = |name: &str, uid: &str| json!([{"kind": "Pod", "name": name, "uid": uid}]);
        for (owners, is_right) in [
            (owner("u"), true),
            (owner("old"), false),
            (a_pod("web-1", "p1-b"), true),
            (a_pod("web-0", "p0-b"), false),
            (a_pod("web-1", "p1-a"), false),
        ] {
            let (mut play, mut rollout) = stage(0);
            play.put("/registry/core/pods/default/web-0", pod(0, "b", 2, true));
            play.put("/registry/core/pods/default/web-1", pod(1, "a", 1, true));
            play.drop("/registry/core/pods/default/web-1");
            play.put("/registry/core/pods/default/web-1", pod(1, "b", 2, true));
            play.put(claim, state(json!([])));
            rollout.began(7, play.history.revision());
            let give = call(Verb::Patch, "persistentvolumeclaims", "data-web-1", USER, 7);
            let found = judge(&mut play, &mut rollout, &give, state(owners.clone()));
            assert_eq!(found.is_empty(), is_right, "{owners}: {found:?}");
        }
    }
}
