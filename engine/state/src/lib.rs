//! Durable state of a job: checkpoint files, the head object that says which of them count, and
//! the stores that hold both.
//!
//! It may depend on `millrace-core` only; it knows no operator and no connector.
//!
//! Invariants:
//! - A checkpoint is complete when the job's head has been swapped, not before: files, then
//!   `_metadata` (create-only), then head.
//! - The head is written by one epoch at a time. A new leader raises the epoch in the head before
//!   it acts on what the head says, so a deposed leader's late swap is refused.
//! - A file is deleted only when a swap confirmed in the present epoch made it unreferenced.
//! - Every file carries a checksum; what is torn or altered is found when it is read.
//!
//! Layout: `store` the few operations that a checkpoint folder must have, `local` and `object`
//! the two kinds of it, `location` which one a path means, `copies` what of it is on this machine too, `head` the head's body, `metadata` a
//! checkpoint's own description, `job` all of it together for one job, `keyed` the state of keys, `schema` what the
//! bytes of keyed state mean, `savepoint` a checkpoint's copy that can be moved, `inspect` what a person is shown of a checkpoint.

pub mod copies;
pub mod head;
pub mod inspect;
pub mod job;
pub mod keyed;
pub mod local;
pub mod location;
pub mod metadata;
pub mod object;
pub mod savepoint;
pub mod schema;
pub mod store;

pub use head::{AttemptRecord, Head, Resume, Status};
pub use job::{JobStore, Leadership};
pub use metadata::{Metadata, OperatorState, StateBlob, SubtaskState};
pub use store::{HeadVersion, Store, StoreError};
