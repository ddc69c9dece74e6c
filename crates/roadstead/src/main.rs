//! The binary: flags, commands, terminal output.
fn main() {}
