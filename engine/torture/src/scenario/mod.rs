//! What is done to the engine.

pub mod faults;
pub mod kills;
mod refusal;
