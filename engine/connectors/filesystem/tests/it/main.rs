//! The connector on real folders: reading, exact resume, parts that show with their checkpoint.

mod crash;
mod rolling;
mod sink;
mod source;
mod support;
