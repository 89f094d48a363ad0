//! The jobs of this folder, and the demo of `make run`, which gives one of them real input.
//!
//! It uses the testkit's broker and the `millrace` binary as anybody would, and may depend on no
//! crate of the engine.
//!
//! Invariants: the input topic holds, in each partition, a prefix of what that partition will
//! hold at the end, whenever and however the demo is stopped; so the topic itself says where the
//! replay goes on. What the demo says about its output it has read back and counted.
//!
//! Layout: `dataset` the flights in the order of their time, `replay` sends them at a set rate,
//! `demo` the whole run: broker, replay, engine, output.

pub mod dataset;
pub mod demo;
pub mod replay;
