//! The servers of the testkit, tried for real.

mod kafka;
mod s3;
