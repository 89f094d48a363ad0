//! A plan as text, in the manner of Flink's EXPLAIN.

use std::collections::HashMap;
use std::fmt::Write;

use millrace_expr::aggregate::{AggregateCall, AggregateFunction};
use millrace_expr::{Expr, RowType, Scalar, TypeKind};

mod joined;
mod ordered;

use crate::graph::{Edge, Graph, GroupAggregate, Node, NodeId, Operator, Partitioning, Windowing};
use crate::window::{Window, WindowColumns};

/// The path before a table's name. There is one catalog with one database.
const PATH: [&str; 2] = ["default_catalog", "default_database"];

/// What EXPLAIN shows beside the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Details {
    /// The kinds of rows that each operator sends on: `changelogMode=[I]`.
    pub changelog_mode: bool,
}

/// The plan under Flink's heading, without further details.
pub fn explain(graph: &Graph) -> String {
    explain_with(graph, Details::default())
}

/// The plan under Flink's heading: trees, one for each sink in the order of the statements. What more than one tree
/// reads is printed once, with `(reuse_id=[n])`, and referred to as `Reused(reference_id=[n])`.
pub fn explain_with(graph: &Graph, details: Details) -> String {
    let mut readers = vec![0usize; graph.nodes.len()];
    for node in &graph.nodes {
        for edge in &node.inputs {
            if let Some(count) = readers.get_mut(edge.from) {
                *count += 1;
            }
        }
    }
    let mut printer = Printer {
        graph,
        details,
        readers,
        reused: HashMap::new(),
        out: String::new(),
    };
    printer.out.push_str("== Optimized Execution Plan ==\n");
    let mut first = true;
    for node in &graph.nodes {
        if printer.readers[node.id] == 0 {
            if !first {
                printer.out.push('\n');
            }
            first = false;
            printer.tree(node.id, "", "");
        }
    }
    printer.out
}

struct Printer<'a> {
    graph: &'a Graph,
    details: Details,
    readers: Vec<usize>,
    /// The number under which a node that has been printed is referred to.
    reused: HashMap<NodeId, usize>,
    out: String,
}

impl Printer<'_> {
    /// `head` goes before the node's own line, `tail` before the lines below it.
    fn tree(&mut self, id: NodeId, head: &str, tail: &str) {
        let Some(node) = self.graph.nodes.get(id) else {
            return;
        };
        if let Some(number) = self.reused.get(&id) {
            let _ = writeln!(self.out, "{head}Reused(reference_id=[{number}])");
            return;
        }
        let mut line = describe(self.graph, node);
        if self.details.changelog_mode {
            // A sink sends nothing on.
            let mode = match node.operator {
                Operator::Sink(_) => "NONE".to_owned(),
                _ => node.changelog.kinds(),
            };
            let has_details = line.ends_with(')');
            line.truncate(line.len() - usize::from(has_details));
            let _ = match has_details {
                true => write!(line, ", changelogMode=[{mode}])"),
                false => write!(line, "(changelogMode=[{mode}])"),
            };
        }
        if self.readers[id] > 1 {
            let number = self.reused.len() + 1;
            self.reused.insert(id, number);
            let _ = write!(line, "(reuse_id=[{number}])");
        }
        let _ = writeln!(self.out, "{head}{line}");
        for (i, edge) in node.inputs.iter().enumerate() {
            let (mark, rest) = if i + 1 == node.inputs.len() {
                ("+- ", "   ")
            } else {
                (":- ", ":  ")
            };
            let (mut head, mut tail) = (format!("{tail}{mark}"), format!("{tail}{rest}"));
            if let Some(exchange) = self.exchange(edge) {
                let _ = writeln!(self.out, "{head}{exchange}");
                (head, tail) = (format!("{tail}+- "), format!("{tail}   "));
            }
            self.tree(edge.from, &head, &tail);
        }
    }
}

impl Printer<'_> {
    /// How rows are spread over an edge, where they are.
    fn exchange(&self, edge: &Edge) -> Option<String> {
        let Partitioning::Hash { keys } = &edge.partitioning else {
            return None;
        };
        let from = self.graph.nodes.get(edge.from)?;
        let distribution = match keys.is_empty() {
            true => "single".to_owned(),
            false => format!("hash[{}]", column_names(&from.output, keys)),
        };
        let mode = match self.details.changelog_mode {
            true => format!(", changelogMode=[{}]", from.changelog.kinds()),
            false => String::new(),
        };
        Some(format!("Exchange(distribution=[{distribution}]{mode})"))
    }
}

/// One operator as EXPLAIN names it: `Calc(select=[a, (b + 1) AS c], where=[(a > 10)])`.
pub fn describe(graph: &Graph, node: &Node) -> String {
    let empty = RowType::default();
    let input = node
        .inputs
        .first()
        .and_then(|e| graph.nodes.get(e.from))
        .map_or(&empty, |n| &n.output);
    let fields = || {
        node.output
            .fields
            .iter()
            .map(|f| f.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match &node.operator {
        Operator::Source(spec) => {
            let mut path = format!("{}, {}, {}", PATH[0], PATH[1], spec.table.name);
            let all_columns = spec.projection.iter().copied().eq(0..spec.table.columns.len());
            if !all_columns || !spec.metadata.is_empty() {
                let columns: Vec<_> = spec
                    .projection
                    .iter()
                    .filter_map(|&i| spec.table.columns.get(i))
                    .map(|c| c.name.as_str())
                    .collect();
                let metadata: Vec<_> = spec.metadata.iter().map(|m| m.name.as_str()).collect();
                let _ = write!(
                    path,
                    ", project=[{}], metadata=[{}]",
                    columns.join(", "),
                    metadata.join(", ")
                );
            }
            format!("TableSourceScan(table=[[{path}]], fields=[{}])", fields())
        }
        Operator::Calc {
            condition,
            projection,
        } => {
            let select: Vec<_> = projection
                .iter()
                .zip(&node.output.fields)
                .map(|(expr, field)| {
                    let text = format_expr(expr, input);
                    if text == field.name {
                        text
                    } else {
                        format!("{text} AS {}", field.name)
                    }
                })
                .collect();
            match condition {
                None => format!("Calc(select=[{}])", select.join(", ")),
                Some(c) => format!(
                    "Calc(select=[{}], where=[{}])",
                    select.join(", "),
                    format_expr(c, input)
                ),
            }
        }
        Operator::Watermark(spec) => format!(
            "WatermarkAssigner(rowtime=[{}], watermark=[{}])",
            column_name(input, spec.column),
            format_expr(&spec.expression, input)
        ),
        Operator::ChangelogNormalize(spec) => {
            let condition = spec.condition.as_ref();
            let condition = condition.map(|c| format!(", condition=[{}]", format_expr(c, input)));
            format!(
                "ChangelogNormalize(key=[{}]{})",
                column_names(input, &spec.keys),
                condition.unwrap_or_default()
            )
        }
        Operator::DropUpdateBefore => "DropUpdateBefore".to_owned(),
        Operator::SinkMaterializer(spec) => {
            format!("SinkMaterializer(pk=[{}])", column_names(input, &spec.keys))
        }
        Operator::Union => format!("Union(all=[true], union=[{}])", fields()),
        Operator::Values { rows } => {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    let values: Vec<_> = row.iter().map(|e| format_expr(e, &empty)).collect();
                    format!("{{ {} }}", values.join(", "))
                })
                .collect();
            format!("Values(tuples=[[{}]], values=[{}])", rows.join(", "), fields())
        }
        Operator::WindowTable(table) => {
            let time = table
                .time
                .map_or("PROCTIME()".to_owned(), |c| column_name(input, c));
            let time = format!("time_col=[{time}]");
            let mut window = format_window(&table.window, &time);
            if !table.partition.is_empty() {
                let keys = column_names(input, &table.partition);
                window = format!("{}, partition keys=[{keys}])", window.trim_end_matches(')'));
            }
            format!("WindowTableFunction(window=[{window}])")
        }
        Operator::Expand(expansions) => {
            let projects = expansions.iter().map(|expansion| {
                let columns = (0..input.fields.len()).map(|i| {
                    let name = column_name(input, i);
                    match expansion.nulls.contains(&i) {
                        true => format!("null AS {name}"),
                        false => name,
                    }
                });
                let id = format!("{} AS $e", expansion.id);
                let columns: Vec<String> = columns.chain([id]).collect();
                format!("{{{}}}", columns.join(", "))
            });
            let projects: Vec<String> = projects.collect();
            format!("Expand(projects=[{}])", projects.join(", "))
        }
        Operator::GroupAggregate(aggregate) | Operator::GlobalGroupAggregate(aggregate) => {
            let (name, states) = match &node.operator {
                Operator::GroupAggregate(_) => ("GroupAggregate", None),
                _ => ("GlobalGroupAggregate", Some(state_names(aggregate, input))),
            };
            let mut select: Vec<String> = aggregate.keys.iter().map(|&k| column_name(input, k)).collect();
            let results = node.output.fields.iter().skip(select.len());
            let calls: Vec<String> = aggregate
                .calls
                .iter()
                .zip(results)
                .enumerate()
                .map(|(i, (call, field))| {
                    let call = match &states {
                        None => format_call(call, input, aggregate.retracts),
                        Some(states) => {
                            let retract = retract(call, aggregate.retracts);
                            format!("{}{retract}({})", call.function.name(), states[i])
                        }
                    };
                    format!("{call} AS {}", field.name)
                })
                .collect();
            select.extend(calls);
            format!(
                "{name}({}select=[{}])",
                group_by(&aggregate.keys, input),
                select.join(", ")
            )
        }
        Operator::LocalGroupAggregate(aggregate) => {
            let mut select: Vec<String> = aggregate.keys.iter().map(|&k| column_name(input, k)).collect();
            if aggregate.retracts {
                let count = node.output.fields.get(select.len());
                let count = count.map_or("count1", |field| field.name.as_str());
                select.push(format!("COUNT_RETRACT(*) AS {count}"));
            }
            let states = state_names(aggregate, &node.output);
            for (call, state) in aggregate.calls.iter().zip(states) {
                select.push(format!(
                    "{} AS {state}",
                    format_call(call, input, aggregate.retracts)
                ));
            }
            format!(
                "LocalGroupAggregate({}select=[{}])",
                group_by(&aggregate.keys, input),
                select.join(", ")
            )
        }
        Operator::WindowAggregate(aggregate) => {
            let mut select: Vec<String> = aggregate.keys.iter().map(|&k| column_name(input, k)).collect();
            let results = node.output.fields.iter().skip(select.len());
            let calls = aggregate.calls.iter().zip(results);
            select.extend(calls.map(|(call, field)| {
                format!(
                    "{} AS {}",
                    format_call(call, input, aggregate.retracts),
                    field.name
                )
            }));
            let (window, time) = match &aggregate.windowing {
                Windowing::Laid { window, time: None } => {
                    (format_window(window, "time_col=[PROCTIME()]"), "proctime")
                }
                Windowing::Laid {
                    window,
                    time: Some(time),
                } => {
                    let time = format!("time_col=[{}]", column_name(input, *time));
                    (format_window(window, &time), "rowtime")
                }
                Windowing::Given {
                    window,
                    start,
                    end,
                    is_proctime,
                } => {
                    let (start, end) = (column_name(input, *start), column_name(input, *end));
                    let given = format!("win_start=[{start}], win_end=[{end}]");
                    let time = if *is_proctime { "proctime" } else { "rowtime" };
                    (format_window(window, &given), time)
                }
            };
            let bounds = &node.output.fields[select.len()..];
            let made = ["start", "end", time].into_iter().zip(bounds);
            select.extend(made.map(|(what, field)| format!("{what}('w$) AS {}", field.name)));
            let select = select.join(", ");
            let group_by = group_by(&aggregate.keys, input);
            format!("WindowAggregate({group_by}window=[{window}], select=[{select}])")
        }
        Operator::WindowRank(rank) => ordered::window_rank(rank, input, &node.output),
        Operator::WindowJoin(join) => joined::window(join, &inputs(graph, node), &node.output),
        Operator::Rank(rank) => ordered::rank(rank, input, &node.output),
        Operator::OverAggregate(over) => ordered::over(over, input, &node.output),
        Operator::Join(join) => joined::join(join, &inputs(graph, node), &node.output),
        Operator::IntervalJoin(join) => joined::interval(join, &inputs(graph, node), &node.output),
        Operator::ConstraintEnforcer { not_null, drop } => {
            let names: Vec<_> = not_null.iter().map(|&i| column_name(input, i)).collect();
            let action = if *drop { "DROP" } else { "ERROR" };
            format!(
                "ConstraintEnforcer(notNull=[{}], enforcer=[{action}])",
                names.join(", ")
            )
        }
        Operator::Sink(spec) => {
            let materialized = node.inputs.iter().any(|edge| {
                let from = graph.nodes.get(edge.from);
                from.is_some_and(|from| matches!(from.operator, Operator::SinkMaterializer(_)))
            });
            format!(
                "Sink(table=[{}.{}.{}], fields=[{}]{})",
                PATH[0],
                PATH[1],
                spec.table.name,
                fields(),
                if materialized {
                    ", upsertMaterialize=[true]"
                } else {
                    ""
                }
            )
        }
    }
}

fn group_by(keys: &[usize], input: &RowType) -> String {
    match keys {
        [] => String::new(),
        keys => format!("groupBy=[{}], ", column_names(input, keys)),
    }
}

/// The columns of each call's state in a row between the two phases.
fn state_names(aggregate: &GroupAggregate, row: &RowType) -> Vec<String> {
    let mut at = aggregate.keys.len() + usize::from(aggregate.retracts);
    let fields = |call: &AggregateCall| {
        call.accumulator(aggregate.retracts, 0)
            .map_or(0, |accumulator| accumulator.fields().len())
    };
    aggregate
        .calls
        .iter()
        .map(|call| {
            let columns: Vec<usize> = (at..at + fields(call)).collect();
            at += columns.len();
            match columns.len() {
                1 => column_names(row, &columns),
                _ => format!("({})", column_names(row, &columns)),
            }
        })
        .collect()
}

/// The columns of all inputs, one after another.
fn inputs(graph: &Graph, node: &Node) -> Vec<RowType> {
    let of = |edge: &Edge| graph.nodes.get(edge.from).map(|n| n.output.clone());
    node.inputs.iter().filter_map(of).collect()
}

pub(crate) fn column_names(input: &RowType, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|&c| column_name(input, c)).collect();
    names.join(", ")
}

/// `TUMBLE(win_start=[s], win_end=[e], size=[5 s])`
fn window_columns(columns: &WindowColumns, input: &RowType) -> String {
    let of = format!(
        "win_start=[{}], win_end=[{}]",
        column_name(input, columns.start),
        column_name(input, columns.end)
    );
    format_window(&columns.window, &of)
}

/// `TUMBLE(time_col=[ts], size=[10 s])`
/// `of` says where the window of a row comes from.
fn format_window(window: &Window, of: &str) -> String {
    let (name, lengths) = window.written();
    format!("{name}({of}, {})", lengths.join(", "))
}

/// A call of an aggregate function: `SUM(DISTINCT a) FILTER b`; over rows that may be taken back,
/// Flink's planner calls some of them otherwise.
pub(crate) fn format_call(call: &AggregateCall, input: &RowType, retracts: bool) -> String {
    let mut arg = call
        .arg
        .map_or("*".to_owned(), |column| column_name(input, column));
    if call.distinct {
        arg.insert_str(0, "DISTINCT ");
    }
    if let Some(separator) = &call.parameters.separator {
        arg.push_str(&format!(", '{separator}'"));
    }
    let filter = match call.filter {
        None => String::new(),
        Some(column) => format!(" FILTER {}", column_name(input, column)),
    };
    use AggregateFunction::*;
    let nulls = match call.function {
        JsonArrayAgg | JsonObjectAgg if call.parameters.ignore_nulls => "_ABSENT_ON_NULL",
        JsonArrayAgg | JsonObjectAgg => "_NULL_ON_NULL",
        _ => "",
    };
    let retract = retract(call, retracts);
    format!("{}{nulls}{retract}({arg}){filter}", call.function.name())
}

fn retract(call: &AggregateCall, retracts: bool) -> &'static str {
    match retracts && !call.ignores_retractions {
        true => "_RETRACT",
        false => "",
    }
}

fn column_name(input: &RowType, index: usize) -> String {
    input
        .fields
        .get(index)
        .map_or_else(|| format!("${index}"), |f| f.name.clone())
}

/// An expression with its columns' names, operators between their operands.
pub fn format_expr(expr: &Expr, input: &RowType) -> String {
    match expr {
        Expr::Column { index, .. } => column_name(input, *index),
        Expr::Literal { value, data_type } => format_literal(value, &data_type.kind),
        Expr::Cast {
            expr,
            data_type,
            try_cast,
        } => {
            let name = if *try_cast { "TRY_CAST" } else { "CAST" };
            format!("{name}({} AS {})", format_expr(expr, input), data_type.kind)
        }
        Expr::Call { function, args, .. } => {
            let texts: Vec<_> = args.iter().map(|a| format_expr(a, input)).collect();
            match (function.as_str(), texts.as_slice()) {
                (
                    "+"
                    | "-"
                    | "*"
                    | "/"
                    | "%"
                    | "="
                    | "<>"
                    | "<"
                    | "<="
                    | ">"
                    | ">="
                    | "AND"
                    | "OR"
                    | "||"
                    | "LIKE"
                    | "NOT LIKE"
                    | "SIMILAR TO"
                    | "IS DISTINCT FROM"
                    | "IS NOT DISTINCT FROM",
                    [_, _, ..],
                ) if texts.len() == 2 || matches!(function.as_str(), "AND" | "OR" | "||") => {
                    format!("({})", texts.join(&format!(" {function} ")))
                }
                ("UNARY -", [x]) => format!("-({x})"),
                ("NOT", [x]) => format!("NOT {x}"),
                (
                    "IS NULL" | "IS NOT NULL" | "IS TRUE" | "IS FALSE" | "IS UNKNOWN" | "IS NOT TRUE"
                    | "IS NOT FALSE" | "IS NOT UNKNOWN",
                    [x],
                ) => format!("{x} {function}"),
                ("FIELD", [row, _]) => match &args[1] {
                    Expr::Literal {
                        value: Scalar::String(name),
                        ..
                    } => format!("{row}.{name}"),
                    _ => format!("FIELD({})", texts.join(", ")),
                },
                // Forms that no name of SQL stands for begin with a dollar.
                _ => format!("{}({})", function.trim_start_matches('$'), texts.join(", ")),
            }
        }
    }
}

fn format_literal(value: &Scalar, kind: &TypeKind) -> String {
    match value {
        Scalar::Null => format!("null:{kind}"),
        Scalar::Boolean(b) => b.to_string(),
        Scalar::Integer(i) => match kind {
            TypeKind::Int => i.to_string(),
            _ => format!("{i}:{kind}"),
        },
        Scalar::Float(f) => format!("{f}:{kind}"),
        Scalar::Double(d) => format!("{d:e}").replace('e', "E"),
        Scalar::Decimal(unscaled) => match kind {
            TypeKind::Decimal { scale, .. } => decimal(*unscaled, usize::from(*scale)),
            _ => unscaled.to_string(),
        },
        Scalar::String(s) => format!("'{}'", s.replace('\'', "''")),
        Scalar::Bytes(bytes) => {
            let mut text = String::from("X'");
            for b in bytes {
                let _ = write!(text, "{b:02X}");
            }
            text.push('\'');
            text
        }
        Scalar::Date(days) => arrow::temporal_conversions::date32_to_datetime(*days)
            .map_or_else(|| format!("{days}:{kind}"), |d| d.date().to_string()),
        Scalar::Time(millis) => {
            let (seconds, rest) = (millis / 1000, millis % 1000);
            let clock = format!(
                "{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
            if rest == 0 {
                clock
            } else {
                format!("{clock}.{rest:03}")
            }
        }
        Scalar::Timestamp(v) => {
            use arrow::temporal_conversions as t;
            let precision = match kind {
                TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => *p,
                _ => 3,
            };
            let converted = match precision {
                0..=3 => t::timestamp_ms_to_datetime(*v),
                4..=6 => t::timestamp_us_to_datetime(*v),
                _ => t::timestamp_ns_to_datetime(*v),
            };
            converted.map_or_else(|| format!("{v}:{kind}"), |d| d.to_string())
        }
        Scalar::Months(m) => format!("{m}:INTERVAL MONTH"),
        Scalar::Millis(m) => format!("{m}:INTERVAL SECOND"),
    }
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use millrace_expr::{DataType, Field};

    use super::*;

    #[test]
    fn operators_stand_between_their_operands() {
        let input = RowType::new(vec![
            Field::new("a", DataType::int()),
            Field::new("b", DataType::string()),
        ]);
        let call = |function: &str, args: Vec<Expr>| Expr::Call {
            function: function.to_owned(),
            args,
            data_type: DataType::boolean(),
        };
        let a = Expr::column(0, DataType::int());
        let one = Expr::literal(Scalar::Integer(1), DataType::not_null(TypeKind::Int));
        let quoted = Expr::literal(Scalar::String("it's".into()), DataType::string());
        let e = call(
            "AND",
            vec![
                call(">", vec![call("+", vec![a, one.clone()]), one]),
                call("IS NULL", vec![call("UPPER", vec![quoted])]),
            ],
        );
        assert_eq!(
            format_expr(&e, &input),
            "(((a + 1) > 1) AND UPPER('it''s') IS NULL)"
        );
    }

    #[test]
    fn decimals_keep_their_scale() {
        assert_eq!(decimal(5, 2), "0.05");
        assert_eq!(decimal(-1234, 2), "-12.34");
        assert_eq!(decimal(7, 0), "7");
    }
}
