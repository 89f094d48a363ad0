//! Flink's types and functions over Arrow: the expression IR and its compilation to kernels.
//!
//! It may depend on `millrace-core` only. No type of another engine stands in the IR, for the IR
//! is what the network and the HA store will carry.
//!
//! Invariants: `function::call` and `cast::cast` are the only makers of calls and casts, and make
//! every implicit cast explicit, so that evaluation meets exactly the types that a function takes.
//! An expression raises no error for a row whose value it does not need.
//!
//! Layout: `types` Flink's logical types and their Arrow form, `scalar` literal values, `ir` the
//! expression tree, `function` signatures and implicit casts, `functions` the functions, one
//! file a family, `cast` CAST and TRY_CAST, `compile` the IR made executable, `value` evaluated
//! arguments, `text` dates, times and numbers as text, shared with the formats, `java_regex` regular
//! expressions of options.

pub mod aggregate;
pub mod cast;
pub mod compile;
pub mod function;
pub(crate) mod functions;
pub mod ir;
pub mod java_regex;
pub mod scalar;
pub mod text;
pub mod types;
pub(crate) mod value;

pub use ir::Expr;
pub use scalar::Scalar;
pub use types::{DataType, Field, RowType, TypeKind};
