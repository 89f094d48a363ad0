//! Against a real schema registry.

mod registry;
