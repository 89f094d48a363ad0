//! Functions OVER a window: the columns of FROM and what goes into the functions are projected
//! first, then the window's results are added, and the SELECT's expressions are made over both.
//! As in Flink, all functions of a SELECT have the same window.

use std::cell::RefCell;

use millrace_dataflow::{Frame, OverCall, OverFunction, SortKey};
use millrace_expr::Expr;
use sqlparser::ast::{
    Expr as Ast, Function, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, Spanned, Value, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Span;

use super::expr;
use super::scope::Scope;
use super::window::interval;
use crate::error::{Result, SqlError};
use crate::plan::{Over, Rel, TimeAttribute};

/// Results are columns from here on until the window is made, for what comes before them is not
/// known yet.
const RESULTS: usize = 1 << 32;

/// The windows of one SELECT, while its expressions are bound.
pub(super) struct Windows<'a> {
    named: &'a [NamedWindowDefinition],
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    window: Option<Window>,
    /// Arguments, over the columns of FROM.
    args: Vec<Expr>,
    /// Columns in them count from the first of `args`.
    calls: Vec<OverCall>,
}

#[derive(Clone, PartialEq)]
pub(super) struct Window {
    partition: Vec<Expr>,
    order: Vec<Order>,
    frame: Frame,
    at: At,
}

#[derive(Clone, PartialEq)]
struct Order {
    by: Expr,
    descending: bool,
    nulls_first: bool,
}

/// A place, which makes no difference.
#[derive(Clone, Copy)]
struct At(Span);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<'a> Windows<'a> {
    pub fn new(named: &'a [NamedWindowDefinition]) -> Self {
        Windows {
            named,
            found: RefCell::default(),
        }
    }

    /// Binds the windows of the WINDOW clause, those too that no function is over.
    pub fn check(&self, scope: &Scope) -> Result<()> {
        for NamedWindowDefinition(name, _) in self.named {
            window(self.named(name)?, self, scope, &name.value, name.span)?;
        }
        Ok(())
    }

    /// The column of an argument.
    pub fn arg(&self, expr: Expr) -> usize {
        let args = &mut self.found.borrow_mut().args;
        args.iter().position(|known| *known == expr).unwrap_or_else(|| {
            args.push(expr);
            args.len() - 1
        })
    }

    /// The column of a call's result.
    pub fn result(&self, call: OverCall) -> Expr {
        let data_type = call.data_type.clone();
        let calls = &mut self.found.borrow_mut().calls;
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expr::column(RESULTS + index, data_type)
    }

    /// The window that a call is over.
    pub fn of_call(&self, f: &Function, name: &str, scope: &Scope, at: Span) -> Result<Window> {
        match &f.over {
            Some(WindowType::WindowSpec(spec)) => window(spec, self, scope, name, at),
            Some(WindowType::NamedWindow(ident)) => window(self.named(ident)?, self, scope, name, at),
            None => Err(SqlError::new(format!("{name} needs OVER"), at)),
        }
    }

    /// All functions of a SELECT have the same window.
    pub fn enter(&self, window: Window, at: Span) -> Result<()> {
        let known = &mut self.found.borrow_mut().window;
        match known {
            Some(known) if *known != window => Err(SqlError::new(
                "the functions of a SELECT must all be over the same window",
                at,
            )
            .with_hint("put each window into a query of its own; ROW_NUMBER goes by ROWS where no frame is written, all others by RANGE")),
            Some(_) => Ok(()),
            None => {
                *known = Some(window);
                Ok(())
            }
        }
    }

    fn named(&self, name: &sqlparser::ast::Ident) -> Result<&WindowSpec> {
        let mut name = name;
        // A window may be another one by name.
        for _ in 0..=self.named.len() {
            let found = self.named.iter().find(|w| w.0.value == name.value);
            match found.map(|w| &w.1) {
                Some(NamedWindowExpr::WindowSpec(spec)) => return Ok(spec),
                Some(NamedWindowExpr::NamedWindow(other)) => name = other,
                None => break,
            }
        }
        Err(SqlError::new(
            format!("there is no window '{}'", name.value),
            name.span,
        ))
    }

    /// The SELECT over FROM's rows.
    pub fn build(
        self,
        input: Rel,
        condition: Option<Expr>,
        exprs: Vec<Expr>,
        names: Vec<String>,
    ) -> Result<Rel> {
        let Found { window, args, calls } = self.found.into_inner();
        let Some(window) = window else {
            return Ok(Rel::calc(input, condition, exprs, names));
        };
        let mut below = Rel::identity(&input.output);
        let mut below_names = input.output.names();
        let mut place = |expr: Expr| {
            below.iter().position(|known| *known == expr).unwrap_or_else(|| {
                below_names.push(format!("$f{}", below.len()));
                below.push(expr);
                below.len() - 1
            })
        };
        let partition = window.partition.into_iter().map(&mut place).collect::<Vec<_>>();
        let order: Vec<(usize, Order)> = window
            .order
            .into_iter()
            .map(|o| (place(o.by.clone()), o))
            .collect();
        let args: Vec<usize> = args.into_iter().map(place).collect();
        let input = Rel::calc(input, condition, below, below_names);
        let order: Vec<SortKey> = order
            .into_iter()
            .map(|(column, order)| SortKey {
                column,
                descending: order.descending,
                nulls_first: order.nulls_first,
                time: input.time_attribute(column).map(TimeAttribute::kind),
            })
            .collect();
        let calls: Vec<OverCall> = calls
            .into_iter()
            .map(|call| call.remapped(&|column| args[column]))
            .collect();
        // Row numbers alone may become a top-N, which takes any order.
        if calls.iter().any(|call| call.function != OverFunction::RowNumber) {
            check(&order, &calls, window.at.0)?;
        }
        let width = input.output.fields.len();
        let over = Over {
            partition,
            order,
            frame: window.frame,
            calls,
        };
        let over = Rel::over(input, over);
        let exprs = exprs
            .iter()
            .map(|expr| {
                expr.map_columns(&|index, data_type| {
                    let index = index.checked_sub(RESULTS).map_or(index, |result| width + result);
                    Expr::column(index, data_type.clone())
                })
            })
            .collect();
        Ok(Rel::calc(over, None, exprs, names))
    }
}

pub(super) const ROW_NUMBER: &str = "ROW_NUMBER";
pub(super) const RANK: &str = "RANK";
pub(super) const DENSE_RANK: &str = "DENSE_RANK";
pub(super) const LAG: &str = "LAG";

/// A window over a stream goes by its time, forwards.
fn check(order: &[SortKey], calls: &[OverCall], at: Span) -> Result<()> {
    let ranks = |call: &OverCall| matches!(call.function, OverFunction::Rank | OverFunction::DenseRank);
    match order {
        [] if calls.iter().any(ranks) => Err(SqlError::new("RANK and DENSE_RANK need ORDER BY in OVER", at)),
        keys if calls.iter().any(ranks) && keys.iter().any(|key| key.time.is_none()) => Err(
            SqlError::unsupported("RANK and DENSE_RANK by what is no time attribute", at).with_hint(
                "ROW_NUMBER with a condition on it (WHERE n <= 3) is a top-N by any columns; rows that are equal in ORDER BY have the order of their arrival",
            ),
        ),
        [key] if key.time.is_none() => Err(SqlError::unsupported(
            "OVER with ORDER BY of a column that is no time attribute",
            at,
        )
        .with_hint(
            "order by a column with a WATERMARK in its table, or one that is AS PROCTIME(), handed on as it is",
        )),
        [key] if key.descending => Err(SqlError::new(
            "the window of OVER can be ordered in ascending mode only",
            at,
        )
        .with_hint("leave DESC out")),
        [_] => Ok(()),
        _ => Err(
            SqlError::new("the window of OVER is ordered by a single time attribute", at)
                .with_hint("write ORDER BY and a column with a WATERMARK, or one that is AS PROCTIME()"),
        ),
    }
}

fn window(spec: &WindowSpec, windows: &Windows, scope: &Scope, function: &str, at: Span) -> Result<Window> {
    let WindowSpec {
        window_name,
        partition_by,
        order_by,
        window_frame,
    } = spec;
    // A named window that is refined here.
    let base = match window_name {
        None => None,
        Some(name) => Some(window(windows.named(name)?, windows, scope, function, at)?),
    };
    let mut partition: Vec<Expr> = Vec::new();
    for ast in partition_by {
        let by = expr::bind(ast, scope)?;
        if !partition.contains(&by) {
            partition.push(by);
        }
    }
    let order = order_by
        .iter()
        .map(|by| order(by, scope))
        .collect::<Result<Vec<_>>>()?;
    let own = match window_frame {
        Some(_) if matches!(function, ROW_NUMBER | RANK | DENSE_RANK | LAG) => {
            return Err(SqlError::new(format!("{function} takes no ROWS or RANGE"), at));
        }
        Some(frame) => Some(self::frame(frame, at)?),
        None => None,
    };
    let default = match function {
        ROW_NUMBER => Frame::Rows(None),
        _ => Frame::Range(None),
    };
    let Some(base) = base else {
        return Ok(Window {
            partition,
            order,
            frame: own.unwrap_or(default),
            at: At(at),
        });
    };
    Ok(Window {
        partition: if partition.is_empty() {
            base.partition
        } else {
            partition
        },
        order: if order.is_empty() { base.order } else { order },
        frame: own.unwrap_or(base.frame),
        at: At(at),
    })
}

fn order(by: &OrderByExpr, scope: &Scope) -> Result<Order> {
    let OrderByExpr {
        expr: ast,
        options,
        with_fill,
    } = by;
    if with_fill.is_some() {
        return Err(SqlError::new("Flink SQL has no WITH FILL", ast.span()));
    }
    let descending = options.asc == Some(false);
    Ok(Order {
        by: expr::bind(ast, scope)?,
        descending,
        nulls_first: options.nulls_first.unwrap_or(!descending),
    })
}

fn frame(frame: &WindowFrame, at: Span) -> Result<Frame> {
    let WindowFrame {
        units,
        start_bound,
        end_bound,
    } = frame;
    if !matches!(end_bound, None | Some(WindowFrameBound::CurrentRow)) {
        return Err(SqlError::new("a window of OVER ends with CURRENT ROW", at)
            .with_hint("what follows a row is not known yet when it comes"));
    }
    let start = match start_bound {
        WindowFrameBound::Preceding(start) => start.as_deref(),
        WindowFrameBound::CurrentRow => {
            return Err(SqlError::new("a window of OVER begins with PRECEDING", at)
                .with_hint("the row itself alone is ROWS BETWEEN 0 PRECEDING AND CURRENT ROW"));
        }
        WindowFrameBound::Following(_) => {
            return Err(SqlError::new("a window of OVER begins with PRECEDING", at));
        }
    };
    match (units, start) {
        (WindowFrameUnits::Rows, None) => Ok(Frame::Rows(None)),
        (WindowFrameUnits::Range, None) => Ok(Frame::Range(None)),
        (WindowFrameUnits::Rows, Some(Ast::Value(value))) => match &value.value {
            Value::Number(text, false) => text
                .parse()
                .map(|n| Frame::Rows(Some(n)))
                .map_err(|_| SqlError::new("ROWS takes how many rows come before", value.span)),
            _ => Err(SqlError::new("ROWS takes how many rows come before", value.span)),
        },
        (WindowFrameUnits::Rows, Some(other)) => Err(SqlError::new(
            "ROWS takes how many rows come before",
            other.span(),
        )),
        (WindowFrameUnits::Range, Some(start)) => match interval(start)? {
            before if before < 0 => Err(SqlError::new(
                "RANGE takes how far back a window goes",
                start.span(),
            )
            .with_hint("write it without the minus sign, as in INTERVAL '5' SECOND PRECEDING")),
            before => Ok(Frame::Range(Some(before))),
        },
        (WindowFrameUnits::Groups, _) => Err(SqlError::new("Flink SQL has no GROUPS", at)),
    }
}
