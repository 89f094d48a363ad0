//! The expression tree: typed, with every implicit cast made explicit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DataType, Scalar};

/// An expression over the columns of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    Column {
        index: usize,
        data_type: DataType,
    },
    Literal {
        value: Scalar,
        data_type: DataType,
    },
    /// A function or operator by its canonical name in `function::lookup` (`+`, `AND`, `CASE`,
    /// `UPPER`, ...); arguments have exactly the types that the function takes.
    Call {
        function: String,
        args: Vec<Expr>,
        data_type: DataType,
    },
    /// CAST, or with `try_cast` TRY_CAST, whose failures are NULL.
    Cast {
        expr: Box<Expr>,
        data_type: DataType,
        try_cast: bool,
    },
}

impl Expr {
    pub fn column(index: usize, data_type: DataType) -> Self {
        Expr::Column { index, data_type }
    }

    pub fn literal(value: Scalar, data_type: DataType) -> Self {
        Expr::Literal { value, data_type }
    }

    pub fn data_type(&self) -> &DataType {
        match self {
            Expr::Column { data_type, .. }
            | Expr::Literal { data_type, .. }
            | Expr::Call { data_type, .. }
            | Expr::Cast { data_type, .. } => data_type,
        }
    }

    /// Calls `visit` with this expression and all below it, parents first.
    pub fn walk(&self, visit: &mut impl FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Call { args, .. } => args.iter().for_each(|a| a.walk(visit)),
            Expr::Cast { expr, .. } => expr.walk(visit),
            Expr::Column { .. } | Expr::Literal { .. } => {}
        }
    }

    /// Rebuilds the tree with every column replaced by what `replace` gives for its index.
    pub fn map_columns(&self, replace: &impl Fn(usize, &DataType) -> Expr) -> Expr {
        match self {
            Expr::Column { index, data_type } => replace(*index, data_type),
            Expr::Literal { .. } => self.clone(),
            Expr::Call {
                function,
                args,
                data_type,
            } => Expr::Call {
                function: function.clone(),
                args: args.iter().map(|a| a.map_columns(replace)).collect(),
                data_type: data_type.clone(),
            },
            Expr::Cast {
                expr,
                data_type,
                try_cast,
            } => Expr::Cast {
                expr: Box::new(expr.map_columns(replace)),
                data_type: data_type.clone(),
                try_cast: *try_cast,
            },
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Column { index, .. } => write!(f, "${index}"),
            Expr::Literal { value, data_type } => write!(f, "{value:?}:{data_type}"),
            Expr::Call { function, args, .. } => {
                write!(f, "{function}(")?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Expr::Cast {
                expr,
                data_type,
                try_cast,
            } => {
                write!(
                    f,
                    "{}({expr} AS {data_type})",
                    if *try_cast { "TRY_CAST" } else { "CAST" }
                )
            }
        }
    }
}
