//! The forecast as a person reads it.

use std::fmt;

use serde_json::Value;

use super::{End, Fate, FieldChange, Forecast, Happening, Step};
use crate::why::write_next;

/// Longest text of a value that is shown.
const VALUE_CHARS_MAX: usize = 60;

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, short(&self.before), short(&self.after))
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "(not set)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

fn time(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return writeln!(f, "{}: nothing to do", self.set);
        }
        writeln!(f, "{}", self.set)?;
        for field in &self.fields {
            writeln!(f, "  {field}")?;
        }
        let width = self.pods.iter().map(|pod| pod.pod.len()).max().unwrap_or(0);
        for pod in &self.pods {
            write!(f, "  pod {:width$}  ", pod.pod)?;
            match pod.fate {
                Fate::Nothing => f.write_str("stays as it is")?,
                Fate::Created => f.write_str("is created")?,
                Fate::Recreated => self.write_recreated(f, &pod.pod)?,
                Fate::Deleted => f.write_str("is deleted")?,
            }
            write_causes(f, &pod.because)?;
        }
        for claim in &self.claims {
            let fate = if claim.fate == Fate::Deleted { "is DELETED with its data" } else { "is created" };
            write!(f, "  claim {} {fate}", claim.claim)?;
            write_causes(f, &claim.because)?;
        }
        self.write_steps(f)?;
        self.write_end(f)
    }
}

/// Ends a line with what causes it.
fn write_causes(f: &mut fmt::Formatter<'_>, because: &[String]) -> fmt::Result {
    if because.is_empty() { writeln!(f) } else { writeln!(f, " ({})", because.join(", ")) }
}

impl Forecast {
    /// A claim that somebody deletes goes with its pod, and the new pod gets an empty one.
    fn write_recreated(&self, f: &mut fmt::Formatter<'_>, pod: &str) -> fmt::Result {
        let is_its = |claim: &&str| claim.strip_suffix(pod).is_some_and(|template| template.ends_with('-'));
        let created = self.claims.iter().filter(|claim| claim.fate == Fate::Created).map(|claim| claim.claim.as_str());
        let empty: Vec<&str> = created.filter(is_its).collect();
        if empty.is_empty() {
            f.write_str("is made anew; its name and its volumes stay")
        } else {
            write!(f, "is made anew; its name stays, and EMPTY is {}, whose deletion waits for this", empty.join(", "))
        }
    }

    fn write_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return writeln!(f, "  no pod is touched");
        }
        // Pods tell their times in whole seconds.
        let is_instant = self.ready_after_ms == Some(0);
        match self.ready_after_ms {
            Some(0) => writeln!(f, "  in this order (a pod of this set took less than 1 s to be ready so far):")?,
            Some(ms) => writeln!(f, "  in this order (a pod of this set took {} to be ready so far):", time(ms))?,
            None => writeln!(f, "  in this order:")?,
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>4}. {}", index + 1, Line { step, is_timed: !is_instant })?;
        }
        Ok(())
    }

    fn write_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stops = self.steps.iter().any(|step| matches!(step.what, Happening::DeletePod));
        match (&self.end, self.takes_ms) {
            (End::Settled, Some(0)) if stops => writeln!(f, "  takes as long as the pods need to stop"),
            (End::Settled, Some(ms)) if stops => {
                writeln!(f, "  takes about {}, and the time that pods need to stop", time(ms))
            }
            (End::Settled, Some(ms)) if ms > 0 && !self.steps.is_empty() => writeln!(f, "  takes about {}", time(ms)),
            (End::Settled, _) => Ok(()),
            (End::Waits(on), _) => {
                for one in on {
                    writeln!(f, "  then it waits: {one}")?;
                }
                write_next(f, "  ", &self.next)
            }
            (End::TooLong, _) => writeln!(f, "  and so on: more happens than is shown here"),
        }
    }
}

/// One step as a line.
struct Line<'s> {
    step: &'s Step,
    is_timed: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, is_timed } = self;
        let verb = match step.what {
            Happening::CreateClaim => "create claim",
            Happening::DeleteClaim => "DELETE claim",
            Happening::CreatePod => "create",
            Happening::DeletePod => "delete",
        };
        if let Some(ms) = step.after_ms.filter(|_| *is_timed) {
            write!(f, "after {:<8} ", time(ms))?;
        }
        write!(f, "{verb} {}", step.name)?;
        if step.unavailable.is_empty() { Ok(()) } else { write!(f, "  (not serving: {})", step.unavailable.join(", ")) }
    }
}
