//! What the columns and the rows of a plan's nodes come from, in words that no query chooses: tables, their
//! columns, functions, conditions. Aliases, views, the order of statements and columns that nobody reads
//! change nothing of it, so it is what state is known by from one version of a job to the next.

use std::collections::{BTreeMap, BTreeSet};

use millrace_core::key_group;
use millrace_expr::aggregate::{AggregateCall, Parameters};
use millrace_expr::{DataType, Expr, Field, RowType};

use crate::explain::{self, column_names, format_call, format_expr};
use crate::graph::{Graph, GroupAggregate, Node, NodeId, Operator, WindowAggregate, WindowTable};
use crate::ranking::{Rank, RankStrategy};
use crate::window::Window;

/// Longer texts are cut, and told apart by a hash.
const LENGTH: usize = 200;

#[derive(Debug, Clone, Default)]
pub struct Lineage {
    nodes: BTreeMap<NodeId, Of>,
}

#[derive(Debug, Clone, Default)]
struct Of {
    columns: Vec<String>,
    rows: String,
    tables: BTreeSet<String>,
    /// Where the rows of a first phase come from.
    before: Option<NodeId>,
}

impl Lineage {
    /// Of all nodes of a plan.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Lineage {
        let mut nodes: Vec<&Node> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| node.id);
        let mut lineage = Lineage::default();
        // The plan with columns named by where they come from, so that it is described by them.
        let mut named = Graph::default();
        for node in nodes {
            let inputs: Vec<Of> = node.inputs.iter().map(|edge| lineage.of(edge.from)).collect();
            let columns = columns(node, &inputs, &lineage);
            let mut output = node.output.clone();
            for (field, column) in output.fields.iter_mut().zip(&columns) {
                field.name.clone_from(column);
            }
            // A gap in the numbers would put others in wrong places.
            while named.nodes.len() < node.id {
                named.nodes.push(Node {
                    id: named.nodes.len(),
                    inputs: Vec::new(),
                    operator: Operator::Union,
                    ..node.clone()
                });
            }
            named.nodes.push(Node {
                output,
                ..node.clone()
            });
            let rows = rows(node, &inputs, &lineage, &named);
            let mut tables: BTreeSet<String> = inputs.iter().flat_map(|of| of.tables.clone()).collect();
            if let Operator::Source(source) = &node.operator {
                tables.insert(source.table.name.clone());
            }
            let is_first_phase = matches!(node.operator, Operator::LocalGroupAggregate(_));
            let before = node.inputs.first().filter(|_| is_first_phase);
            let of = Of {
                columns,
                rows,
                tables,
                before: before.map(|edge| edge.from),
            };
            lineage.nodes.insert(node.id, of);
        }
        lineage
    }

    fn of(&self, id: NodeId) -> Of {
        self.nodes.get(&id).cloned().unwrap_or_default()
    }

    /// What each column of a node comes from: `orders.amount`, `SUM(orders.amount)`.
    pub fn columns(&self, id: NodeId) -> &[String] {
        self.nodes.get(&id).map_or(&[], |of| &of.columns)
    }

    /// What its rows are: `orders WHERE (orders.amount > 10)`.
    pub fn rows(&self, id: NodeId) -> &str {
        self.nodes.get(&id).map_or("", |of| &of.rows)
    }

    /// The tables that its rows come from.
    pub fn tables(&self, id: NodeId) -> Vec<&str> {
        let tables = self.nodes.get(&id).map(|of| &of.tables);
        tables.into_iter().flatten().map(String::as_str).collect()
    }
}

/// Cut to a length that people read; equal texts stay equal and others differ.
pub fn cut(text: String) -> String {
    match text.char_indices().nth(LENGTH) {
        None => text,
        Some((end, _)) => format!("{}... {:016x}", &text[..end], key_group::hash(text.as_bytes())),
    }
}

/// The row of an input, with columns named by where they come from. (Types are not shown.)
fn row(of: &Of) -> RowType {
    let field = |name: &String| Field::new(name, DataType::string());
    RowType::new(of.columns.iter().map(field).collect())
}

fn columns(node: &Node, inputs: &[Of], lineage: &Lineage) -> Vec<String> {
    let none = Of::default();
    let first = inputs.first().unwrap_or(&none);
    let of = |columns: &[usize]| -> Vec<String> {
        let names = columns.iter().map(|column| first.columns.get(*column).cloned());
        names.map(Option::unwrap_or_default).collect()
    };
    // What an operator adds has the same words as what one like it before it has added, and is something else.
    let behind = |mut columns: Vec<String>, more: Vec<String>| {
        for name in more {
            let name = apart("further", name, &columns);
            columns.push(name);
        }
        columns
    };
    let windowed = |columns: Vec<String>| behind(columns, WINDOW.map(str::to_owned).into());
    let mut columns = match &node.operator {
        Operator::Source(spec) => {
            let fields = node.output.fields.iter();
            fields
                .map(|field| format!("{}.{}", spec.table.name, field.name))
                .collect()
        }
        Operator::Calc { projection, .. } => {
            let row = row(first);
            let expression = |e: &Expr| match e {
                Expr::Column { index, .. } => of(&[*index]).remove(0),
                e => cut(format_expr(e, &row)),
            };
            projection.iter().map(expression).collect()
        }
        Operator::Watermark(_)
        | Operator::ChangelogNormalize(_)
        | Operator::DropUpdateBefore
        | Operator::ConstraintEnforcer { .. }
        | Operator::SinkMaterializer(_)
        | Operator::Sink(_) => first.columns.clone(),
        Operator::Union => {
            let column = |i: usize| {
                let mut names: Vec<&str> = inputs
                    .iter()
                    .filter_map(|input| input.columns.get(i))
                    .map(String::as_str)
                    .collect();
                names.sort_unstable();
                names.dedup();
                cut(names.join(" or "))
            };
            (0..node.output.fields.len()).map(column).collect()
        }
        Operator::Values { .. } => (0..node.output.fields.len())
            .map(|i| format!("VALUES.{i}"))
            .collect(),
        Operator::WindowTable(_) => windowed(first.columns.clone()),
        Operator::Expand(_) => behind(first.columns.clone(), vec!["grouping".to_owned()]),
        Operator::GroupAggregate(plan) => [of(&plan.keys), calls(plan, first)].concat(),
        // Its states have names by position only, and are read by the second phase alone.
        Operator::LocalGroupAggregate(plan) => of(&plan.keys),
        Operator::GlobalGroupAggregate(plan) => {
            let before = node.inputs.first().and_then(|edge| lineage.of(edge.from).before);
            let before = before.map(|id| lineage.of(id)).unwrap_or_default();
            [of(&plan.keys), calls(plan, &before)].concat()
        }
        Operator::WindowAggregate(plan) => windowed([of(&plan.keys), window_calls(plan, first)].concat()),
        Operator::Rank(_) | Operator::WindowRank(_) => {
            behind(first.columns.clone(), vec!["row_number".to_owned()])
        }
        Operator::OverAggregate(plan) => {
            let call = |call: &crate::ranking::OverCall| {
                let written = call.written(&|column| of(&[column]).remove(0));
                cut(format!("{written}{} OVER", nulls(&call.parameters)))
            };
            behind(first.columns.clone(), plan.calls.iter().map(call).collect())
        }
        Operator::Join(_) | Operator::IntervalJoin(_) | Operator::WindowJoin(_) => {
            let mut columns = first.columns.clone();
            for column in inputs.get(1).map_or(&[][..], |right| &right.columns) {
                columns.push(apart("right", column.clone(), &first.columns));
            }
            columns
        }
    };
    // SEMI and ANTI give the left columns only; what is not known goes by its place.
    let known = columns.len();
    let rest = (known..node.output.fields.len()).map(|i| format!("column {i}"));
    columns.extend(rest);
    columns.truncate(node.output.fields.len());
    columns
}

/// A name that is not among these, with a word before it as often as it takes.
fn apart(word: &str, mut name: String, taken: &[String]) -> String {
    while taken.contains(&name) {
        name = cut(format!("{word} {name}"));
    }
    name
}

const WINDOW: [&str; 3] = ["window_start", "window_end", "window_time"];

fn calls(plan: &GroupAggregate, input: &Of) -> Vec<String> {
    named_calls(&plan.calls, input)
}

fn window_calls(plan: &WindowAggregate, input: &Of) -> Vec<String> {
    named_calls(&plan.calls, input)
}

fn named_calls(calls: &[AggregateCall], input: &Of) -> Vec<String> {
    let row = row(input);
    let name = |call: &AggregateCall| {
        let call_text = format_call(call, &row, false);
        cut(format!("{call_text}{}", nulls(&call.parameters)))
    };
    calls.iter().map(name).collect()
}

/// Plans do not show it; lists without nulls are others.
fn nulls(parameters: &Parameters) -> &'static str {
    match parameters.ignore_nulls {
        true => " IGNORE NULLS",
        false => "",
    }
}

/// `plan` is the plan up to this node, with columns named by where they come from.
fn rows(node: &Node, inputs: &[Of], lineage: &Lineage, plan: &Graph) -> String {
    let none = Of::default();
    let first = inputs.first().unwrap_or(&none);
    let grouped = |plan: &GroupAggregate, keys: String, input: &Of| {
        let calls = calls(plan, input).join(", ");
        format!("GroupAggregate(groupBy=[{keys}], select=[{calls}])")
    };
    let own = match &node.operator {
        Operator::Source(_) => return node.uid.trim_start_matches("source:").to_owned(),
        Operator::Calc {
            condition: Some(condition),
            ..
        } => {
            let condition = format_expr(condition, &row(first));
            return cut(format!("{} WHERE {condition}", first.rows));
        }
        // They say no other thing of the rows than those before them.
        Operator::Calc { .. }
        | Operator::Watermark(_)
        | Operator::DropUpdateBefore
        | Operator::ConstraintEnforcer { .. }
        | Operator::LocalGroupAggregate(_)
        | Operator::Sink(_) => return first.rows.clone(),
        // Which column of one goes with which of another is said by no column's name alone.
        Operator::Union => {
            let of = |of: &Of| format!("{} with {}", of.rows, of.columns.join(", "));
            let mut all: Vec<String> = inputs.iter().map(of).collect();
            all.sort_unstable();
            return cut(format!("({})", all.join(" and ")));
        }
        Operator::GroupAggregate(plan) => {
            let keys = column_names(&row(first), &plan.keys);
            grouped(plan, keys, first)
        }
        Operator::GlobalGroupAggregate(plan) => {
            let before = node.inputs.first().and_then(|edge| lineage.of(edge.from).before);
            let before = before.map(|id| lineage.of(id)).unwrap_or_default();
            let keys = column_names(&row(first), &plan.keys);
            grouped(plan, keys, &before)
        }
        // All rows are kept, whatever range of them is given out.
        Operator::Rank(rank) if rank.strategy == RankStrategy::Retract => {
            let rank = Rank {
                start: 0,
                end: 0,
                ..rank.clone()
            };
            let described = Node {
                operator: Operator::Rank(rank),
                ..plan.nodes[plan.nodes.len() - 1].clone()
            };
            let columns = first.columns.join(", ");
            format!("{} with {columns}", explain::describe(plan, &described))
        }
        // Whole rows are kept.
        Operator::Rank(_)
        | Operator::WindowRank(_)
        | Operator::OverAggregate(_)
        | Operator::WindowTable(WindowTable {
            window: Window::Session { .. },
            ..
        })
        | Operator::ChangelogNormalize(_) => format!(
            "{} with {}",
            explain::describe(plan, &plan.nodes[plan.nodes.len() - 1]),
            first.columns.join(", ")
        ),
        Operator::SinkMaterializer(spec) => format!(
            "{} by {} with {}",
            explain::describe(plan, &plan.nodes[plan.nodes.len() - 1]),
            column_names(&row(first), &spec.upsert_key),
            first.columns.join(", ")
        ),
        Operator::Values { .. }
        | Operator::WindowTable(_)
        | Operator::WindowAggregate(_)
        | Operator::Expand(_)
        | Operator::Join(_)
        | Operator::IntervalJoin(_)
        | Operator::WindowJoin(_) => explain::describe(plan, &plan.nodes[plan.nodes.len() - 1]),
    };
    let of: Vec<&str> = inputs.iter().map(|of| of.rows.as_str()).collect();
    match of.is_empty() {
        true => cut(own),
        false => cut(format!("{own} of {}", of.join(" and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_stays_another_than_a_like_one() {
        let long = |end: &str| format!("{}{end}", "ä".repeat(LENGTH));
        assert_eq!(cut("short".to_owned()), "short");
        let (a, b) = (cut(long("a")), cut(long("b")));
        assert!(a.starts_with(&"ä".repeat(LENGTH)) && a != b, "{a} {b}");
        assert_eq!(a, cut(long("a")));
    }
}
