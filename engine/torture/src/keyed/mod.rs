//! A job that keeps state by key: orders and payments, joined with and without an interval, a running
//! sum of each account as a changelog, and sessions of each region.
//!
//! Everything in its output follows from the input alone, wherever the job was killed and at whatever
//! parallelism it goes on: no row is late, for each is behind the newest of its partition by less than
//! the watermark is; rows of an account lie in one partition, so that its sums have one order; and what
//! is joined never leaves the state too early.
//!
//! Layout: `input` what is sent, `job` the SQL, `checker` what must come out.

pub mod checker;
pub mod input;
pub mod job;
