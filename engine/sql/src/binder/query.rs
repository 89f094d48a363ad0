//! Queries: SELECT ... FROM ... WHERE, VALUES, UNION ALL, WITH.
//!
//! Every field of sqlparser's tree is either used or refused: destructuring without `..` makes a
//! field that a new version adds an error of the compiler.

use std::collections::HashMap;

use millrace_expr::{DataType, Expr, Field, RowType, TypeKind, cast};
use sqlparser::ast::{
    Distinct, Expr as Ast, FunctionArg, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
    SetQuantifier, Spanned, TableAlias, TableFactor, TableWithJoins, Values, WildcardAdditionalOptions, With,
};
use sqlparser::tokenizer::Span;

use super::aggregate::{self, Grouping};
use super::expr::{ExprBinder, is_untyped_null};
use super::grouping_sets::Keys;
use super::over::Windows;
use super::scope::{Scope, check_name};
use super::{Binder, expr, function, join, state_ttl, window};
use crate::catalog::{CATALOG, DATABASE};
use crate::error::{Result, SqlError};
use crate::parser::statement::Name;
use crate::plan::{Op, Rel};

/// How deep queries may be nested.
const MAX_DEPTH: usize = 64;

impl Binder<'_> {
    pub fn bind_query(&mut self, query: &Query) -> Result<Rel> {
        self.query(query, 0)
    }

    pub(super) fn query(&mut self, query: &Query, depth: usize) -> Result<Rel> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if depth > MAX_DEPTH {
            return Err(SqlError::new("the query is nested too deeply", query.span()));
        }
        let at = query.span();
        if let Some(order) = order_by {
            return Err(SqlError::unsupported("ORDER BY", or(order.span(), at))
                .with_hint("a stream has no last row to sort by; the first rows by some order are a top-N: WHERE rn <= 10 over ROW_NUMBER() OVER (ORDER BY ...) AS rn"));
        }
        if let Some(limit) = limit_clause {
            return Err(
                SqlError::unsupported("LIMIT and OFFSET", or(limit.span(), at)).with_hint(
                    "a top-N limits a stream: WHERE rn <= 10 over ROW_NUMBER() OVER (ORDER BY ...) AS rn",
                ),
            );
        }
        if let Some(fetch) = fetch {
            return Err(SqlError::unsupported("FETCH", or(fetch.span(), at)).with_hint(
                "a top-N limits a stream: WHERE rn <= 10 over ROW_NUMBER() OVER (ORDER BY ...) AS rn",
            ));
        }
        if !locks.is_empty()
            || for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return Err(SqlError::new("Flink SQL has no such clause behind a query", at));
        }
        let Some(with) = with else {
            return self.set_expr(body, depth);
        };
        self.with(with, depth)?;
        let result = self.set_expr(body, depth);
        self.ctes.pop();
        result
    }

    /// Binds the queries of WITH; each sees those before it.
    fn with(&mut self, with: &With, depth: usize) -> Result<()> {
        let With {
            with_token,
            recursive,
            cte_tables,
        } = with;
        if *recursive {
            return Err(SqlError::unsupported("WITH RECURSIVE", with_token.0.span));
        }
        self.ctes.push(HashMap::new());
        let mut result = Ok(());
        for cte in cte_tables {
            result = self.cte(cte, depth);
            if result.is_err() {
                self.ctes.pop();
                break;
            }
        }
        result
    }

    fn cte(&mut self, cte: &sqlparser::ast::Cte, depth: usize) -> Result<()> {
        let sqlparser::ast::Cte {
            alias,
            query,
            from,
            materialized,
            closing_paren_token: _,
        } = cte;
        let name = &alias.name;
        if from.is_some() || materialized.is_some() {
            return Err(SqlError::new("Flink SQL has no such form of WITH", name.span));
        }
        let rel = self.query(query, depth + 1)?;
        let rel = rename(rel, &alias_columns(alias)?, name.span)?;
        if let Some(scope) = self.ctes.last_mut()
            && scope.insert(name.value.clone(), rel).is_some()
        {
            return Err(SqlError::new(
                format!("WITH has '{}' twice", name.value),
                name.span,
            ));
        }
        Ok(())
    }

    fn set_expr(&mut self, body: &SetExpr, depth: usize) -> Result<Rel> {
        match body {
            SetExpr::Select(select) => self.select(select, depth),
            SetExpr::Query(query) => self.query(query, depth + 1),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation { .. } => self.union(body, depth),
            SetExpr::Table(table) => {
                let sqlparser::ast::Table {
                    table_name,
                    schema_name,
                } = table.as_ref();
                let parts = schema_name.iter().chain(table_name).map(Ident::new).collect();
                Ok(self.relation(&Name { parts }, depth)?.0)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => Err(
                SqlError::new("a query cannot hold a statement that writes", body.span()),
            ),
        }
    }

    /// A chain of UNION leans to the left: it is walked without recursion.
    fn union(&mut self, body: &SetExpr, depth: usize) -> Result<Rel> {
        let is_distinct = |quantifier: &SetQuantifier| *quantifier != SetQuantifier::All;
        let distinct =
            matches!(body, SetExpr::SetOperation { set_quantifier, .. } if is_distinct(set_quantifier));
        let mut branches = Vec::new();
        let mut rest = body;
        while let SetExpr::SetOperation {
            op,
            set_quantifier,
            left,
            right,
        } = rest
        {
            let at = right.span();
            match (op, set_quantifier) {
                // What is below is one union with it, unless that leaves rows out and this one does not.
                (SetOperator::Union, SetQuantifier::All) => {}
                (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) if distinct => {}
                (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => break,
                (SetOperator::Intersect, _) => {
                    return Err(SqlError::unsupported("INTERSECT", at)
                        .with_hint("SELECT DISTINCT with WHERE ... IN (SELECT ...) gives the same"));
                }
                (SetOperator::Except | SetOperator::Minus, _) => {
                    return Err(SqlError::unsupported("EXCEPT", at)
                        .with_hint("SELECT DISTINCT with WHERE NOT EXISTS (SELECT ...) gives the same"));
                }
                (SetOperator::Union, _) => return Err(SqlError::new("Flink SQL has no UNION BY NAME", at)),
            }
            branches.push(right.as_ref());
            rest = left;
        }
        branches.push(rest);
        let mut inputs = Vec::with_capacity(branches.len());
        for branch in branches.into_iter().rev() {
            match self.set_expr(branch, depth + 1)? {
                input if matches!(input.op, Op::Union) => {
                    inputs.extend(input.inputs.into_iter().map(|i| (i, branch.span())))
                }
                input => inputs.push((input, branch.span())),
            }
        }
        let all = unite(inputs)?;
        Ok(match distinct {
            true => each_once(all),
            false => all,
        })
    }

    fn values(&mut self, values: &Values) -> Result<Rel> {
        let Values {
            explicit_row: _,
            value_keyword,
            rows,
        } = values;
        let at = values.span();
        if *value_keyword {
            return Err(SqlError::new("expected VALUES", at));
        }
        let scope = Scope::default();
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 {
            return Err(SqlError::new("VALUES needs a row with a value", at));
        }
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            // `VALUES ROW(1, 2)` and `VALUES 1` are rows as well.
            let row = match row.as_slice() {
                [Ast::Tuple(elements)] => elements.as_slice(),
                other => other,
            };
            if row.len() != width {
                let at = row.first().map_or(at, |e| e.span());
                return Err(SqlError::new("the rows of VALUES differ in length", at)
                    .with_hint(format!("the first one has {width}, this one {}", row.len())));
            }
            bound.push(
                row.iter()
                    .map(|e| expr::bind(e, &scope).map(|b| (b, e.span())))
                    .collect::<Result<Vec<_>>>()?,
            );
        }
        let mut fields = Vec::with_capacity(width);
        let mut rows: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); bound.len()];
        for column in 0..width {
            let types: Vec<DataType> = bound
                .iter()
                .map(|row| row[column].0.data_type().clone())
                .collect();
            let common = cast::common_type(&types).ok_or_else(|| {
                let last = bound.last().map_or(at, |row| row[column].1);
                incompatible(&format!("column {} of VALUES", column + 1), &types, last)
            })?;
            for (out, row) in rows.iter_mut().zip(&bound) {
                out.push(coerce(row[column].0.clone(), &common, row[column].1)?);
            }
            fields.push(Field::new(format!("EXPR${column}"), common));
        }
        Ok(Rel::values(rows, RowType::new(fields)))
    }

    fn select(&mut self, select: &Select, depth: usize) -> Result<Rel> {
        let own = self.state_ttls(select.select_token.0.span)?;
        let outer = std::mem::replace(&mut self.state_ttls, own);
        let bound = self.select_with_ttls(select, depth);
        self.state_ttls = outer;
        bound
    }

    fn select_with_ttls(&mut self, select: &Select, depth: usize) -> Result<Rel> {
        let Select {
            select_token,
            optimizer_hint,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let at = select_token.0.span;
        let is_distinct = match distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(SqlError::new("Flink SQL has no DISTINCT ON", at)),
        };
        let group_by = match group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs.as_slice(),
            other => {
                return Err(SqlError::unsupported(
                    "GROUP BY of this form",
                    or(other.span(), at),
                ));
            }
        };
        if let Some(qualify) = qualify {
            return Err(SqlError::unsupported("QUALIFY", or(qualify.span(), at)));
        }
        if optimizer_hint.is_some()
            || select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || into.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || value_table_mode.is_some()
            || *flavor != SelectFlavor::Standard
        {
            return Err(SqlError::new(
                "this SELECT has a clause that Flink SQL has not",
                at,
            ));
        }
        let (input, scope) = self.from(from, at, depth)?;
        self.state_ttls.check(&scope, at)?;
        let state_ttl = self.state_ttls.of_input(&scope);
        let (input, condition) = self.filter(input, &scope, selection.as_ref(), depth)?;
        let is_grouped = !group_by.is_empty()
            || having.is_some()
            || projection.iter().any(|item| match item {
                SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => {
                    aggregate::has_aggregate(e)
                }
                _ => false,
            });
        let (mut exprs, mut names) = (Vec::new(), Vec::new());
        let rel = if is_grouped {
            let grouping = Grouping::new(Keys::bind(group_by, &scope)?);
            let binder = ExprBinder {
                scope: &scope,
                grouping: Some(&grouping),
                windows: None,
            };
            for item in projection {
                select_item(item, &binder, &mut exprs, &mut names)?;
            }
            Windows::new(named_window).check(&scope)?;
            let having = having
                .as_ref()
                .map(|h| boolean(h, &binder, "HAVING"))
                .transpose()?;
            let aggregate = state_ttl::with(grouping.build(input, condition), state_ttl);
            Rel::calc(aggregate, having, exprs, names)
        } else {
            let windows = Windows::new(named_window);
            windows.check(&scope)?;
            let binder = ExprBinder {
                scope: &scope,
                grouping: None,
                windows: Some(&windows),
            };
            for item in projection {
                select_item(item, &binder, &mut exprs, &mut names)?;
            }
            windows.build(input, condition, exprs, names)?
        };
        Ok(match is_distinct {
            false => rel,
            true => state_ttl::with(each_once(rel), state_ttl.filter(|_| !is_grouped)),
        })
    }

    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        select: Span,
        depth: usize,
    ) -> Result<(Rel, Scope)> {
        match from {
            // One row, as in Calcite: what is selected does not depend on it.
            [] => {
                let zero = expr::bind(
                    &Ast::value(sqlparser::ast::Value::Number("0".into(), false)),
                    &Scope::default(),
                )?;
                let output = RowType::new(vec![Field::new("ZERO", zero.data_type().clone())]);
                Ok((Rel::values(vec![vec![zero]], output), Scope::default()))
            }
            [first, others @ ..] => {
                let mut joined = self.table_with_joins(first, select, depth)?;
                for other in others {
                    let other = self.table_with_joins(other, select, depth)?;
                    joined = join::cross(joined, other, &self.state_ttls);
                }
                Ok(joined)
            }
        }
    }

    pub(super) fn table_factor(&mut self, factor: &TableFactor, depth: usize) -> Result<(Rel, Scope)> {
        let at = factor.span();
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if let Some(args) = args {
                    let rel = self.table_function(name, &args.args, depth)?;
                    return aliased(rel, alias.as_ref(), &[]);
                }
                if version.is_some() {
                    return Err(SqlError::unsupported("FOR SYSTEM_TIME AS OF (a temporal or lookup join)", at)
                        .with_hint(
                            "join the table itself: a regular join follows its changes, over the latest row of each \
                             key if it is read through ROW_NUMBER() OVER (PARTITION BY key ORDER BY time DESC) = 1; \
                             an interval join bounds both times",
                        ));
                }
                if sample.is_some() {
                    return Err(SqlError::unsupported("TABLESAMPLE", at));
                }
                if !with_hints.is_empty()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(SqlError::new("Flink SQL has no such clause behind a table", at));
                }
                let (rel, relation) = self.relation(&object_name(name)?, depth)?;
                aliased(rel, alias.as_ref(), &relation)
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                sample,
            } => {
                if *lateral {
                    return Err(SqlError::unsupported("LATERAL", at));
                }
                if sample.is_some() {
                    return Err(SqlError::unsupported("TABLESAMPLE", at));
                }
                let rel = self.query(subquery, depth + 1)?;
                aliased(rel, alias.as_ref(), &[])
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                if alias.is_some() {
                    return Err(SqlError::new(
                        "an alias stands inside of the parentheses here",
                        at,
                    ));
                }
                self.table_with_joins(table_with_joins, at, depth + 1)
            }
            TableFactor::TableFunction {
                expr: Ast::Function(f),
                alias,
            } => {
                let FunctionArguments::List(list) = &f.args else {
                    return Err(SqlError::unsupported("a table function of this form", at));
                };
                let rel = self.table_function(&f.name, &list.args, depth)?;
                aliased(rel, alias.as_ref(), &[])
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                Err(SqlError::unsupported("a table function of this form", at))
            }
            TableFactor::UNNEST { .. } => Err(SqlError::unsupported("UNNEST", at)),
            TableFactor::MatchRecognize { .. } => Err(SqlError::unsupported("MATCH_RECOGNIZE", at)),
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                Err(SqlError::new("Flink SQL has no PIVOT", at))
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => Err(SqlError::new("Flink SQL has no such table", at)),
        }
    }

    fn table_function(&mut self, name: &ObjectName, args: &[FunctionArg], depth: usize) -> Result<Rel> {
        match name.0.as_slice() {
            [ObjectNamePart::Identifier(function)] if window::is_window(&function.value) => {
                self.window_table(function, args, depth + 1)
            }
            _ => Err(SqlError::unsupported(
                format!("the table function {name}"),
                name.span(),
            )),
        }
    }

    /// A query of WITH, a view or a table, and how it is called.
    pub(super) fn relation(&mut self, name: &Name, depth: usize) -> Result<(Rel, Vec<String>)> {
        if let [only] = name.parts.as_slice() {
            let found = self
                .ctes
                .iter()
                .rev()
                .find_map(|scope| scope.get(&only.value))
                .cloned();
            if let Some(rel) = found {
                if let Some(last) = name.parts.last() {
                    self.hints_at(last.span.start, &[])?;
                }
                return Ok((rel, vec![only.value.clone()]));
            }
        }
        let object = crate::catalog::object_name(name)?.to_owned();
        let rel = self.read(name, depth)?;
        Ok((rel, vec![CATALOG.to_owned(), DATABASE.to_owned(), object]))
    }

    /// A view's query, in the view's own text and without the query's WITH around it.
    pub(super) fn view(&mut self, view: &crate::catalog::View, depth: usize) -> Result<Rel> {
        let source = std::mem::replace(&mut self.source, view.source.clone());
        let ctes = std::mem::take(&mut self.ctes);
        let used = std::mem::take(&mut self.used_hints);
        let bound = self
            .query(&view.query, depth + 1)
            .map_err(|e| e.or_in(&view.source));
        self.source = source;
        self.ctes = ctes;
        self.used_hints = used;
        let rel = bound?;
        let names = view
            .row_type
            .fields
            .iter()
            .map(|f| f.name.clone())
            .collect::<Vec<_>>();
        let output = &rel.output;
        let same = output.fields.len() == names.len()
            && output
                .fields
                .iter()
                .zip(&view.row_type.fields)
                .all(|(a, b)| a.data_type == b.data_type);
        if !same {
            return Err(SqlError::from(
                millrace_core::Error::user(format!(
                    "the view '{}' no longer fits the tables that it reads",
                    view.name
                ))
                .with_hint("drop it and create it again"),
            ));
        }
        Ok(rel.renamed(names))
    }
}

pub(super) fn or(span: Span, other: Span) -> Span {
    if span == Span::empty() { other } else { span }
}

pub(super) fn object_name(name: &ObjectName) -> Result<Name> {
    let mut parts = Vec::with_capacity(name.0.len());
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => {
                check_name(ident)?;
                parts.push(ident.clone());
            }
            ObjectNamePart::Function(_) => return Err(SqlError::new("expected a name", name.span())),
        }
    }
    if parts.is_empty() || parts.len() > 3 {
        return Err(SqlError::new(
            "a name has three parts at most: catalog, database and object",
            name.span(),
        ));
    }
    Ok(Name { parts })
}

pub(super) fn boolean(ast: &Ast, binder: &ExprBinder, clause: &str) -> Result<Expr> {
    let bound = binder.bind(ast, 0)?;
    match bound.data_type().kind {
        TypeKind::Boolean => Ok(bound),
        TypeKind::Null => {
            cast::cast(bound, DataType::boolean()).map_err(|e| SqlError::from(e).or_at(ast.span()))
        }
        ref other => Err(
            SqlError::new(format!("{clause} takes a condition of type BOOLEAN"), ast.span())
                .with_hint(format!("this is of type {other}")),
        ),
    }
}

fn select_item(
    item: &SelectItem,
    binder: &ExprBinder,
    exprs: &mut Vec<Expr>,
    names: &mut Vec<String>,
) -> Result<()> {
    let scope = binder.scope;
    let column = |i: usize, at: Span| {
        let column = Expr::column(i, scope.columns[i].data_type.clone());
        match binder.grouping {
            Some(grouping) => grouping.over_keys(&column, scope, at),
            None => Ok(column),
        }
    };
    match item {
        SelectItem::UnnamedExpr(ast) => {
            names.push(derived_name(ast).unwrap_or_else(|| format!("EXPR${}", exprs.len())));
            exprs.push(typed(binder.bind(ast, 0)?, ast.span())?);
        }
        SelectItem::ExprWithAlias { expr: ast, alias } => {
            // A text in an alias's place has no place of its own: it stands behind the expression.
            check_name(alias).map_err(|e| e.or_at(ast.span()))?;
            names.push(alias.value.clone());
            exprs.push(typed(binder.bind(ast, 0)?, ast.span())?);
        }
        SelectItem::Wildcard(options) => {
            wildcard_options(options)?;
            if scope.columns.is_empty() {
                return Err(SqlError::new("'*' needs a FROM", options.wildcard_token.0.span));
            }
            for (i, named) in scope.columns.iter().enumerate().filter(|(_, c)| !c.hidden) {
                names.push(named.name.clone());
                exprs.push(column(i, options.wildcard_token.0.span)?);
            }
        }
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            wildcard_options(options)?;
            let parts: Vec<String> = object_name(name)?.parts.into_iter().map(|p| p.value).collect();
            let columns = scope.of_relation(&parts);
            if columns.is_empty() {
                return Err(SqlError::new(
                    format!("there is no table or alias '{name}' here"),
                    name.span(),
                ));
            }
            for i in columns {
                names.push(scope.columns[i].name.clone());
                exprs.push(column(i, name.span())?);
            }
        }
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(ast), _) => {
            return Err(SqlError::unsupported("'.*' behind an expression", ast.span()));
        }
    }
    Ok(())
}

/// A column must have a type; a bare NULL has none.
fn typed(bound: Expr, at: Span) -> Result<Expr> {
    if is_untyped_null(&bound) || function::known_type(bound.data_type()) {
        return Ok(bound);
    }
    Err(SqlError::new(
        "the type of this value is not known, for a NULL in it has none",
        at,
    )
    .with_hint("give it one: CAST(NULL AS INT)"))
}

/// The name that a column gets without an alias, if its expression gives one.
fn derived_name(ast: &Ast) -> Option<String> {
    match ast {
        Ast::Identifier(name) => Some(name.value.clone()),
        Ast::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()),
        Ast::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(sqlparser::ast::AccessExpr::Dot(Ast::Identifier(name))) => Some(name.value.clone()),
            _ => None,
        },
        Ast::Nested(inner) => derived_name(inner),
        _ => None,
    }
}

fn wildcard_options(options: &WildcardAdditionalOptions) -> Result<()> {
    let WildcardAdditionalOptions {
        wildcard_token,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
    } = options;
    if opt_ilike.is_some()
        || opt_exclude.is_some()
        || opt_except.is_some()
        || opt_replace.is_some()
        || opt_rename.is_some()
    {
        return Err(SqlError::new(
            "Flink SQL has nothing behind '*'",
            wildcard_token.0.span,
        ));
    }
    Ok(())
}

/// The columns of `AS t (a, b)`.
fn alias_columns(alias: &TableAlias) -> Result<Vec<Ident>> {
    let TableAlias {
        explicit: _,
        name: _,
        columns,
    } = alias;
    columns
        .iter()
        .map(|c| match &c.data_type {
            None => check_name(&c.name).map(|()| c.name.clone()),
            Some(_) => Err(SqlError::new("a column in an alias has no type", c.name.span)),
        })
        .collect()
}

fn aliased(rel: Rel, alias: Option<&TableAlias>, relation: &[String]) -> Result<(Rel, Scope)> {
    let Some(alias) = alias else {
        let scope = Scope::new(&rel.output, relation);
        return Ok((rel, scope));
    };
    let rel = rename(rel, &alias_columns(alias)?, alias.name.span)?;
    let scope = Scope::new(&rel.output, std::slice::from_ref(&alias.name.value));
    Ok((rel, scope))
}

fn rename(rel: Rel, columns: &[Ident], at: Span) -> Result<Rel> {
    if columns.is_empty() {
        return Ok(rel);
    }
    let width = rel.output.fields.len();
    if columns.len() != width {
        return Err(SqlError::new(
            format!("{} names for {width} columns", columns.len()),
            at,
        ));
    }
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].iter().any(|c| c.value == column.value) {
            return Err(SqlError::new(
                format!("the column '{}' is named twice", column.value),
                column.span,
            ));
        }
    }
    Ok(rel.renamed(columns.iter().map(|c| c.value.clone()).collect()))
}

/// UNION ALL: names of the first, each column in the type that holds all of them.
fn unite(inputs: Vec<(Rel, Span)>) -> Result<Rel> {
    let outputs: Vec<RowType> = inputs.iter().map(|(rel, _)| rel.output.clone()).collect();
    let width = outputs.first().map_or(0, |o| o.fields.len());
    for (output, (_, at)) in outputs.iter().zip(&inputs) {
        if output.fields.len() != width {
            return Err(
                SqlError::new("the queries of UNION ALL differ in their number of columns", *at).with_hint(
                    format!("the first one has {width}, this one {}", output.fields.len()),
                ),
            );
        }
    }
    let mut fields = Vec::with_capacity(width);
    for i in 0..width {
        let types: Vec<DataType> = outputs.iter().map(|o| o.fields[i].data_type.clone()).collect();
        let common = cast::common_type(&types).ok_or_else(|| {
            let at = types
                .iter()
                .position(|t| t.kind != types[0].kind)
                .map_or(inputs[0].1, |p| inputs[p].1);
            incompatible(&format!("column {} of UNION ALL", i + 1), &types, at)
        })?;
        fields.push(Field::new(&outputs[0].fields[i].name, common));
    }
    let output = RowType::new(fields);
    let mut branches = Vec::with_capacity(inputs.len());
    for ((rel, at), row) in inputs.into_iter().zip(&outputs) {
        let fits = row
            .fields
            .iter()
            .zip(&output.fields)
            .all(|(a, b)| a.data_type.kind == b.data_type.kind);
        branches.push(match fits {
            true => rel,
            false => {
                let projection = Rel::identity(row)
                    .into_iter()
                    .zip(&output.fields)
                    .map(|(e, f)| coerce(e, &f.data_type, at))
                    .collect::<Result<_>>()?;
                Rel::calc(rel, None, projection, output.names())
            }
        });
    }
    Ok(Rel::union(branches, output))
}

/// A value in a common type; whether it may be null stays as it is.
fn coerce(value: Expr, to: &DataType, at: Span) -> Result<Expr> {
    if value.data_type().kind == to.kind {
        return Ok(value);
    }
    let nullable = value.data_type().nullable;
    cast::cast(value, to.clone().with_nullable(nullable)).map_err(|e| SqlError::from(e).or_at(at))
}

fn incompatible(what: &str, types: &[DataType], at: Span) -> SqlError {
    let mut shown: Vec<String> = Vec::new();
    for t in types {
        let text = t.kind.to_string();
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    SqlError::new(
        format!("{what} has types that do not go together: {}", shown.join(", ")),
        at,
    )
    .with_hint("CAST them to one type")
}

/// Each row once.
fn each_once(rel: Rel) -> Rel {
    let all = (0..rel.output.fields.len()).collect();
    Rel::aggregate(rel, all, vec![], vec![])
}
