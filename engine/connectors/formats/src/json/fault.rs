//! Why a record was not read, kept small: the way of a good record carries one pointer.

use std::fmt;

#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    /// Byte of the record.
    at: usize,
    /// Names from the outermost field inwards.
    path: Vec<String>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Malformed,
    Value,
    /// A field is not there, and the table says that this is an error.
    Missing,
}

impl Fault {
    #[cold]
    fn new(at: usize, what: String, kind: Kind) -> Self {
        Fault(Box::new(Inner {
            what,
            at,
            path: Vec::new(),
            kind,
        }))
    }

    /// The text is not JSON: nothing of the record can be trusted.
    #[cold]
    pub fn malformed(at: usize, what: impl Into<String>) -> Self {
        Fault::new(at, what.into(), Kind::Malformed)
    }

    /// The text is JSON, and a value does not fit its column.
    #[cold]
    pub fn value(at: usize, what: impl Into<String>) -> Self {
        Fault::new(at, what.into(), Kind::Value)
    }

    /// A field is not there, which `fail-on-missing-field` makes an error.
    #[cold]
    pub fn missing(at: usize) -> Self {
        Fault::new(at, "the field is missing".to_owned(), Kind::Missing)
    }

    #[cold]
    pub fn within(mut self, field: &str) -> Self {
        self.0.path.insert(0, field.to_owned());
        self
    }

    pub fn is_malformed(&self) -> bool {
        self.0.kind == Kind::Malformed
    }

    pub fn is_missing(&self) -> bool {
        self.0.kind == Kind::Missing
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.0.at)?;
        if !self.0.path.is_empty() {
            write!(f, ", field '{}'", self.0.path.join("."))?;
        }
        write!(f, ": {}", self.0.what)
    }
}
