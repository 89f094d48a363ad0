//! The connector against real brokers.

mod sink;
mod source;
