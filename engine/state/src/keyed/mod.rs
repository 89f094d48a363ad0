//! Keyed state: rows by key, in memory where they are worked on, in RocksDB where they rest.
//!
//! An operator keeps its accumulators in columns of its own, by *slot*; a `Table` says which slot a
//! key has, which slots are new or were read from the store, and writes back what has changed:
//! when memory is short, and at every barrier. So a batch costs one look into a hash table a row,
//! one MultiGet for the keys that are not in memory, and nothing else.
//!
//! A row's key in the store is its key group (big-endian, two bytes) and its encoded key; its value
//! is the encoded row of the accumulators (`millrace_core::row`). A subtask has one store, a table
//! one column family in it.
//!
//! Layout: `slots` the cache's index, `table` a cached table with a row for each key, `maps` the maps
//! that it may have beside its rows, `map_table` a table with a map for each key, `store` RocksDB and
//! `limits` its memory, `files` its files in checkpoints, `backend` an operator's store and its part in
//! checkpoints, `ttl` rows that are forgotten after a time.

pub mod backend;
pub mod files;
#[cfg(test)]
mod large_map_tests;
mod limits;
pub mod map_table;
#[cfg(test)]
mod map_tests;
pub mod maps;
mod slots;
pub mod store;
pub mod table;
#[cfg(test)]
mod tests;
pub mod ttl;
#[cfg(test)]
mod ttl_tests;

pub use backend::{KeyedBackend, KeyedResources, KeyedSnapshot, RunFolder};
pub use files::KeyedFiles;
pub use limits::Limits;
pub use map_table::MapTable;
pub use maps::MapsOf;
pub use store::{KeyedStore, TableSize};
pub use table::{Columns, Resolved, Table};
pub use ttl::{Clock, Lifetimes};
