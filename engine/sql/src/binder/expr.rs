//! Expressions: sqlparser's tree to typed calls of millrace-expr's functions.

use millrace_expr::{DataType, Expr, Scalar, TypeKind, cast, function};
use serde::Deserialize;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DataType as AstType, Expr as Ast, Ident, Spanned,
    Subscript, TimezoneInfo, TrimWhereField, UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;

use super::aggregate::{self, Grouping};
use super::over::Windows;
use super::scope::{Scope, check_name, row_fields};
use super::{function as functions, literal};
use crate::error::{Result, SqlError, nearest};
use crate::parser::dialect::FLINK_TYPE;
use crate::parser::json::INTERNAL;

/// How deep expressions may be nested: the engine walks them by recursion.
const MAX_DEPTH: usize = 300;

/// Binds an expression over the columns of a scope.
pub(super) fn bind(ast: &Ast, scope: &Scope) -> Result<Expr> {
    ExprBinder {
        scope,
        grouping: None,
        windows: None,
    }
    .bind(ast, 0)
}

pub(super) struct ExprBinder<'a> {
    pub scope: &'a Scope,
    /// Where it is over the result of an aggregation.
    pub grouping: Option<&'a Grouping>,
    /// Where functions may be called OVER a window.
    pub windows: Option<&'a Windows<'a>>,
}

/// Calls a function by its canonical name; an error gets its place.
pub(super) fn call(name: &str, args: Vec<Expr>, at: Span) -> Result<Expr> {
    function::call(name, args).map_err(|e| SqlError::from(e).or_at(at))
}

/// A field of a row by its name.
pub(super) fn field(expr: Expr, name: &Ident) -> Result<Expr> {
    check_name(name)?;
    let data_type = expr.data_type().clone();
    let Some(fields) = row_fields(&data_type) else {
        return Err(SqlError::new(
            format!("a value of type {} has no fields", data_type.kind),
            name.span,
        ));
    };
    if !fields.iter().any(|f| f.name == name.value) {
        let error = SqlError::new(format!("the row has no field '{}'", name.value), name.span);
        let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
        return Err(match nearest(&name.value, names.iter().copied()) {
            Some(known) => error.with_hint(format!("did you mean '{known}'?")),
            None => error.with_hint(format!("its fields are: {}", names.join(", "))),
        });
    }
    call("FIELD", vec![expr, literal::string(&name.value)], name.span)
}

impl ExprBinder<'_> {
    pub fn bind(&self, ast: &Ast, depth: usize) -> Result<Expr> {
        let at = ast.span();
        if depth > MAX_DEPTH {
            return Err(SqlError::new("the expression is nested too deeply", at));
        }
        if let Some(grouping) = self.grouping
            && !aggregate::has_aggregate(ast)
        {
            let rows = bind(ast, self.scope)?;
            return grouping.over_keys(&rows, self.scope, at);
        }
        let bind = |e: &Ast| self.bind(e, depth + 1);
        let one = |name: &str, e: &Ast| call(name, vec![bind(e)?], at);
        match ast {
            // RETURNING that is not written.
            Ast::Identifier(name) if name.quote_style == Some(INTERNAL) => {
                Ok(Expr::literal(Scalar::Null, DataType::string()))
            }
            Ast::Identifier(name) if self.is_pi(name)? => call("PI", vec![], at),
            Ast::Identifier(name) => self.scope.resolve(name),
            Ast::CompoundIdentifier(parts) => self.scope.resolve_path(parts),
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, depth),
            Ast::Nested(inner) => bind(inner),
            Ast::Value(v) => literal::value(&v.value, v.span),
            Ast::TypedString(typed) => {
                let Value::SingleQuotedString(text) = &typed.value.value else {
                    return Err(SqlError::new("a typed literal takes a text", at));
                };
                let at = typed.value.span;
                match &typed.data_type {
                    AstType::Date => literal::date(text, at),
                    AstType::Time(None, TimezoneInfo::None) => literal::time(text, at),
                    AstType::Timestamp(None, TimezoneInfo::None) => literal::timestamp(text, at),
                    other => Err(
                        SqlError::new(format!("there are no literals of type {other}"), at)
                            .with_hint("CAST a text to the type"),
                    ),
                }
            }
            Ast::Interval(interval) => literal::interval(interval, at),
            Ast::BinaryOp { left, op, right } => self.binary(ast, left, op, right, depth),
            Ast::UnaryOp { op, expr } => match op {
                UnaryOperator::Not => one("NOT", expr),
                UnaryOperator::Minus => match literal::negative(expr)? {
                    Some(number) => Ok(number),
                    None => call("UNARY -", vec![bind(expr)?], at),
                },
                UnaryOperator::Plus => {
                    let operand = bind(expr)?;
                    let kind = &operand.data_type().kind;
                    let signed = operand.data_type().is_numeric()
                        || matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDaySecond);
                    match signed {
                        true => Ok(operand),
                        false => Err(SqlError::new(format!("a sign before a value of type {kind}"), at)),
                    }
                }
                other => Err(SqlError::new(format!("Flink SQL has no operator '{other}'"), at)),
            },
            Ast::IsNull(e) => one("IS NULL", e),
            Ast::IsNotNull(e) => one("IS NOT NULL", e),
            Ast::IsTrue(e) => one("IS TRUE", e),
            Ast::IsNotTrue(e) => one("IS NOT TRUE", e),
            Ast::IsFalse(e) => one("IS FALSE", e),
            Ast::IsNotFalse(e) => one("IS NOT FALSE", e),
            Ast::IsUnknown(e) => one("IS UNKNOWN", e),
            Ast::IsNotUnknown(e) => one("IS NOT UNKNOWN", e),
            Ast::IsDistinctFrom(a, b) => call("IS DISTINCT FROM", vec![bind(a)?, bind(b)?], at),
            Ast::IsNotDistinctFrom(a, b) => call("IS NOT DISTINCT FROM", vec![bind(a)?, bind(b)?], at),
            Ast::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let between = call("BETWEEN", vec![bind(expr)?, bind(low)?, bind(high)?], at)?;
                negate(between, *negated, at)
            }
            Ast::InList { expr, list, negated } => {
                if let Some(fields) = row(expr) {
                    return negate(self.row_in(fields, list, depth)?, *negated, at);
                }
                let mut args = vec![bind(expr)?];
                for element in list {
                    args.push(bind(element)?);
                }
                negate(call("IN", args, at)?, *negated, at)
            }
            Ast::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => {
                let mut args = vec![bind(expr)?, bind(pattern)?];
                args.extend(escape(escape_char, at)?);
                let name = if *negated && args.len() == 2 {
                    "NOT LIKE"
                } else {
                    "LIKE"
                };
                let like = call(name, args, at)?;
                negate(like, *negated && name == "LIKE", at)
            }
            Ast::SimilarTo {
                negated,
                expr,
                pattern,
                escape_char,
            } => {
                let mut args = vec![bind(expr)?, bind(pattern)?];
                args.extend(escape(escape_char, at)?);
                negate(call("SIMILAR TO", args, at)?, *negated, at)
            }
            Ast::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let operand = operand.as_deref().map(bind).transpose()?;
                let mut args = Vec::with_capacity(conditions.len() * 2 + 1);
                for case in conditions {
                    let when = bind(&case.condition)?;
                    args.push(match &operand {
                        None => when,
                        Some(operand) => call("=", vec![operand.clone(), when], case.condition.span())?,
                    });
                    args.push(bind(&case.result)?);
                }
                args.push(match else_result {
                    Some(e) => bind(e)?,
                    None => literal::null(),
                });
                call("CASE", args, at)
            }
            Ast::Cast {
                kind,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                let make = match kind {
                    CastKind::Cast => cast::cast,
                    CastKind::TryCast => cast::try_cast,
                    CastKind::SafeCast | CastKind::DoubleColon => {
                        return Err(SqlError::new("Flink SQL has no such cast", at)
                            .with_hint("write CAST(x AS type) or TRY_CAST(x AS type)"));
                    }
                };
                let to = flink_type(data_type, at)?;
                if !functions::known_type(&to) {
                    return Err(SqlError::new("nothing can be CAST to NULL", at));
                }
                let operand = bind(expr)?;
                // CAST keeps whether there may be a null.
                let to = to.with_nullable(operand.data_type().nullable);
                make(operand, to).map_err(|e| SqlError::from(e).or_at(at))
            }
            Ast::Extract { field, expr, .. } => call(
                "EXTRACT",
                vec![literal::string(&field.to_string().to_uppercase()), bind(expr)?],
                at,
            ),
            Ast::Ceil { expr, field } => self.ceil_floor("CEIL", expr, field, at, depth),
            Ast::Floor { expr, field } => self.ceil_floor("FLOOR", expr, field, at, depth),
            Ast::Position { expr, r#in } => call("POSITION", vec![bind(expr)?, bind(r#in)?], at),
            Ast::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                let Some(from) = substring_from else {
                    return Err(SqlError::new("SUBSTRING needs where to start", at)
                        .with_hint("write SUBSTRING(text FROM 2 FOR 3) or SUBSTRING(text, 2, 3)"));
                };
                let mut args = vec![bind(expr)?, bind(from)?];
                if let Some(length) = substring_for {
                    args.push(bind(length)?);
                }
                call("SUBSTRING", args, at)
            }
            Ast::Trim {
                expr,
                trim_where,
                trim_what,
                trim_characters: None,
            } => {
                let side = match trim_where {
                    None | Some(TrimWhereField::Both) => "BOTH",
                    Some(TrimWhereField::Leading) => "LEADING",
                    Some(TrimWhereField::Trailing) => "TRAILING",
                };
                let what = match trim_what {
                    Some(e) => bind(e)?,
                    None => literal::string(" "),
                };
                call("TRIM", vec![literal::string(side), what, bind(expr)?], at)
            }
            Ast::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                let mut args = vec![bind(expr)?, bind(overlay_what)?, bind(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(bind(length)?);
                }
                call("OVERLAY", args, at)
            }
            Ast::Tuple(elements) => {
                let args = elements.iter().map(bind).collect::<Result<Vec<_>>>()?;
                call("ROW", args, at)
            }
            Ast::Function(f) => functions::bind(self, f, at, depth),
            refused => Err(refuse(refused, at)),
        }
    }

    fn binary(&self, ast: &Ast, left: &Ast, op: &BinaryOperator, right: &Ast, depth: usize) -> Result<Expr> {
        let name = match op {
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::StringConcat => "||",
            BinaryOperator::Overlaps => return self.overlaps(left, right, depth),
            // Long chains of these are usual: they become trees that are only as deep as need be.
            BinaryOperator::And => return self.chain(ast, &BinaryOperator::And, "AND", depth),
            BinaryOperator::Or => return self.chain(ast, &BinaryOperator::Or, "OR", depth),
            other => {
                return Err(SqlError::new(
                    format!("Flink SQL has no operator '{other}'"),
                    ast.span(),
                ));
            }
        };
        let (left, right) = (self.bind(left, depth + 1)?, self.bind(right, depth + 1)?);
        call(name, vec![left, right], ast.span())
    }

    /// `(start, end) OVERLAPS (start, end)`; an end may be a length.
    fn overlaps(&self, left: &Ast, right: &Ast, depth: usize) -> Result<Expr> {
        let mut args = Vec::with_capacity(4);
        for side in [left, right] {
            match side {
                Ast::Tuple(ends) if ends.len() == 2 => {
                    for end in ends {
                        args.push(self.bind(end, depth + 1)?);
                    }
                }
                _ => {
                    return Err(SqlError::new(
                        "OVERLAPS compares (start, end) with (start, end)",
                        side.span(),
                    ));
                }
            }
        }
        call("OVERLAPS", args, left.span().union(&right.span()))
    }

    /// Flink has this constant without parentheses too, where no column is called so.
    fn is_pi(&self, name: &Ident) -> Result<bool> {
        let written = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("PI");
        Ok(written && self.scope.by_name(name)?.is_none())
    }

    /// `(a, b) IN ((1, 2), (3, 4))`: one of the rows is equal, field by field.
    fn row_in(&self, fields: Vec<&Ast>, rows: &[Ast], depth: usize) -> Result<Expr> {
        let mut any = Vec::with_capacity(rows.len());
        for candidate in rows {
            let at = candidate.span();
            let others = row(candidate).filter(|others| others.len() == fields.len());
            let Some(others) = others else {
                return Err(SqlError::new("the values of IN are not all of the same type", at)
                    .with_hint(format!("on its left there is a row of {} fields", fields.len())));
            };
            let mut all = Vec::with_capacity(fields.len());
            for (field, other) in fields.iter().zip(others) {
                let (field, other) = (self.bind(field, depth + 1)?, self.bind(other, depth + 1)?);
                all.push(call("=", vec![field, other], at)?);
            }
            any.push(joined("AND", all, at)?);
        }
        let at = rows.first().map_or(Span::empty(), Spanned::span);
        joined("OR", any, at)
    }

    fn chain(&self, ast: &Ast, op: &BinaryOperator, name: &str, depth: usize) -> Result<Expr> {
        let mut operands = Vec::new();
        let mut rest = ast;
        while let Ast::BinaryOp {
            left,
            op: found,
            right,
        } = rest
        {
            if found != op {
                break;
            }
            operands.push(right.as_ref());
            rest = left;
        }
        operands.push(rest);
        let mut bound = Vec::with_capacity(operands.len());
        for operand in operands.into_iter().rev() {
            bound.push((self.bind(operand, depth + 1)?, operand.span()));
        }
        // Neighbours are joined pairwise, so that order and meaning stay.
        while bound.len() > 1 {
            let mut joined = Vec::with_capacity(bound.len().div_ceil(2));
            let mut items = bound.into_iter();
            while let Some((left, left_at)) = items.next() {
                joined.push(match items.next() {
                    None => (left, left_at),
                    Some((right, right_at)) => {
                        let at = left_at.union(&right_at);
                        (call(name, vec![left, right], at)?, at)
                    }
                });
            }
            bound = joined;
        }
        bound
            .pop()
            .map(|(e, _)| e)
            .ok_or_else(|| SqlError::from(millrace_core::Error::internal("a chain without operands")))
    }

    fn access(&self, root: &Ast, chain: &[AccessExpr], depth: usize) -> Result<Expr> {
        // The names before the first bracket are a path: `t.a[1].b`.
        let mut path: Vec<Ident> = Vec::new();
        let mut steps = chain.iter().peekable();
        if let Ast::Identifier(first) = root {
            path.push(first.clone());
            while let Some(AccessExpr::Dot(Ast::Identifier(name))) = steps.peek() {
                path.push(name.clone());
                steps.next();
            }
        }
        let mut expr = match (root, path.len()) {
            (_, 0) => self.bind(root, depth + 1)?,
            _ => self.scope.resolve_path(&path)?,
        };
        for step in steps {
            expr = match step {
                AccessExpr::Dot(Ast::Identifier(name)) => field(expr, name)?,
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let at = index.span();
                    // A constant index of a row would be a field: Flink takes arrays and maps.
                    call("ITEM", vec![expr, self.bind(index, depth + 1)?], at)?
                }
                AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return Err(SqlError::new("Flink SQL has no slices of arrays", root.span())
                        .with_hint("write ARRAY_SLICE(array, start, end)"));
                }
                AccessExpr::Dot(other) => {
                    return Err(SqlError::new(
                        "expected the name of a field behind '.'",
                        other.span(),
                    ));
                }
            };
        }
        Ok(expr)
    }

    fn ceil_floor(
        &self,
        name: &str,
        expr: &Ast,
        field: &CeilFloorKind,
        at: Span,
        depth: usize,
    ) -> Result<Expr> {
        let mut args = vec![self.bind(expr, depth + 1)?];
        match field {
            CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => {}
            CeilFloorKind::DateTimeField(unit) => {
                args.push(literal::string(&unit.to_string().to_uppercase()))
            }
            CeilFloorKind::Scale(_) => {
                return Err(SqlError::new(format!("{name} takes one argument"), at)
                    .with_hint("ROUND and TRUNCATE take the number of decimal places"));
            }
        }
        call(name, args, at)
    }
}

/// All operands by one connective.
fn joined(name: &str, mut operands: Vec<Expr>, at: Span) -> Result<Expr> {
    match operands.len() {
        1 => Ok(operands.remove(0)),
        _ => call(name, operands, at),
    }
}

/// The fields of a row that is written as one.
fn row(ast: &Ast) -> Option<Vec<&Ast>> {
    match ast {
        Ast::Tuple(fields) => Some(fields.iter().collect()),
        Ast::Function(f) if functions::is_row(f) => functions::arguments(f).ok(),
        _ => None,
    }
}

fn negate(expr: Expr, negated: bool, at: Span) -> Result<Expr> {
    if negated {
        call("NOT", vec![expr], at)
    } else {
        Ok(expr)
    }
}

fn escape(value: &Option<Value>, at: Span) -> Result<Option<Expr>> {
    match value {
        None => Ok(None),
        Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => Ok(Some(literal::string(text))),
        Some(_) => Err(SqlError::new("ESCAPE takes a text of one character", at)),
    }
}

/// The type that the dialect's CAST carries.
fn flink_type(data_type: &AstType, at: Span) -> Result<DataType> {
    let wrong = || {
        SqlError::from(millrace_core::Error::internal(
            "a type came through in a foreign form",
        ))
        .or_at(at)
    };
    match data_type {
        AstType::Custom(name, json) if name.to_string().trim_matches('`') == FLINK_TYPE => {
            let [json] = json.as_slice() else {
                return Err(wrong());
            };
            let mut json = serde_json::Deserializer::from_str(json);
            // The parser limits how deep types are nested.
            json.disable_recursion_limit();
            DataType::deserialize(&mut json).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// What sqlparser reads and we do not bind: Flink's by name, other dialects' as unknown.
fn refuse(ast: &Ast, at: Span) -> SqlError {
    let unsupported = |what: &str| SqlError::unsupported(what, at);
    match ast {
        Ast::Exists { .. } => unsupported("EXISTS"),
        Ast::Subquery(_) => unsupported("a scalar subquery")
            .with_hint("join the query that gives the value: FROM t, (SELECT MAX(v) AS m FROM u) WHERE ..."),
        Ast::InSubquery { .. } => unsupported("IN with a subquery"),
        Ast::AnyOp { .. } => unsupported("a comparison with ANY or SOME"),
        Ast::AllOp { .. } => unsupported("a comparison with ALL"),
        Ast::GroupingSets(_) => unsupported("GROUPING SETS"),
        Ast::Cube(_) => unsupported("CUBE"),
        Ast::Rollup(_) => unsupported("ROLLUP"),
        Ast::InUnnest { .. } => {
            unsupported("UNNEST").with_hint("ARRAY_CONTAINS(array, value) tells whether it is in there")
        }
        Ast::Wildcard(_) | Ast::QualifiedWildcard(..) => SqlError::new("'*' cannot stand here", at),
        Ast::MemberOf(_) => unsupported("MEMBER OF"),
        Ast::Collate { .. } => unsupported("COLLATE"),
        Ast::AtTimeZone { .. } => SqlError::new("Flink SQL has no AT TIME ZONE", at)
            .with_hint("CONVERT_TZ and CAST to TIMESTAMP_LTZ convert between zones"),
        Ast::ILike { .. } => {
            SqlError::new("Flink SQL has no ILIKE", at).with_hint("compare LOWER(x) by LIKE")
        }
        Ast::RLike { .. } => {
            SqlError::new("Flink SQL has no operator RLIKE", at).with_hint("write REGEXP(x, 'pattern')")
        }
        Ast::Like { .. } => SqlError::new("Flink SQL has no LIKE ANY", at),
        Ast::Convert { .. } => {
            SqlError::new("Flink SQL has no CONVERT", at).with_hint("write CAST(x AS type)")
        }
        Ast::JsonAccess { .. } => SqlError::new("Flink SQL has no ':' path into JSON", at)
            .with_hint("write JSON_VALUE(x, '$.path')"),
        Ast::Array(_) => SqlError::new("an array is written ARRAY[...]", at),
        _ => SqlError::new("this expression is none of Flink SQL", at),
    }
}

/// Whether an expression is the literal NULL without a type.
pub(super) fn is_untyped_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal { value: Scalar::Null, data_type } if data_type.kind == TypeKind::Null)
}
