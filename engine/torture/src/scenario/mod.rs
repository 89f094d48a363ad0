//! What is done to the engine.

pub mod damage;
pub mod faults;
pub mod full;
mod inside;
pub mod keyed;
pub mod kills;
pub mod leaders;
mod refusal;
pub mod task_managers;
