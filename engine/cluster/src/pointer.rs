//! Who is told where a job's newest checkpoint is: high-availability services, for people and operators. The head
//! says what counts.

use millrace_state::head::CompletedCheckpoint;

pub trait Pointer: Send + Sync {
    /// A checkpoint is complete, in this folder (a path or URI). Called on the thread that completes checkpoints; what
    /// fails is the pointer's to tell, for the checkpoint is complete all the same.
    fn completed(&self, checkpoint: &CompletedCheckpoint, folder: &str);
}
