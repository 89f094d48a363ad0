//! Bodies made of what is known of jobs: functions of values, and the time.

#[cfg(test)]
mod checkpoint_tests;
pub mod checkpoints;
pub mod exceptions;
pub mod jobs;
pub mod pressure;
pub mod restart;
pub mod subtasks;
#[cfg(test)]
mod tests;
