//! The source against real brokers: every record once, from where the options say to where they
//! say, whatever is restored.

mod job;
mod modes;
mod records;
mod restore;
mod security;
mod transactions;
