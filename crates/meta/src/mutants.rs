//! Known bugs, re-created: each is a switch in our own code that tests turn on one at a time, to see that they notice.
//!
//! Without the feature `mutants`, which only `crates/sim` asks for, [`is_on`] is the constant `false`: the compiler
//! takes the branch out, and a product that holds one cannot be built. A mutant is on in one thread only, and the
//! catalogue with the test that kills each is `docs/mutants.md`.

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Whether this known bug is switched on.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_on(_name: &'static str) -> bool {
    false
}

/// Whether this known bug is switched on, in this thread.
#[cfg(feature = "mutants")]
#[inline]
pub fn is_on(name: &'static str) -> bool {
    ON.get().is_some_and(|on| on == name)
}

/// Switches one known bug on in this thread, or all off.
#[cfg(feature = "mutants")]
pub fn switch_on(name: Option<&'static str>) {
    ON.set(name);
}
