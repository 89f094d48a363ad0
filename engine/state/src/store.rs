//! What a checkpoint folder must be able to do.

use std::path::{Path, PathBuf};

use millrace_core::Error;

use crate::metadata::FileRef;

/// Why a store did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// A create-only write met an object of that name.
    Exists,
    /// The head is no longer the version that the swap expected.
    Conflict,
    /// It is not known whether the operation took effect.
    Failed(Error),
}

impl StoreError {
    pub fn into_error(self, what: &str) -> Error {
        match self {
            StoreError::Exists => Error::external(format!("{what}: an object of that name is there already")),
            StoreError::Conflict => Error::external(format!("{what}: somebody else has changed it")),
            StoreError::Failed(e) => e,
        }
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// The version of a head that was read or written: a sequence number in a file system, an ETag in
/// an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadVersion(pub String);

/// A checkpoint folder. Paths are relative to it, with `/`. All methods block; whatever one of
/// them reports as done is durable.
pub trait Store: Send + Sync {
    /// Creates an object; never replaces one.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Creates an object of a file's bytes. Where it has to read them whole, it does so for few files at once.
    fn create_from(&self, path: &str, file: &Path) -> Result<FileRef>;

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Paths of all objects under a folder.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Deletes an object; one that is not there is fine.
    fn delete(&self, path: &str) -> Result<()>;

    /// The newest head under a folder.
    fn read_head(&self, folder: &str) -> Result<Option<(HeadVersion, Vec<u8>)>>;

    /// Writes the head if the newest one is still `expected` (`None`: there is none).
    fn swap_head(&self, folder: &str, expected: Option<&HeadVersion>, body: &[u8]) -> Result<HeadVersion>;

    /// The bytes of a state file by a copy of it on this machine, and where that is: what is there is what
    /// was written, and never changes.
    fn copy_of(&self, _: &FileRef) -> Option<(Vec<u8>, PathBuf)> {
        None
    }

    /// The folder as a person writes it, for messages: a path or a URI.
    fn describe(&self) -> String;
}
