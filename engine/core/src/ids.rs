//! Identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Defines an identity of 16 bytes, which Flink writes as 32 lower-case hexadecimal digits.
macro_rules! identity {
    ($(#[$about:meta])* $name:ident, $what:literal) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| {
                    Error::user(concat!("this is not the id of a ", $what))
                        .with_detail(text)
                        .with_hint("it has 32 hexadecimal digits")
                })?;
                Ok($name(bytes))
            }
        }
    };
}

identity!(
    /// A job's identity.
    JobId,
    "job"
);
identity!(
    /// A vertex of a job: the same from one run of the job to the next, as long as its first operator is.
    VertexId,
    "vertex"
);

fn named(name: &str) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128(name.as_bytes()).to_be_bytes()
}

impl JobId {
    /// The identity of a job that is found again by its name: equal names, equal ids.
    pub fn from_name(name: &str) -> Self {
        JobId(named(name))
    }
}

impl VertexId {
    /// By the uid of the operator at the vertex's head.
    pub fn from_uid(uid: &str) -> Self {
        VertexId(named(uid))
    }
}

/// The number of a checkpoint of a job; counted on over restarts, never used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckpointId(pub u64);

impl CheckpointId {
    pub fn next(self) -> Self {
        CheckpointId(self.0 + 1)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = JobId::from_name("flights");
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        for wrong in ["", "12", "zz345678901234567890123456789012"] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }
}
