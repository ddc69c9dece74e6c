//! A wall clock that does not go back: timers go by it, too.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A clock behind which the wall clock was set back runs slower by one part in so many.
const SLOWED_BY: u32 = 8;

/// Makes of a wall clock that may be set back one that is not.
///
/// Whoever waits for a moment would wait as long as the clock was set back: probes, retries and the end of a grace would
/// stand still. So after a step back it goes on, an eighth slower, until the wall clock has caught up. A step ahead is
/// followed at once. After a step back by years it stays ahead for as long as its process lives.
#[derive(Clone, Copy, Default, Debug)]
pub struct Steady {
    /// What was read last, and after how much time of a clock that nobody sets.
    last: Option<(Timestamp, Duration)>,
}

impl Steady {
    /// The moment: `wall` is what the wall clock says, `elapsed` what a clock says that nobody sets.
    pub fn read(&mut self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        let now = match self.last {
            Some((last, then)) if !crate::mutants::is_on("clocks-go-back") => {
                let passed = elapsed.saturating_sub(then);
                wall.max(last.checked_add(passed - passed / SLOWED_BY).unwrap_or(Timestamp::MAX))
            }
            _ => wall,
        };
        self.last = Some((now, elapsed));
        now
    }
}

/// The moment by the machine's clock: never before what this process has been told already.
pub fn now() -> Timestamp {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static STEADY: Mutex<Steady> = Mutex::new(Steady { last: None });
    // The lock first: who reads later is told no less.
    let mut steady = STEADY.lock().unwrap_or_else(PoisonError::into_inner);
    steady.read(Timestamp::now(), BEGUN.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a steady clock says, in seconds, when the wall clock says the first after the second have passed.
    fn told(readings: &[(i64, u64)]) -> Vec<i64> {
        let mut steady = Steady::default();
        let read = |(wall, passed): &(i64, u64)| {
            steady.read(Timestamp::from_second(*wall).unwrap(), Duration::from_secs(*passed)).as_second()
        };
        readings.iter().map(read).collect()
    }

    #[test]
    fn it_follows_the_wall_clock_and_its_steps_ahead() {
        assert_eq!(told(&[(100, 0), (108, 8), (5_000, 16), (5_008, 24)]), [100, 108, 5_000, 5_008]);
    }

    #[test]
    fn s27_a_step_back_slows_it_by_an_eighth_until_the_wall_clock_has_caught_up() {
        let readings = [(100, 0), (40, 8), (104, 72), (584, 552), (592, 560)];
        assert_eq!(told(&readings), [100, 107, 163, 584, 592]);
    }

    #[test]
    fn it_never_goes_back() {
        assert!(now() <= now());
        let mut steady = Steady::default();
        let walls = [50, 10, 30, 29, 90, 1];
        let mut last = Timestamp::MIN;
        for (elapsed, wall) in (0..).zip(walls) {
            let now = steady.read(Timestamp::from_second(wall).unwrap(), Duration::from_millis(elapsed));
            assert!(now >= last);
            last = now;
        }
    }
}
