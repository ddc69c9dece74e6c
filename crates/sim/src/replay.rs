//! Many seeds, each played twice; a failing one is shortened and told with the command that replays it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::run::{Outcome, run};
use crate::scenario::Scenario;
use crate::stories::{self, Story};

/// Runs that shortening one failure may take.
const ATTEMPTS_MAX: usize = 120;
/// Lines of a trace that a failure is told with.
const LINES_MAX: usize = 60;

/// A seed or a story that breaks a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which script, as the command that replays it names it.
    pub script: String,
    /// Steps that are not needed for it.
    pub left_out: Vec<usize>,
    /// The run of what is left.
    pub outcome: Outcome,
    /// The property and the sentence.
    pub property: &'static str,
    /// What happened.
    pub what: String,
    /// Steps that are left, in words.
    pub steps: Vec<String>,
}

/// What a number of seeds showed.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds played, twice each.
    pub seeds: u64,
    /// Commits of all stores.
    pub commits: u64,
    /// Faults injected.
    pub faults: u64,
    /// Longest time until everything was right, in virtual seconds.
    pub settled_secs_max: f64,
    /// What was reached.
    pub coverage: Coverage,
    /// What failed.
    pub failures: Vec<Failure>,
}

/// How to play.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many.
    pub seeds: u64,
    /// Threads side by side.
    pub jobs: usize,
    /// Stop after so many failures.
    pub failures_max: usize,
    /// Play all stories, too.
    pub stories: bool,
}

/// Plays seeds on several threads, each with a runtime of its own.
pub fn play(plan: Plan, progress: &(dyn Fn(u64, Option<&Failure>) + Sync)) -> Summary {
    let stories: Vec<Scenario> = stories::ALL.iter().filter(|_| plan.stories).map(Story::scenario).collect();
    let all = plan.seeds + stories.len() as u64;
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let lock = || summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= all || lock().failures.len() >= plan.failures_max {
                        return;
                    }
                    let story = usize::try_from(number).ok().and_then(|number| stories.get(number));
                    let drawn = || Scenario::of(plan.seed + number - stories.len() as u64);
                    let (outcome, failure) = play_one(&story.cloned().unwrap_or_else(drawn));
                    let mut all = lock();
                    all.seeds += u64::from(story.is_none());
                    all.commits += outcome.commits as u64;
                    all.faults += outcome.coverage.total("fault");
                    all.settled_secs_max = all.settled_secs_max.max(outcome.settled_after_secs);
                    all.coverage.add(&outcome.coverage);
                    progress(all.seeds, failure.as_ref());
                    all.failures.extend(failure);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn play_one(scenario: &Scenario) -> (Outcome, Option<Failure>) {
    let (one, two) = (run(scenario, false), run(scenario, false));
    if one.hash != two.hash {
        let what = format!("{:016x} and then {:016x}", one.hash, two.hash);
        let failure = failure(scenario, Vec::new(), run(scenario, true), "REPLAY", what);
        return (one, Some(failure));
    }
    let failure = one.violation.as_ref().map(|violation| {
        let left_out = shorten(scenario, violation.property);
        let outcome = run(&scenario.without(&left_out), true);
        let what =
            outcome.violation.as_ref().map_or_else(|| violation.what.clone(), |violation| violation.what.clone());
        failure(scenario, left_out, outcome, violation.property, what)
    });
    (one, failure)
}

fn failure(
    scenario: &Scenario,
    left_out: Vec<usize>,
    outcome: Outcome,
    property: &'static str,
    what: String,
) -> Failure {
    let steps = scenario.without(&left_out).steps.iter().map(ToString::to_string).collect();
    Failure { script: scenario.name(), left_out, outcome, property, what, steps }
}

/// Leaves out steps, many at once first, as long as the same property breaks; returns those left out.
pub fn shorten(scenario: &Scenario, property: &'static str) -> Vec<usize> {
    let mut left_out: Vec<usize> = Vec::new();
    let mut attempts = 0;
    let began = Instant::now();
    let mut size = scenario.steps.len().div_ceil(2).max(1);
    loop {
        let kept: Vec<usize> = scenario.without(&left_out).steps.iter().map(|step| step.number).collect();
        let mut progressed = false;
        for chunk in kept.chunks(size) {
            if attempts >= ATTEMPTS_MAX || began.elapsed() > Duration::from_secs(60) {
                return left_out;
            }
            attempts += 1;
            let mut fewer = left_out.clone();
            fewer.extend(chunk);
            let outcome = run(&scenario.without(&fewer), false);
            if outcome.violation.is_some_and(|violation| violation.property == property) {
                left_out = fewer;
                progressed = true;
            }
        }
        if size == 1 && !progressed {
            left_out.sort_unstable();
            return left_out;
        }
        size = size.div_ceil(2).max(1);
    }
}

impl Failure {
    /// The command that replays it.
    pub fn command(&self) -> String {
        let without: Vec<String> = self.left_out.iter().map(ToString::to_string).collect();
        let without = if without.is_empty() { String::new() } else { format!(" --without {}", without.join(",")) };
        format!("cargo xtask sim --{}{without} --trace", self.script)
    }

    /// It, for people: the property in words, the steps that are left, the end of the trace, the command.
    pub fn tell(&self) -> String {
        let mut text =
            format!("{} breaks {}: {}\n", self.script, self.property, crate::oracle::in_words(self.property));
        text.push_str(&format!("  {}\n", self.what));
        text.push_str("  what it takes:\n");
        for step in &self.steps {
            text.push_str(&format!("    {step}\n"));
        }
        let lines = &self.outcome.lines;
        let until = lines.iter().position(|line| line.contains("VIOLATION")).map_or(lines.len(), |at| at + 1);
        let from = until.saturating_sub(LINES_MAX);
        text.push_str(&format!("  the trace, its last {} lines of {until}:\n", until - from));
        for line in &lines[from..until] {
            let line: String = line.chars().take(240).collect();
            text.push_str(&format!("    {line}\n"));
        }
        text.push_str(&format!("  replay: {}\n", self.command()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants;

    #[test]
    fn a_failure_is_shortened_and_told_in_words_with_the_command_that_replays_it() {
        let mutant = mutants::ALL.iter().find(|mutant| mutant.name == "next-pod-before-last-is-ready");
        let scenario = Scenario { mutant: mutant.map(|mutant| mutant.name), ..Scenario::of(1) };
        let failure = play_one(&scenario).1.expect("the mutant breaks a promise");
        assert_eq!(failure.property, "S6");

        let breaks = |left_out: &[usize]| run(&scenario.without(left_out), false).violation.map(|found| found.property);
        assert_eq!(breaks(&failure.left_out), Some("S6"), "without the steps that are said not to be needed");
        let kept = scenario.without(&failure.left_out).steps;
        assert!(kept.len() < scenario.steps.len(), "nothing was left out");
        for step in &kept {
            let fewer: Vec<usize> = failure.left_out.iter().copied().chain([step.number]).collect();
            assert_ne!(breaks(&fewer), Some("S6"), "{step} is not needed either");
        }

        let left_out: Vec<String> = failure.left_out.iter().map(ToString::to_string).collect();
        let command = format!("cargo xtask sim --seed 1 --without {} --trace", left_out.join(","));
        assert_eq!(failure.command(), command);
        let text = failure.tell();
        let first = "seed 1 breaks S6: pods are created, deleted and updated in order and within the budget\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("VIOLATION S6: ") && text.ends_with(&format!("  replay: {command}\n")), "{text}");
        assert!(kept.iter().all(|step| text.contains(&step.to_string())), "{text}");
    }
}
