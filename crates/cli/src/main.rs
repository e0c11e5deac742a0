//! The `fieldfit` command.
fn main() {}
