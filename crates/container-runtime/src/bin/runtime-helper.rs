//! The runtime's helper as a program of its own: for tests and benchmarks, whose own program is somebody else's.

fn main() {
    container_runtime::helper_main();
    eprintln!("this program is run by the container runtime");
    std::process::exit(2);
}
