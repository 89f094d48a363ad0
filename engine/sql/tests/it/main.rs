//! The planner's tests: plans as EXPLAIN prints them, refusals, errors with their place.

mod ddl;
mod errors;
mod expressions;
mod fixtures;
mod plans;
mod refused;
mod robust;
mod session;
