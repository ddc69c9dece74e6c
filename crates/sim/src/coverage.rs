//! What a number of runs has reached, and what it has not.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts by group and name. Every name that can be reached is declared, so that an unreached one shows with a zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    groups: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Coverage {
    /// Says that a name can be reached.
    pub fn declare(&mut self, group: &'static str, names: &[&str]) {
        let known = self.groups.entry(group).or_default();
        for name in names {
            known.entry((*name).to_owned()).or_default();
        }
    }

    /// Counts one.
    pub fn count(&mut self, group: &'static str, name: &str) {
        let known = self.groups.entry(group).or_default();
        match known.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                known.insert(name.to_owned(), 1);
            }
        }
    }

    /// How often a name was reached.
    pub fn of(&self, group: &str, name: &str) -> u64 {
        self.groups.get(group).and_then(|names| names.get(name)).copied().unwrap_or(0)
    }

    /// How often anything of a group was reached.
    pub fn total(&self, group: &str) -> u64 {
        self.groups.get(group).into_iter().flat_map(BTreeMap::values).sum()
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        for (group, names) in &other.groups {
            let known = self.groups.entry(group).or_default();
            for (name, count) in names {
                *known.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// Names that were declared and never reached.
    pub fn unreached(&self) -> Vec<(&'static str, String)> {
        let all = self.groups.iter().flat_map(|(group, names)| names.iter().map(move |(name, n)| (*group, name, *n)));
        all.filter(|(_, _, count)| *count == 0).map(|(group, name, _)| (group, name.clone())).collect()
    }

    /// The table for people: unreached names stand out.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (group, names) in &self.groups {
            let reached = names.values().filter(|count| **count > 0).count();
            let _ = writeln!(text, "{group}: {reached} of {}", names.len());
            for (name, count) in names {
                let mark = if *count == 0 { "  <-- never" } else { "" };
                let _ = writeln!(text, "  {name:<42} {count:>10}{mark}");
            }
        }
        text
    }
}
