//! Window table functions: TUMBLE, HOP, CUMULATE and SESSION over a table.

use millrace_dataflow::Window;
use millrace_expr::{Expr, Scalar};
use sqlparser::ast::{
    Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident, Spanned,
};
use sqlparser::tokenizer::Span;

use super::scope::Scope;
use super::{Binder, expr};
use crate::error::{Result, SqlError};
use crate::parser::dialect::TABLE_ARGUMENT;
use crate::parser::statement::Name;
use crate::plan::{Rel, TimeAttribute, WindowTable};

/// The parameters of each function, as they may be named, in their order; the last may be left out.
const FUNCTIONS: &[(&str, &[&str])] = &[
    ("TUMBLE", &["DATA", "TIMECOL", "SIZE", "OFFSET"]),
    ("HOP", &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"]),
    ("CUMULATE", &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"]),
    ("SESSION", &["DATA", "TIMECOL", "GAP"]),
];

pub(super) fn is_window(name: &str) -> bool {
    FUNCTIONS
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(name))
}

impl Binder<'_> {
    /// A window function over a table, as a relation.
    pub(super) fn window_table(&mut self, name: &Ident, args: &[FunctionArg], depth: usize) -> Result<Rel> {
        let function = name.value.to_uppercase();
        let at = name.span;
        let Some((_, parameters)) = FUNCTIONS.iter().find(|(known, _)| *known == function) else {
            return Err(SqlError::unsupported(
                format!("the table function {function}"),
                at,
            ));
        };
        let given = assign(&function, parameters, args, at)?;
        let given = |parameter: &str| {
            let index = parameters.iter().position(|p| *p == parameter);
            index.and_then(|i| given[i])
        };
        let needed = |parameter: &str| {
            given(parameter).ok_or_else(|| {
                SqlError::new(format!("{function} needs its parameter {parameter}"), at)
                    .with_hint(usage(&function))
            })
        };
        let data = needed("DATA")?;
        let (table, partition) = table_argument(data).ok_or_else(|| {
            SqlError::new(
                format!("the first parameter of {function} is a table"),
                data.span(),
            )
            .with_hint(usage(&function))
        })?;
        let (input, relation) = self.relation(&table, depth)?;
        let scope = Scope::new(&input.output, &relation);
        let partition = partition
            .iter()
            .map(|ast| column(ast, &scope))
            .collect::<Result<Vec<_>>>()?;
        if !partition.is_empty() && function != "SESSION" {
            return Err(
                SqlError::new(format!("PARTITION BY means nothing to {function}"), data.span())
                    .with_hint("only sessions are of a key of their own; GROUP BY keys others"),
            );
        }
        let time_ast = needed("TIMECOL")?;
        let time = descriptor(time_ast, &scope).ok_or_else(|| {
            SqlError::new(
                format!("the time column of {function} stands in DESCRIPTOR"),
                time_ast.span(),
            )
            .with_hint(usage(&function))
        })??;
        let Some(attribute) = input.time_attribute(time) else {
            let field = &input.output.fields[time];
            return Err(SqlError::new(
                format!("the column '{}' is no time attribute", field.name),
                time_ast.span(),
            )
            .with_detail(format!("it is of type {}", field.data_type))
            .with_hint(
                "windows need a column with a WATERMARK in its table, or one that is AS PROCTIME(), handed on as it is",
            ));
        };
        let length = |parameter: &str| -> Result<i64> {
            let ast = needed(parameter)?;
            let length = interval(ast)?;
            match length > 0 {
                true => Ok(length),
                false => Err(SqlError::new(
                    format!("{parameter} of {function} is not above zero"),
                    ast.span(),
                )),
            }
        };
        let offset = given("OFFSET").map(interval).transpose()?.unwrap_or(0);
        let window = match function.as_str() {
            "TUMBLE" => Window::Tumble {
                size: length("SIZE")?,
                offset,
            },
            "HOP" => Window::Hop {
                slide: length("SLIDE")?,
                size: length("SIZE")?,
                offset,
            },
            "CUMULATE" => Window::Cumulate {
                step: length("STEP")?,
                size: length("SIZE")?,
                offset,
            },
            _ => Window::Session { gap: length("GAP")? },
        };
        if let Window::Cumulate { step, size, .. } = window
            && size % step != 0
        {
            return Err(
                SqlError::new("the size of CUMULATE is no multiple of its step", at)
                    .with_hint(format!("step {step} ms, size {size} ms")),
            );
        }
        Ok(Rel::window_table(
            input,
            WindowTable {
                window,
                time,
                is_proctime: attribute == TimeAttribute::Proctime,
                partition,
            },
        ))
    }
}

fn usage(function: &str) -> &'static str {
    match function {
        "TUMBLE" => "write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
        "HOP" => {
            "write HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND): slide, then size"
        }
        "CUMULATE" => {
            "write CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND): step, then size"
        }
        _ => "write SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
    }
}

/// The arguments in the order of the parameters.
fn assign<'a>(
    function: &str,
    parameters: &[&str],
    args: &'a [FunctionArg],
    at: Span,
) -> Result<Vec<Option<&'a Ast>>> {
    let mut given = vec![None; parameters.len()];
    for (position, arg) in args.iter().enumerate() {
        let (index, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(position), value),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            } => {
                let name = name.value.to_uppercase();
                (parameters.iter().position(|p| *p == name), value)
            }
            FunctionArg::ExprNamed {
                name: Ast::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            } => {
                let name = name.value.to_uppercase();
                (parameters.iter().position(|p| *p == name), value)
            }
            _ => return Err(SqlError::new(format!("{function} takes no such argument"), at)),
        };
        match index.and_then(|i| given.get_mut(i)) {
            Some(place) if place.is_none() => *place = Some(value),
            _ => {
                return Err(
                    SqlError::new(format!("{function} has no parameter for this"), value.span())
                        .with_hint(format!("its parameters are {}", parameters.join(", "))),
                );
            }
        }
    }
    Ok(given)
}

/// The table and the columns of `TABLE t PARTITION BY a, b`.
fn table_argument(ast: &Ast) -> Option<(Name, Vec<&Ast>)> {
    let Ast::Function(f) = ast else { return None };
    let FunctionArguments::List(list) = &f.args else {
        return None;
    };
    if f.name.to_string().trim_matches(['[', ']']) != TABLE_ARGUMENT {
        return None;
    }
    let mut args = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
        _ => None,
    });
    let Some(Ast::CompoundIdentifier(parts)) = args.next() else {
        return None;
    };
    Some((Name { parts: parts.clone() }, args.collect()))
}

fn column(ast: &Ast, scope: &Scope) -> Result<usize> {
    let bound = match ast {
        Ast::CompoundIdentifier(parts) => scope.resolve_path(parts)?,
        other => expr::bind(other, scope)?,
    };
    match bound {
        Expr::Column { index, .. } => Ok(index),
        _ => Err(SqlError::new("expected a column", ast.span())),
    }
}

/// The column of `DESCRIPTOR(column)`.
fn descriptor(ast: &Ast, scope: &Scope) -> Option<Result<usize>> {
    let Ast::Function(f) = ast else { return None };
    let FunctionArguments::List(list) = &f.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast))]
            if f.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") =>
        {
            Some(column(ast, scope))
        }
        _ => None,
    }
}

/// The milliseconds of an interval literal.
pub(super) fn interval(ast: &Ast) -> Result<i64> {
    match expr::bind(ast, &Scope::default())? {
        Expr::Literal {
            value: Scalar::Millis(millis),
            ..
        } => Ok(millis),
        _ => Err(
            SqlError::new("expected an interval of days to seconds", ast.span())
                .with_hint("such as INTERVAL '10' SECOND or INTERVAL '1' DAY; months have no fixed length"),
        ),
    }
}
