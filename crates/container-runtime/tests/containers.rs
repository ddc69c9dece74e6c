//! Containers for real: needs root, busybox-static and a file system that can be the upper side of an overlay.

mod common;

use common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_logs_and_tells_its_exit_code() {
    let mut f = Fixture::new().await;
    let spec = f.container("one", "echo out; echo err >&2; exit 7");
    let state = f.start("one", spec).await;
    assert!(matches!(state, ContainerState::Running { pid: 1.., .. } | ContainerState::Exited(_)), "{state:?}");
    let exit = f.exit_of("one").await;
    assert_eq!((exit.code, exit.signal, exit.reason), (7, None, ExitReason::Error));
    let mut lines: Vec<String> = f.logged("one").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert!(matches!(f.state_of("one", "one").await, ContainerState::Exited(_)));
    f.close().await;
}
