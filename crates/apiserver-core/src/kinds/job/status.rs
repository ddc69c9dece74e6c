//! The rules of a job's status: what is over stays over, and the parts agree with each other.
//!
//! As upstream, a rule is asked only where the fields that it is about have changed, so that other changes pass.

use meta::Timestamp;
use serde_json::Value;

use super::is_true;
use super::spec::{count_indexes, ranges};
use crate::kinds::workload;
use crate::tree::{flag, has, int, items, member, text};
use crate::validate::{Errors, Path};

/// Checks a new status.
pub(super) fn validate(new: &Value, old: &Value, errors: &mut Errors) {
    let status = member(new, "status");
    workload::validate_counters(status, &["active", "succeeded", "failed", "ready", "terminating"], errors);
    validate_uncounted(status, errors);
    let change = Change { new, old };
    change.validate_conditions(errors);
    change.validate_times(errors);
    change.validate_finished(errors);
    change.validate_indexes(errors);
    change.validate_progress(errors);
}

fn validate_uncounted(status: &Value, errors: &mut Errors) {
    let (uncounted, path) = (member(status, "uncountedTerminatedPods"), Path::root("status"));
    let path = path.child("uncountedTerminatedPods");
    let mut seen: Vec<&str> = Vec::new();
    for key in ["succeeded", "failed"] {
        let path = path.child(key);
        for (index, uid) in items(uncounted, key).iter().filter_map(Value::as_str).enumerate() {
            if uid.is_empty() {
                errors.invalid_text(&path.index(index), "", "must not be empty");
            } else if seen.contains(&uid) {
                errors.duplicate_text(&path.index(index), uid);
            } else {
                seen.push(uid);
            }
        }
    }
}

/// A status before and after.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
}

impl Change<'_> {
    fn new_status(&self) -> &Value {
        member(self.new, "status")
    }

    fn old_status(&self) -> &Value {
        member(self.old, "status")
    }

    /// Whether a member of the status is another one now.
    fn differs(&self, key: &str) -> bool {
        let value = |object| match member(object, key) {
            Value::Number(zero) if zero.as_i64() == Some(0) => &Value::Null,
            Value::String(empty) if empty.is_empty() => &Value::Null,
            other => other,
        };
        value(self.new_status()) != value(self.old_status())
    }

    fn turned(&self, condition: &str) -> bool {
        is_true(self.new, condition) != is_true(self.old, condition)
    }

    fn finish_changed(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }

    fn validate_conditions(&self, errors: &mut Errors) {
        let path = Path::root("status");
        let path = path.child("conditions");
        let is = |condition: &str| is_true(self.new, condition);
        let (complete, failed, target, met) =
            (is("Complete"), is("Failed"), is("FailureTarget"), is("SuccessCriteriaMet"));
        let complete_changed = self.turned("Complete");
        let failed_changed = self.turned("Failed");
        let mut refuse = |wrong: bool, detail: &str| {
            if wrong {
                errors.invalid_shown(&path, "", detail);
            }
        };
        refuse(
            (complete_changed || failed_changed) && complete && failed,
            "cannot set Complete=True and Failed=true conditions",
        );
        refuse(
            (complete_changed || self.turned("FailureTarget")) && complete && target,
            "cannot set Complete=True and FailureTarget=true conditions",
        );
        refuse(
            (failed_changed || self.differs("failedIndexes")) && failed && !target,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        );
        refuse(
            (complete_changed || self.turned("SuccessCriteriaMet")) && complete && !met,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        );
        refuse(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
        refuse(met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        for condition in ["Failed", "Complete", "FailureTarget"] {
            let is_undone = is_true(self.old, condition) && !is(condition);
            refuse(is_undone, &format!("cannot disable the terminal {condition}=True condition"));
        }
        let was_met = is_true(self.old, "SuccessCriteriaMet");
        refuse(was_met && !met, "cannot disable the SuccessCriteriaMet=True condition");
        refuse(
            is_true(self.old, "Complete") && !was_met && met,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        );
    }

    fn validate_times(&self, errors: &mut Errors) {
        let (status, path) = (self.new_status(), Path::root("status"));
        let (start, end) = (member(status, "startTime"), member(status, "completionTime"));
        let (start_changed, end_changed) = (self.differs("startTime"), self.differs("completionTime"));
        let (complete, complete_changed) = (is_true(self.new, "Complete"), self.turned("Complete"));
        let end_path = path.child("completionTime");
        if (complete_changed || end_changed) && !end.is_null() && !complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(&end_path, end, detail);
        }
        if (complete_changed || end_changed) && end.is_null() && complete {
            errors.required(&end_path, "completionTime is required for Complete jobs");
        }
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        if (start_changed || end_changed) && time(start).zip(time(end)).is_some_and(|(start, end)| end < start) {
            errors.invalid(&end_path, end, "must be equal to or after `startTime`");
        }
        let old_end = member(self.old_status(), "completionTime");
        if !end.is_null() && !old_end.is_null() && end_changed {
            errors.invalid(&end_path, end, "field is immutable");
        }
        let is_resuming = is_true(self.old, "Suspended") && has_false(self.new, "Suspended");
        let old_start = member(self.old_status(), "startTime");
        if start_changed && !is_resuming && !old_start.is_null() && !flag(member(self.new, "spec"), "suspend") {
            errors.invalid(&path.child("startTime"), start, "field is immutable for unsuspended job once set");
        }
    }

    /// A job that is over has no pods.
    fn validate_finished(&self, errors: &mut Errors) {
        let (status, path) = (self.new_status(), Path::root("status"));
        let (finished, changed) = (is_finished(self.new), self.finish_changed());
        let count = |key: &str| int(status, key).unwrap_or(0);
        let ready = count("ready");
        if (self.differs("ready") || self.differs("active")) && ready > count("active") {
            errors.invalid_int(&path.child("ready"), ready, "cannot set more ready pods than active");
        }
        if !finished {
            return;
        }
        for key in ["active", "terminating"] {
            if (changed || self.differs(key)) && count(key) > 0 {
                errors.invalid_int(&path.child(key), count(key), &format!("{key}>0 is invalid for finished job"));
            }
        }
        let spec = member(self.new, "spec");
        let never_ran = flag(spec, "suspend") && int(spec, "completions") == Some(0);
        if (changed || self.differs("startTime")) && !never_ran && !has(status, "startTime") {
            errors.required(&path.child("startTime"), "startTime is required for finished job");
        }
        let uncounted = member(status, "uncountedTerminatedPods");
        let is_counting = ["succeeded", "failed"].iter().any(|key| !items(uncounted, key).is_empty());
        if (changed || self.differs("uncountedTerminatedPods")) && is_counting {
            errors.invalid(&path.child("uncountedTerminatedPods"), uncounted, "must be empty for finished job");
        }
    }

    fn validate_indexes(&self, errors: &mut Errors) {
        let (spec, status, path) = (member(self.new, "spec"), self.new_status(), Path::root("status"));
        let completed = text(status, "completedIndexes");
        let failed = status.get("failedIndexes").and_then(Value::as_str);
        let completions = int(spec, "completions");
        if self.differs("completedIndexes") {
            let path = path.child("completedIndexes");
            if let Some(Err(why)) = completions.map(|completions| count_indexes(completed, completions)) {
                errors.invalid_text(&path, completed, &format!("error parsing completedIndexes: {why}"));
            }
            if !completed.is_empty() && text(spec, "completionMode") != "Indexed" {
                let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
                errors.invalid_text(&path, completed, detail);
            }
        }
        let Some(failed) = failed else { return };
        let path = path.child("failedIndexes");
        let per_index = has(spec, "backoffLimitPerIndex");
        if self.differs("failedIndexes") {
            let counted = completions.filter(|_| per_index).map(|completions| count_indexes(failed, completions));
            if let Some(Err(why)) = counted {
                errors.invalid_text(&path, failed, &format!("error parsing failedIndexes: {why}"));
            }
            if !per_index {
                let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
                errors.invalid_text(&path, failed, detail);
            }
        }
        let changed = self.differs("failedIndexes") || self.differs("completedIndexes");
        if changed && overlap(completed, failed) {
            errors.invalid_text(&path, failed, "failedIndexes and completedIndexes overlap");
        }
    }

    /// Counters of what is over only grow.
    fn validate_progress(&self, errors: &mut Errors) {
        let (spec, path) = (member(self.new, "spec"), Path::root("status"));
        let count = |status: &Value, key: &str| int(status, key).unwrap_or(0);
        let scales =
            text(spec, "completionMode") == "Indexed" && member(spec, "completions") == member(spec, "parallelism");
        for (key, may_shrink) in [("failed", false), ("succeeded", scales)] {
            let now = count(self.new_status(), key);
            if !may_shrink && now < count(self.old_status(), key) {
                errors.invalid_int(&path.child(key), now, &format!("cannot decrease the {key} counter"));
            }
        }
    }
}

fn is_finished(job: &Value) -> bool {
    is_true(job, "Complete") || is_true(job, "Failed")
}

fn has_false(job: &Value, condition: &str) -> bool {
    items(member(job, "status"), "conditions")
        .iter()
        .any(|other| text(other, "type") == condition && text(other, "status") == "False")
}

/// Whether an index is in both lists.
fn overlap(a: &str, b: &str) -> bool {
    let b = ranges(b);
    ranges(a).iter().any(|(first, last)| b.iter().any(|(from, to)| from <= last && first <= to))
}
