//! What is done to the engine.

pub mod damage;
pub mod faults;
pub mod full;
pub mod keyed;
pub mod kills;
mod refusal;
pub mod task_managers;
