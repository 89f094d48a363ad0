//! The same jobs on two TaskManagers, with edges between them over TCP.

#[path = "../it/main.rs"]
mod it;
