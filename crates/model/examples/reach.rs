//! The large worlds by hand: `cargo run --release -p model --example reach -- [states] [minutes]`.

use std::error::Error;
use std::time::{Duration, Instant};

use model::{Bounds, Checked};
use stateright::{Checker as _, Model as _};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let states: usize = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let minutes: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let quiet = Bounds {
        ordinals: 3,
        nodes: 2,
        parallel: false,
        heal: false,
        broken: false,
        crashes: 2,
        edits: 1,
        scalings: 0,
        mishaps: 0,
        stale: true,
        forced: false,
    };
    let worlds = [
        ("an update, two crashes", quiet),
        ("an update, two crashes, a mishap", Bounds { mishaps: 1, ..quiet }),
        ("a broken template and back, healed", Bounds { heal: true, broken: true, edits: 2, crashes: 1, ..quiet }),
        ("parallel, an update, two crashes", Bounds { parallel: true, ..quiet }),
    ];
    for (what, bounds) in worlds {
        let (begun, limit) = (Instant::now(), Duration::from_secs(minutes * 60));
        let builder = Checked::new(bounds).checker().threads(2).timeout(limit);
        let checker = builder.target_state_count(states).spawn_bfs().join();
        let (all, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
        let is_whole = begun.elapsed() < limit && all < states;
        let whole = if is_whole { ", all of them" } else { "" };
        println!("{what}: {all} states, {unique} different ones, at most {depth} steps from the start{whole}");
        checker.assert_properties();
    }
    Ok(())
}
