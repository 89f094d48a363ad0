//! Statements as they are written.

use millrace_expr::DataType;
use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::tokenizer::Span;

/// A name of one to three parts: `table`, `database.table`, `catalog.database.table`.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub parts: Vec<Ident>,
}

impl Name {
    pub fn span(&self) -> Span {
        match (self.parts.first(), self.parts.last()) {
            (Some(first), Some(last)) => super::cursor::join(first.span, last.span),
            _ => Span::empty(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Parsed {
    pub statement: Statement,
    /// From its first to its last token, without the semicolon.
    pub span: Span,
}

#[derive(Debug)]
pub(crate) enum Statement {
    CreateTable(Box<CreateTable>),
    CreateView(Box<CreateView>),
    Drop {
        view: bool,
        name: Name,
        if_exists: bool,
        temporary: bool,
    },
    Insert(Box<Insert>),
    InsertSet(Vec<Insert>),
    Explain {
        details: Details,
        inserts: Vec<Insert>,
    },
    ExplainQuery {
        details: Details,
        query: Box<Query>,
    },
    Show(Show),
    Describe(Name),
    Set {
        key: String,
        value: String,
        span: Span,
    },
    /// SET without anything: shows what is set.
    SetAll,
    /// Without a key: everything.
    Reset(Option<String>),
    /// USE, to the only catalog and database there are.
    Use,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Details {
    pub changelog_mode: bool,
    pub json: bool,
}

#[derive(Debug)]
pub(crate) enum Show {
    Tables(Option<Pattern>),
    Views(Option<Pattern>),
    Functions(Option<Pattern>),
    CreateTable(Name),
    CreateView(Name),
    Columns(Name),
    Catalogs,
    Databases,
    CurrentCatalog,
    CurrentDatabase,
}

/// `[NOT] LIKE 'pattern'`, or ILIKE.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub text: String,
    pub negated: bool,
    pub ignore_case: bool,
}

#[derive(Debug)]
pub(crate) struct CreateTable {
    pub name: Name,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub body: TableBody,
    pub like: Option<Like>,
}

/// What stands between the parentheses, and behind them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableBody {
    pub columns: Vec<Column>,
    pub watermarks: Vec<Watermark>,
    pub primary_keys: Vec<PrimaryKey>,
    pub comment: Option<String>,
    pub partitioned_by: Vec<Ident>,
    pub options: Vec<(String, String, Span)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub name: Ident,
    pub kind: ColumnKind,
    pub comment: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum ColumnKind {
    Physical(DataType),
    Metadata {
        data_type: DataType,
        key: Option<String>,
        is_virtual: bool,
    },
    Computed(Box<Written>),
}

/// An expression with its text.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub expr: Expr,
    pub text: String,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct Watermark {
    pub column: Vec<Ident>,
    pub expression: Written,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct PrimaryKey {
    pub columns: Vec<Ident>,
    pub span: Span,
}

#[derive(Debug)]
pub(crate) struct Like {
    pub table: Name,
    pub options: Vec<LikeOption>,
}

#[derive(Debug)]
pub(crate) struct LikeOption {
    pub strategy: Strategy,
    pub feature: Feature,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Including,
    Excluding,
    Overwriting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    All,
    Constraints,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

#[derive(Debug)]
pub(crate) struct CreateView {
    pub name: Name,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub comment: Option<String>,
    pub query: Box<Query>,
    pub query_span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub table: Name,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    pub query_span: Span,
}
