//! The answer, as a value and as text.

use std::fmt;

use serde::Serialize;

use crate::cluster::Ref;

/// Whether somebody has to do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum State {
    /// Nothing blocks it.
    Fine,
    /// It waits for something that comes by itself.
    Working,
    /// It goes on only when somebody does something.
    Stuck,
}

/// One object on the way, and what it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The object.
    pub about: Ref,
    /// The fact, as the rest of a sentence that begins with the object.
    pub says: String,
}

/// Why an object is as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether somebody has to do something.
    pub state: State,
    /// From the object asked about to the one fact that blocks it.
    pub chain: Vec<Link>,
    /// What to do next, most likely first.
    pub next: Vec<String>,
    /// True as well, though it does not block.
    pub also: Vec<String>,
}

impl Answer {
    /// The answer as JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let chain: Vec<_> = self
            .chain
            .iter()
            .map(|link| {
                serde_json::json!({
                    "kind": link.about.kind,
                    "namespace": link.about.namespace,
                    "name": link.about.name,
                    "says": link.says,
                })
            })
            .collect();
        serde_json::json!({"state": self.state, "chain": chain, "next": self.next, "also": self.also})
    }
}

/// One line for each link, then what to do.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, link) in self.chain.iter().enumerate() {
            let arrow = if depth == 0 { "" } else { "└ " };
            writeln!(f, "{:indent$}{arrow}{} {}", "", link.about, link.says, indent = depth.saturating_sub(1) * 2)?;
        }
        match self.state {
            State::Fine => writeln!(f, "nothing blocks it")?,
            State::Working => writeln!(f, "this goes on by itself")?,
            State::Stuck => {}
        }
        write_next(f, "", &self.next)?;
        for also in &self.also {
            writeln!(f, "also: {also}")?;
        }
        Ok(())
    }
}

/// What to do, a line for each.
pub(crate) fn write_next(f: &mut fmt::Formatter<'_>, indent: &str, next: &[String]) -> fmt::Result {
    for (index, next) in next.iter().enumerate() {
        writeln!(f, "{indent}{}{next}", if index == 0 { "what to do: " } else { "        or: " })?;
    }
    Ok(())
}
