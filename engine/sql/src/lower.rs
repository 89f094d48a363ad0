//! From optimized plans to the dataflow graph of one job. Equal parts become one operator.

use std::collections::BTreeMap;

use millrace_dataflow::{Edge, Graph, NodeId, Operator, Partitioning, SourceSpec, WatermarkSpec};
use millrace_expr::{Expr, RowType, function};

use crate::plan::{InsertPlan, ReadTable, Rel, ScanColumn};
use crate::uids;

pub(crate) fn lower(inserts: Vec<InsertPlan>) -> Graph {
    let mut lowering = Lowering::default();
    for insert in inserts {
        lowering.insert(insert);
    }
    uids::distinguish(&mut lowering.graph, &lowering.queries);
    lowering.graph
}

/// The graph of a query that nobody reads, for EXPLAIN.
pub(crate) fn query(rel: Rel) -> Graph {
    let mut lowering = Lowering::default();
    lowering.rel(&rel, "query");
    lowering.graph
}

#[derive(Default)]
struct Lowering {
    graph: Graph,
    /// What each node that may be shared was made from.
    made: Vec<(Rel, NodeId)>,
    /// The text of each sink's query.
    queries: BTreeMap<NodeId, String>,
}

impl Lowering {
    fn insert(&mut self, insert: InsertPlan) {
        let InsertPlan {
            query,
            sink,
            parallelism,
            not_null,
            drop,
            text,
        } = insert;
        let name = sink.table.name.clone();
        let mut input = self.rel(&query, &name);
        let mut row = sink.input();
        if !not_null.is_empty() {
            let operator = Operator::ConstraintEnforcer { not_null, drop };
            input = self.add(
                "not-null",
                &name,
                "ConstraintEnforcer",
                operator,
                vec![input],
                row.clone(),
            );
        }
        // The names that EXPLAIN shows are those of the columns, not the connector's keys.
        let metadata = sink.table.metadata.iter().filter(|m| !m.is_virtual);
        let physical = sink.table.columns.len();
        for (field, column) in row.fields.iter_mut().skip(physical).zip(metadata) {
            field.name.clone_from(&column.column);
        }
        let shown = format!("Sink: {name}");
        let id = self.add("sink", &name, &shown, Operator::Sink(sink), vec![input], row);
        self.graph.nodes[id].parallelism = parallelism;
        self.queries.insert(id, text);
    }

    /// The node of a plan; `owner` is the sink that it is made for.
    fn rel(&mut self, rel: &Rel, owner: &str) -> NodeId {
        if let Some((_, id)) = self.made.iter().find(|(made, _)| made == rel) {
            return *id;
        }
        let output = distinct_names(rel.output());
        let id = match rel {
            Rel::Scan { table, columns } => {
                let pick = |wanted: fn(&ScanColumn) -> Option<usize>| columns.iter().filter_map(wanted);
                let spec = SourceSpec {
                    table: table.spec.clone(),
                    projection: pick(|c| match c {
                        ScanColumn::Physical(i) => Some(*i),
                        ScanColumn::Metadata(_) => None,
                    })
                    .collect(),
                    metadata: pick(|c| match c {
                        ScanColumn::Metadata(i) => Some(*i),
                        ScanColumn::Physical(_) => None,
                    })
                    .map(|i| table.metadata[i].clone())
                    .collect(),
                };
                let name = table.spec.name.clone();
                let id = self.add(
                    "source",
                    &source_uid(table),
                    &format!("Source: {name}"),
                    Operator::Source(spec),
                    vec![],
                    output,
                );
                self.graph.nodes[id].parallelism = table.traits.parallelism;
                id
            }
            Rel::Calc {
                input,
                condition,
                projection,
                ..
            } => {
                let input = self.rel(input, owner);
                let operator = Operator::Calc {
                    condition: condition.clone(),
                    projection: projection.clone(),
                };
                self.add("calc", owner, "Calc", operator, vec![input], output)
            }
            Rel::Watermark {
                input,
                column,
                expression,
            } => {
                let name = source(input).map_or_else(|| owner.to_owned(), source_uid);
                let input = self.rel(input, &name);
                let spec = WatermarkSpec {
                    column: *column,
                    expression: expression.clone(),
                };
                self.add(
                    "watermark",
                    &name,
                    "WatermarkAssigner",
                    Operator::Watermark(spec),
                    vec![input],
                    output,
                )
            }
            Rel::Union { inputs, .. } => {
                let mut ids: Vec<NodeId> = Vec::with_capacity(inputs.len());
                for input in inputs {
                    let mut id = self.rel(input, owner);
                    // An operator has one edge to each of its inputs: one that is read twice goes
                    // through a Calc that does nothing.
                    if ids.contains(&id) {
                        let projection = Rel::identity(&input.output());
                        let operator = Operator::Calc {
                            condition: None,
                            projection,
                        };
                        id = self.add(
                            "calc",
                            owner,
                            "Calc",
                            operator,
                            vec![id],
                            distinct_names(input.output()),
                        );
                    }
                    ids.push(id);
                }
                self.add("union", owner, "Union", Operator::Union, ids, output)
            }
            Rel::Values { rows, .. } => self.add(
                "values",
                owner,
                "Source: Values",
                Operator::Values { rows: rows.clone() },
                vec![],
                output,
            ),
            // Expanded before; without columns to read there is nothing to do but give no rows.
            Rel::Table { .. } => self.add(
                "values",
                owner,
                "Source: Values",
                Operator::Values { rows: vec![] },
                vec![],
                output,
            ),
        };
        if may_be_shared(rel) {
            self.made.push((rel.clone(), id));
        }
        id
    }

    /// Adds a node. What it does and for whom is its uid, until `uids` tells equal ones apart.
    fn add(
        &mut self,
        kind: &str,
        owner: &str,
        name: &str,
        operator: Operator,
        inputs: Vec<NodeId>,
        output: RowType,
    ) -> NodeId {
        let uid = format!("{kind}:{owner}");
        let name = format!("{name}[{}]", self.graph.nodes.len() + 1);
        let inputs = inputs
            .into_iter()
            .map(|from| Edge {
                from,
                partitioning: Partitioning::Forward,
            })
            .collect();
        self.graph.add(uid, name, operator, inputs, output)
    }
}

/// The name of a table as the uids of its source have it.
fn source_uid(table: &ReadTable) -> String {
    uids::with(&table.spec.name, &table.hints)
}

/// The table that a watermark stands behind.
fn source(rel: &Rel) -> Option<&ReadTable> {
    match rel {
        Rel::Scan { table, .. } => Some(table),
        Rel::Calc { input, .. } => source(input),
        _ => None,
    }
}

/// Equal plans give equal rows, unless they hold what gives another value each time.
fn may_be_shared(rel: &Rel) -> bool {
    let stable = |e: &Expr| {
        let mut stable = true;
        e.walk(&mut |e| {
            if let Expr::Call { function, .. } = e {
                stable &= function::is_deterministic(function);
            }
        });
        stable
    };
    match rel {
        Rel::Calc {
            input,
            condition,
            projection,
            ..
        } => projection.iter().chain(condition).all(stable) && may_be_shared(input),
        Rel::Watermark { input, .. } => may_be_shared(input),
        Rel::Union { inputs, .. } => inputs.iter().all(may_be_shared),
        Rel::Scan { .. } => true,
        // Each reader ends with its own rows.
        Rel::Values { .. } | Rel::Table { .. } => false,
    }
}

/// Columns of a stream have names of their own: `a`, `a0`, `a1`.
fn distinct_names(mut row: RowType) -> RowType {
    for i in 0..row.fields.len() {
        let taken = |name: &str| row.fields[..i].iter().any(|f| f.name == name);
        if taken(&row.fields[i].name) {
            let base = row.fields[i].name.clone();
            let free = (0..).map(|n| format!("{base}{n}")).find(|n| !taken(n));
            if let Some(name) = free {
                row.fields[i].name = name;
            }
        }
    }
    row
}
