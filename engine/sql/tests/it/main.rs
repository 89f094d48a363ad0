//! The planner's tests: plans as EXPLAIN prints them, refusals, errors with their place.

mod aggregates;
mod changelogs;
#[path = "../../../expr/tests/it/columns.rs"]
mod columns;
mod ddl;
mod errors;
mod expressions;
mod fixtures;
mod functions;
mod golden;
mod over;
mod plans;
mod refused;
mod robust;
mod session;
mod single_rows;
mod state_ttl;
mod uids;
mod variances;
