//! GROUP BY, HAVING and aggregate functions: what is grouped by and what goes into the functions is
//! projected first, then aggregated, and the SELECT's expressions are bound over the result. With
//! grouping sets each row stands between for each of its sets, without the keys that the set lacks.

use std::cell::RefCell;

use millrace_dataflow::{Window, Windowing};
use millrace_expr::aggregate::AggregateCall;
use millrace_expr::{DataType, Expr, Field, Scalar, TypeKind};
use sqlparser::ast::Expr as Ast;
use sqlparser::tokenizer::Span;

use super::expr;
use super::grouping_sets::Keys;
use super::scope::Scope;
use crate::error::{Result, SqlError};
use crate::plan::{Expansion, Rel, WindowAggregate};
use crate::rules;
use crate::window_properties::{WindowBound, WindowProperty};

/// The aggregation of one SELECT, while its expressions are bound.
pub(super) struct Grouping {
    by: Keys,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    /// Arguments and filters, over the columns of FROM.
    args: Vec<Expr>,
    /// Columns in them count from the first of `args`.
    calls: Vec<AggregateCall>,
}

impl Grouping {
    pub fn new(by: Keys) -> Self {
        Grouping {
            by,
            found: RefCell::default(),
        }
    }

    /// An expression over FROM's columns as one over the aggregation's, if it is a key.
    pub fn key(&self, expr: &Expr) -> Option<Expr> {
        let index = self.place(expr)?;
        Some(Expr::column(index, self.key_type(index)))
    }

    /// Which of the keys an expression over FROM's columns is.
    pub fn place(&self, expr: &Expr) -> Option<usize> {
        self.by.keys.iter().position(|key| key == expr)
    }

    /// A key is null in the groups of sets that lack it.
    fn key_type(&self, index: usize) -> DataType {
        let data_type = self.by.keys[index].data_type().clone();
        let everywhere = self.by.sets.iter().all(|set| set.contains(&index));
        let nullable = data_type.nullable || !everywhere;
        data_type.with_nullable(nullable)
    }

    /// Whether every group has a key, so that there is none of no rows.
    pub fn has_keys(&self) -> bool {
        self.by.sets.iter().all(|set| !set.is_empty())
    }

    /// A number that is the same for all groups of a set.
    pub fn by_set(&self, number: impl Fn(&Keys, usize) -> i64, at: Span) -> Result<Expr> {
        let literal =
            |value: i64| Expr::literal(Scalar::Integer(value), DataType::not_null(TypeKind::BigInt));
        let last = self.by.sets.len() - 1;
        if last == 0 {
            return Ok(literal(number(&self.by, 0)));
        }
        let id = Expr::column(self.by.keys.len(), DataType::not_null(TypeKind::BigInt));
        let mut cases = Vec::with_capacity(2 * last + 1);
        for set in 0..last {
            cases.push(expr::call("=", vec![id.clone(), literal(self.by.id(set))], at)?);
            cases.push(literal(number(&self.by, set)));
        }
        cases.push(literal(number(&self.by, last)));
        expr::call("CASE", cases, at)
    }

    /// The same for what is made of keys; another column has no one value in a group.
    pub fn over_keys(&self, expr: &Expr, scope: &Scope, at: Span) -> Result<Expr> {
        if let Some(key) = self.key(expr) {
            return Ok(key);
        }
        match expr {
            Expr::Column { index, .. } => {
                let name = scope.columns.get(*index).map_or("", |c| c.name.as_str());
                Err(SqlError::new(
                    format!("the column '{name}' is neither grouped by nor aggregated"),
                    at,
                )
                .with_hint("name it in GROUP BY, or put it into an aggregate function"))
            }
            Expr::Literal { .. } => Ok(expr.clone()),
            Expr::Call {
                function,
                args,
                data_type,
            } => {
                let args: Vec<Expr> = args
                    .iter()
                    .map(|arg| self.over_keys(arg, scope, at))
                    .collect::<Result<_>>()?;
                let nullable = self.may_be_null(data_type, &args);
                Ok(Expr::Call {
                    function: function.clone(),
                    args,
                    data_type: data_type.clone().with_nullable(nullable),
                })
            }
            Expr::Cast {
                expr: inner,
                data_type,
                try_cast,
            } => {
                let inner = self.over_keys(inner, scope, at)?;
                let nullable = self.may_be_null(data_type, std::slice::from_ref(&inner));
                Ok(Expr::Cast {
                    expr: Box::new(inner),
                    data_type: data_type.clone().with_nullable(nullable),
                    try_cast: *try_cast,
                })
            }
        }
    }

    /// Whether a value that was made of keys may be null now that these may be.
    fn may_be_null(&self, data_type: &DataType, args: &[Expr]) -> bool {
        let any = || args.iter().any(|arg| arg.data_type().nullable);
        data_type.nullable || self.by.is_expanded() && any()
    }

    pub fn arg(&self, expr: Expr) -> usize {
        let args = &mut self.found.borrow_mut().args;
        args.iter().position(|known| *known == expr).unwrap_or_else(|| {
            args.push(expr);
            args.len() - 1
        })
    }

    /// The column of a call's result.
    pub fn result(&self, call: AggregateCall) -> Expr {
        let data_type = call.data_type.clone();
        let calls = &mut self.found.borrow_mut().calls;
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        let of_keys = self.by.keys.len() + usize::from(self.by.is_expanded());
        Expr::column(of_keys + index, data_type)
    }

    /// The aggregation over FROM's rows.
    pub fn build(self, input: Rel, condition: Option<Expr>) -> Rel {
        let Found { args, calls } = self.found.take();
        let of_keys = self.by.keys.len();
        let expanded = self.by.is_expanded();
        let mut exprs = self.by.keys.clone();
        // A key is an argument too, but not where it is null for some of the sets.
        let places: Vec<usize> = args
            .into_iter()
            .map(|arg| match self.place(&arg).filter(|_| !expanded) {
                Some(key) => key,
                None => {
                    exprs.push(arg);
                    exprs.len() - 1
                }
            })
            .collect();
        // COUNT(*) alone reads nothing, and counts rows of which there has to be something.
        if exprs.is_empty() {
            let cheapest = rules::cheapest(&input);
            exprs.push(match input.output.fields.get(cheapest) {
                Some(field) => Expr::column(cheapest, field.data_type.clone()),
                None => Expr::literal(Scalar::Boolean(true), DataType::boolean()),
            });
        }
        let names = exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| match expr {
                Expr::Column { index, .. } => input.output.fields[*index].name.clone(),
                _ => format!("$f{i}"),
            })
            .collect();
        let mut input = Rel::calc(input, condition, exprs, names);
        let mut keys: Vec<usize> = (0..of_keys).collect();
        if expanded {
            let lacks = |set: &std::collections::BTreeSet<usize>| {
                (0..of_keys).filter(|key| !set.contains(key)).collect()
            };
            let sets = self.by.sets.iter().enumerate();
            let expansions = sets.map(|(number, set)| Expansion {
                nulls: lacks(set),
                id: self.by.id(number),
            });
            keys.push(input.output.fields.len());
            input = Rel::expand(input, expansions.collect());
        }
        let calls: Vec<AggregateCall> = calls
            .into_iter()
            .map(|call| call.remapped(&|column| places[column]))
            .collect();
        let names: Vec<String> = (0..calls.len()).map(|i| format!("EXPR${i}")).collect();
        // A row number and the limit on it say only together that they are a top-N of windows.
        let merged = rules::merge_calcs(input.clone());
        match by_window(&merged, &keys) {
            Some(property) => window_aggregate(merged, keys, calls, names, property),
            None => Rel::aggregate(input, keys, calls, names),
        }
    }
}

/// The window that rows are grouped by: both of its bounds are keys. As in Flink, half a window is none.
fn by_window(input: &Rel, keys: &[usize]) -> Option<WindowProperty> {
    let properties = || keys.iter().filter_map(|key| input.window_property(*key));
    let has = |bound: WindowBound| properties().any(|p| p.bound == bound);
    if !has(WindowBound::Start) || !has(WindowBound::End) {
        return None;
    }
    let property = properties().next()?;
    // Sessions are of keys of their own: others than those are no windows of what is grouped.
    if let Window::Session { .. } = property.window {
        let mut of_sessions = input.session_columns()?;
        let mut others: Vec<usize> = keys.to_vec();
        others.retain(|key| input.window_property(*key).is_none());
        others.sort_unstable();
        of_sessions.sort_unstable();
        (others == of_sessions).then_some(())?;
    }
    Some(property)
}

/// An aggregation by window with the output of one without.
fn window_aggregate(
    input: Rel,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    names: Vec<String>,
    property: WindowProperty,
) -> Rel {
    let bounds: Vec<Option<WindowBound>> = keys
        .iter()
        .map(|key| Some(input.window_property(*key)?.bound))
        .collect();
    let column = |bound| {
        let at = bounds.iter().position(|b| *b == Some(bound));
        at.map_or(0, |at| keys[at])
    };
    let windowing = Windowing::Given {
        window: property.window,
        start: column(WindowBound::Start),
        end: column(WindowBound::End),
        is_proctime: property.is_proctime,
    };
    let others = keys.iter().zip(&bounds).filter(|(_, bound)| bound.is_none());
    let others: Vec<usize> = others.map(|(key, _)| *key).collect();
    let of_results = others.len() + calls.len();
    let mut next = 0;
    // Where the keys, then the results, stand among what the aggregation gives.
    let places: Vec<usize> = bounds
        .iter()
        .map(|bound| match bound {
            Some(bound) => of_results + *bound as usize,
            None => {
                next += 1;
                next - 1
            }
        })
        .chain(others.len()..of_results)
        .collect();
    let of_keys = keys.iter().map(|key| input.output.fields[*key].clone());
    let of_calls = calls
        .iter()
        .zip(&names)
        .map(|(call, name)| Field::new(name, call.data_type.clone()));
    let output: Vec<Field> = of_keys.chain(of_calls).collect();
    let projection = places
        .iter()
        .zip(&output)
        .map(|(place, field)| Expr::column(*place, field.data_type.clone()))
        .collect();
    let spec = WindowAggregate {
        windowing,
        time: property.time,
        keys: others,
        calls,
    };
    let aggregate = Rel::window_aggregate(input, spec, names);
    Rel::calc(
        aggregate,
        None,
        projection,
        output.into_iter().map(|f| f.name).collect(),
    )
}

/// Whether an expression calls an aggregate function, other than over a window of its own.
pub(super) fn has_aggregate(ast: &Ast) -> bool {
    let mut found = false;
    let _ = sqlparser::ast::visit_expressions(ast, |e| {
        if let Ast::Function(f) = e {
            found |= f.over.is_none()
                && millrace_expr::function::is_aggregate(&f.name.to_string().to_uppercase().replace('`', ""));
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}
