//! Flink's types and functions over Arrow: the expression IR and its compilation to kernels.
//!
//! It may depend on `millrace-core` only. No type of another engine stands in the IR, for the IR
//! is what the network and the HA store will carry.
//!
//! Layout: `types` Flink's logical types and their Arrow form, `scalar` literal values, `ir` the
//! expression tree, `function` signatures and implicit casts, `functions` the functions, one
//! file a family, `cast` CAST and TRY_CAST, `compile` the IR made executable.

pub mod ir;
pub mod scalar;
pub mod types;

pub use ir::Expr;
pub use scalar::Scalar;
pub use types::{DataType, Field, RowType, TypeKind};
