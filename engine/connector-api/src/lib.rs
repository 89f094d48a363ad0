//! What a connector and a format are: traits, and the declarations of options that SQL checks.
//!
//! It may depend on `millrace-core`, `millrace-expr` and `millrace-dataflow`. Connectors depend on
//! this crate; the planner and the runtime reach them only through a `Registry`.
//!
//! Invariants: no method of a reader or a writer blocks (they say `Pending` and wake the subtask);
//! state is bytes that the connector itself versions; everything that a restore needs is in it.
//!
//! Layout: `batch` rows with their kinds, `option` declared options, `source` and `sink` the two
//! sides of a connector, `format` records to rows and back, `metrics` what they know of themselves, `registry`
//! who is there, `waker`.

pub mod batch;
pub mod format;
pub mod metrics;
pub mod option;
pub mod registry;
pub mod sink;
pub mod source;
pub mod waker;

pub use batch::ChangeBatch;
pub use metrics::Metric;
pub use option::{OptionSpec, Options};
pub use registry::{Connector, Registry};
pub use waker::Waker;
