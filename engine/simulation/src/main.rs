//! Runs the simulation by seeds.

fn main() {}
