//! The large worlds by hand: `cargo run --release -p model --example reach -- [states] [minutes] [crashes] [world]`:
//! each one, or the one with that number, from 0. States and minutes are the most that one world is given.

use std::error::Error;
use std::time::{Duration, Instant};

use model::{Bounds, Checked};
use stateright::{Checker as _, Model as _};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let states: usize = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let minutes: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let crashes: u8 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let only: Option<usize> = arguments.next().map(|text| text.parse()).transpose()?;
    let quiet = Bounds {
        ordinals: 3,
        nodes: 2,
        parallel: false,
        heal: false,
        broken: false,
        crashes,
        edits: 1,
        scalings: 0,
        mishaps: 0,
        stale: true,
        forced: false,
    };
    let worlds = [
        ("an update", quiet),
        ("an update, a mishap", Bounds { mishaps: 1, ..quiet }),
        ("a broken template and back, healed", Bounds { heal: true, broken: true, edits: 2, ..quiet }),
        ("Parallel, an update", Bounds { parallel: true, ..quiet }),
    ];
    for (number, (what, bounds)) in worlds.into_iter().enumerate() {
        if only.is_some_and(|only| only != number) {
            continue;
        }
        let (begun, limit) = (Instant::now(), Duration::from_secs(minutes * 60));
        let builder = Checked::new(bounds).checker().threads(2).timeout(limit);
        let checker = builder.target_state_count(states).spawn_bfs().join();
        let (all, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
        let is_whole = begun.elapsed() < limit && all < states;
        let whole = if is_whole { ", all of them" } else { "" };
        let taken = begun.elapsed().as_secs();
        println!(
            "{number}: {what}, crashes: {crashes}: {all} states, {unique} different ones, at most {depth} steps from the start{whole}; {taken} s"
        );
        checker.assert_properties();
    }
    Ok(())
}
