//! The torture test: `millrace run` as a process of its own between two Kafka topics, killed at
//! every named fail point and at random moments, and met with everything that brokers, folders
//! and second runs can do to it; then a checker that shares nothing with the engine compares
//! input and output.
//!
//! From the engine it may use the list of fail points and nothing else.
//!
//! Invariants: the input goes on all the time, so there is always something to lose; a scenario
//! is over when the engine has caught up and was stopped, never at a time; every random choice
//! comes from one seed, which is printed.
//!
//! Layout: `input` the producer, `job` the SQL and the process, `checker` compares with an
//! output, `findings` what it found, `keyed` the same three for a job with
//! state by key, `workbench` one scenario's topics, producer and verdict, `scenario` what
//! is done to the engine: `kills`, `faults`, `damage` of files and a `full` disk, `plan` which of them make the short and the long
//! form.

pub mod checker;
pub mod findings;
pub mod input;
pub mod job;
pub mod keyed;
pub mod plan;
pub mod scenario;
pub mod workbench;
