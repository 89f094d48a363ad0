//! The functions, one file a family. A file holds for each of its functions the accepted forms,
//! the typing and the evaluation.

use crate::function::Function;

pub(crate) mod catalog;

/// All functions that are built.
pub(crate) const FAMILIES: &[&[Function]] = &[];
