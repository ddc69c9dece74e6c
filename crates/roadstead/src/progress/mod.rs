//! What `up` shows while it waits: one line for each pod, and the verdict.
//!
//! The deciding half is [`World::report`]: from the objects as they are to lines and a verdict; what a pod that is not
//! there waits for is asked of the planner itself. The acting half, [`wait`], follows the API and draws.

mod follow;
mod pod;
mod screen;
mod world;

use std::time::Duration;

use anyhow::{Result, anyhow};
use explain::why::why;
use images::DiskImages;
use kube::Client;
use meta::Timestamp;

pub use screen::Meters;
pub use world::World;

use crate::gather;
use follow::Followers;
use screen::Screen;
use world::{Line, Remedy};

/// How often it is looked how far images have come, and what time alone has changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Follows the cluster until everything awaited is ready; draws the lines meanwhile. Returns how many pods are ready.
///
/// # Errors
/// If a pod is stuck or the time is up: which one, why, and what to do.
pub async fn wait(client: &Client, images: &DiskImages, mut world: World, limit: Duration) -> Result<usize> {
    let mut followers = Followers::start(client);
    let mut screen = Screen::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            changed = followers.next(&mut world) => changed?,
            () = &mut deadline => {
                screen.finish();
                return Err(too_late(&world.report(Timestamp::now()), limit));
            }
            _ = look.tick() => world.transfers = images.transfers().unwrap_or_default(),
        }
        if !followers.have_listed() {
            continue;
        }
        if let Some(set) = world.vanished_set() {
            screen.finish();
            return Err(anyhow!("StatefulSet {set} was deleted by somebody while `up` waited for it"));
        }
        let lines = world.report(Timestamp::now());
        screen.draw(&lines);
        if lines.iter().all(|line| line.done) {
            screen.finish();
            return Ok(lines.len());
        }
        if let Some((line, remedy)) = lines.iter().find_map(|line| Some((line, line.stuck.as_ref()?))) {
            screen.finish();
            let steps = steps(client, remedy).await.join("\n        or: ");
            return Err(anyhow!("pod {} gets no further: {}\nwhat to do: {steps}", line.name, line.doing));
        }
    }
}

/// What to do, most likely first: in the words of `why`, which looks at everything near the object.
async fn steps(client: &Client, remedy: &Remedy) -> Vec<String> {
    let about = match remedy {
        Remedy::Words(words) => return vec![(*words).to_owned()],
        Remedy::Why(about) => about,
    };
    let answer = gather::everything(client, &about.namespace).await.map(|near| why(&near, about, Timestamp::now()));
    match answer {
        Ok(answer) if !answer.next.is_empty() => answer.next,
        Ok(_) | Err(_) => vec![format!("`roadstead why -n {} {about}` follows what it waits for", about.namespace)],
    }
}

fn too_late(lines: &[Line], limit: Duration) -> anyhow::Error {
    let secs = limit.as_secs();
    match lines.iter().find(|line| !line.done) {
        Some(line) => anyhow!(
            "not ready after {secs} s: pod {}: {}\nwhat to do: `kubectl describe pod {}` shows its events; `--timeout` waits longer",
            line.name,
            line.doing,
            line.name
        ),
        None => anyhow!(
            "not ready after {secs} s: the API server has not yet shown what was applied\nwhat to do: `roadstead status` \
             tells whether it answers"
        ),
    }
}
