//! From optimized plans to the dataflow graph of one job. Equal parts become one operator.

use std::collections::BTreeMap;

use millrace_dataflow::{
    Changelog, ChangelogNormalize, Edge, Graph, GroupAggregate, IntervalJoin, JoinInput, JoinKey, NodeId,
    Operator, OverAggregate, Partitioning, SinkMaterializer, SourceSpec, TimeKind, WatermarkSpec,
    WindowAggregate, WindowJoin, WindowRank, WindowTable,
};
use millrace_expr::{Expr, RowType, function};

use crate::aggregation::Aggregation;
use crate::plan::{InsertPlan, Join, Op, Rank, ReadTable, Rel, ScanColumn};
use crate::{rules, uids, upsert_keys};

/// `state_ttl` is how long state that nobody writes is kept, in milliseconds; 0 for ever.
pub(crate) fn lower(inserts: Vec<InsertPlan>, aggregation: Aggregation, state_ttl: i64) -> Graph {
    let mut lowering = Lowering {
        aggregation,
        state_ttl,
        ..Lowering::default()
    };
    for insert in inserts {
        lowering.insert(insert);
    }
    uids::distinguish(&mut lowering.graph, &lowering.queries);
    lowering.graph
}

/// The graph of a query that nobody reads, for EXPLAIN.
pub(crate) fn query(rel: Rel, aggregation: Aggregation) -> Graph {
    let mut lowering = Lowering {
        aggregation,
        ..Lowering::default()
    };
    lowering.rel(&rel, "query");
    lowering.graph
}

#[derive(Default)]
struct Lowering {
    graph: Graph,
    aggregation: Aggregation,
    state_ttl: i64,
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
            accepts: _,
            materialize: _,
            materializer,
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
            self.graph.nodes[input].changelog = query.changelog;
        }
        let key: Vec<usize> = sink
            .table
            .primary_key
            .iter()
            .filter_map(|name| sink.table.columns.iter().position(|c| c.name == *name))
            .collect();
        if let Some(upsert_key) = materializer {
            let operator = Operator::SinkMaterializer(SinkMaterializer {
                keys: key.clone(),
                upsert_key,
            });
            let (kind, shown) = ("sink-materializer", "SinkMaterializer");
            let id = self.add(kind, &name, shown, operator, vec![input], row.clone());
            self.exchange(id, 0, &key);
            self.graph.nodes[id].parallelism = parallelism;
            self.graph.nodes[id].state_ttl = vec![self.state_ttl];
            self.graph.nodes[id].changelog = Changelog {
                updates: true,
                before: false,
                deletes: true,
            };
            input = id;
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
        let output = distinct_names(rel.output.clone());
        let id = match &rel.op {
            Op::Scan { table, columns } => self.scan(table, columns, output),
            Op::Calc {
                condition,
                projection,
            } => {
                let input = self.rel(&rel.inputs[0], owner);
                let operator = Operator::Calc {
                    condition: condition.clone(),
                    projection: projection.clone(),
                };
                self.add("calc", owner, "Calc", operator, vec![input], output)
            }
            Op::Watermark { column, expression } => {
                let name = source(&rel.inputs[0]).map_or_else(|| owner.to_owned(), source_uid);
                let input = self.rel(&rel.inputs[0], &name);
                let timeout = source(&rel.inputs[0]).and_then(|table| table.traits.idle_timeout);
                let spec = WatermarkSpec {
                    column: *column,
                    expression: expression.clone(),
                    idle_timeout_millis: timeout.map(|timeout| timeout.as_millis() as i64),
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
            Op::ChangelogNormalize { keys, condition } => {
                let name = source(&rel.inputs[0]).map_or_else(|| owner.to_owned(), source_uid);
                let input = self.rel(&rel.inputs[0], &name);
                let operator = Operator::ChangelogNormalize(ChangelogNormalize {
                    keys: keys.clone(),
                    condition: condition.clone(),
                });
                let (kind, shown) = ("changelog-normalize", "ChangelogNormalize");
                let id = self.add(kind, &name, shown, operator, vec![input], output);
                self.exchange(id, 0, keys);
                id
            }
            Op::DropUpdateBefore => {
                let input = self.rel(&rel.inputs[0], owner);
                let (kind, shown) = ("drop-update-before", "DropUpdateBefore");
                self.add(
                    kind,
                    owner,
                    shown,
                    Operator::DropUpdateBefore,
                    vec![input],
                    output,
                )
            }
            Op::Union => {
                let mut ids: Vec<NodeId> = Vec::with_capacity(rel.inputs.len());
                for input in &rel.inputs {
                    let id = self.another(input, owner, &ids);
                    ids.push(id);
                }
                self.add("union", owner, "Union", Operator::Union, ids, output)
            }
            Op::Values { rows } => self.add(
                "values",
                owner,
                "Source: Values",
                Operator::Values { rows: rows.clone() },
                vec![],
                output,
            ),
            // Expanded before; without columns to read there is nothing to do but give no rows.
            Op::Table { .. } => self.add(
                "values",
                owner,
                "Source: Values",
                Operator::Values { rows: vec![] },
                vec![],
                output,
            ),
            Op::WindowTable(spec) => {
                let input = self.rel(&rel.inputs[0], owner);
                let operator = Operator::WindowTable(WindowTable {
                    window: spec.window,
                    time: (!spec.is_proctime).then_some(spec.time),
                    partition: spec.partition.clone(),
                });
                let is_keyed = operator.is_keyed();
                let id = self.add(
                    "window-table",
                    owner,
                    "WindowTableFunction",
                    operator,
                    vec![input],
                    output,
                );
                if is_keyed {
                    self.exchange(id, 0, &spec.partition);
                }
                id
            }
            Op::WindowAggregate(spec) => {
                let input = self.rel(&rel.inputs[0], owner);
                let operator = Operator::WindowAggregate(WindowAggregate {
                    windowing: spec.windowing.clone(),
                    keys: spec.keys.clone(),
                    calls: spec.calls.clone(),
                    retracts: !rel.inputs[0].changelog.is_inserts(),
                    in_parts: self.aggregation.windows_in_parts(spec),
                });
                let id = self.add(
                    "window-aggregate",
                    owner,
                    "WindowAggregate",
                    operator,
                    vec![input],
                    output,
                );
                self.exchange(id, 0, &spec.keys);
                id
            }
            Op::Expand(expansions) => {
                let input = self.rel(&rel.inputs[0], owner);
                let operator = Operator::Expand(expansions.clone());
                self.add("expand", owner, "Expand", operator, vec![input], output)
            }
            Op::Aggregate { keys, calls, .. } => {
                let input = self.rel(&rel.inputs[0], owner);
                let plan = GroupAggregate {
                    keys: keys.clone(),
                    calls: crate::monotonicity::without_retractions(&rel.inputs[0], keys, calls),
                    retracts: !rel.inputs[0].changelog.is_inserts(),
                    mini_batch: self.aggregation.mini_batch,
                };
                self.aggregate(plan, owner, input, output)
            }
            Op::Rank(Rank {
                window: Some(window),
                partition,
                order,
                start,
                end,
                with_number,
            }) => {
                let input = self.rel(&rel.inputs[0], owner);
                let mut partition = partition.clone();
                partition.retain(|column| ![window.start, window.end].contains(column));
                // The last row by time: of equal times the one that came last.
                let is_last =
                    matches!(order.as_slice(), [key] if key.time.is_some() && key.descending && *end == 1);
                let operator = Operator::WindowRank(WindowRank {
                    partition: partition.clone(),
                    window: *window,
                    order: order.clone(),
                    start: *start,
                    end: *end,
                    with_number: *with_number,
                    replaces_equal: is_last,
                });
                let id = self.add("window-rank", owner, "WindowRank", operator, vec![input], output);
                self.exchange(id, 0, &partition);
                id
            }
            Op::Rank(rank) => {
                let input = self.rel(&rel.inputs[0], owner);
                let operator = Operator::Rank(millrace_dataflow::Rank {
                    partition: rank.partition.clone(),
                    order: rank.order.clone(),
                    start: rank.start,
                    end: rank.end,
                    with_number: rank.with_number,
                    strategy: rules::rank_strategy(rel, rank),
                });
                let id = self.add("rank", owner, "Rank", operator, vec![input], output);
                self.exchange(id, 0, &rank.partition);
                id
            }
            Op::Over(over) => {
                let input = self.rel(&rel.inputs[0], owner);
                // Checked by `rules::rank`.
                let key = over.order.first();
                let operator = Operator::OverAggregate(OverAggregate {
                    partition: over.partition.clone(),
                    time: key.map_or(0, |key| key.column),
                    kind: key.and_then(|key| key.time).unwrap_or(TimeKind::Processing),
                    frame: over.frame,
                    calls: over.calls.clone(),
                });
                let id = self.add("over", owner, "OverAggregate", operator, vec![input], output);
                self.exchange(id, 0, &over.partition);
                id
            }
            Op::Join(join) => self.join(rel, join, owner, output),
        };
        self.graph.nodes[id].changelog = rel.changelog;
        self.graph.nodes[id].state_ttl = rules::state_ttl::of(&rel.op, self.state_ttl);
        if may_be_shared(rel) {
            self.made.push((rel.clone(), id));
        }
        id
    }

    fn join(&mut self, rel: &Rel, join: &Join, owner: &str, output: RowType) -> NodeId {
        let left = self.rel(&rel.inputs[0], owner);
        let right = self.another(&rel.inputs[1], owner, &[left]);
        let mut keys = join.keys.clone();
        if let Some([l, r]) = &join.window {
            let pairs = [(l.start, r.start), (l.end, r.end)];
            keys.retain(|key| !pairs.contains(&(key.left, key.right)));
        }
        let columns = |side: fn(&JoinKey) -> usize| keys.iter().map(side).collect::<Vec<_>>();
        let (of_left, of_right) = (columns(|key| key.left), columns(|key| key.right));
        let (kind, condition) = (join.kind, join.condition.clone());
        let (uid, name, operator) = match (join.interval, join.window) {
            (_, Some([left, right])) => (
                "window-join",
                "WindowJoin",
                Operator::WindowJoin(WindowJoin {
                    kind,
                    keys,
                    condition,
                    left,
                    right,
                }),
            ),
            (Some(bounds), None) => (
                "interval-join",
                "IntervalJoin",
                Operator::IntervalJoin(IntervalJoin {
                    kind,
                    keys,
                    condition,
                    bounds,
                }),
            ),
            (None, None) => (
                "join",
                "Join",
                Operator::Join(millrace_dataflow::Join {
                    kind,
                    keys,
                    condition,
                    left: join_input(&rel.inputs[0], &of_left),
                    right: join_input(&rel.inputs[1], &of_right),
                }),
            ),
        };
        let id = self.add(uid, owner, name, operator, vec![left, right], output);
        self.exchange(id, 0, &of_left);
        self.exchange(id, 1, &of_right);
        id
    }

    /// The node of a plan that is none of these: an operator has one edge to each of its inputs, so
    /// one that is read twice goes through a Calc that does nothing.
    fn another(&mut self, rel: &Rel, owner: &str, taken: &[NodeId]) -> NodeId {
        let id = self.rel(rel, owner);
        if !taken.contains(&id) {
            return id;
        }
        let operator = Operator::Calc {
            condition: None,
            projection: Rel::identity(&rel.output),
        };
        let output = distinct_names(rel.output.clone());
        let id = self.add("calc", owner, "Calc", operator, vec![id], output);
        self.graph.nodes[id].changelog = rel.changelog;
        id
    }

    fn scan(&mut self, table: &ReadTable, columns: &[ScanColumn], output: RowType) -> NodeId {
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

    /// An aggregation, in one phase or in two. The state of its groups is the same in both.
    fn aggregate(&mut self, plan: GroupAggregate, owner: &str, input: NodeId, output: RowType) -> NodeId {
        let states = self.aggregation.states(&plan);
        let (operator, input) = match states {
            None => (Operator::GroupAggregate(plan.clone()), input),
            Some(states) => {
                let keys = plan.keys.iter();
                let keys = keys.map(|key| self.graph.nodes[input].output.fields[*key].clone());
                let row = distinct_names(RowType::new(keys.chain(states).collect()));
                let local = self.add(
                    "local-group-aggregate",
                    owner,
                    "LocalGroupAggregate",
                    Operator::LocalGroupAggregate(plan.clone()),
                    vec![input],
                    row,
                );
                let global = GroupAggregate {
                    keys: (0..plan.keys.len()).collect(),
                    ..plan.clone()
                };
                (Operator::GlobalGroupAggregate(global), local)
            }
        };
        let (name, keys) = match &operator {
            Operator::GlobalGroupAggregate(global) => ("GlobalGroupAggregate", global.keys.clone()),
            _ => ("GroupAggregate", plan.keys),
        };
        let id = self.add("group-aggregate", owner, name, operator, vec![input], output);
        self.exchange(id, 0, &keys);
        id
    }

    /// Rows of a key reach the node by one subtask.
    fn exchange(&mut self, id: NodeId, input: usize, keys: &[usize]) {
        self.graph.nodes[id].inputs[input].partitioning = Partitioning::Hash { keys: keys.to_vec() };
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

/// By what a join knows the rows of an input, as Flink chooses it.
fn join_input(input: &Rel, columns: &[usize]) -> JoinInput {
    let keys = upsert_keys::within(input, columns);
    if keys.iter().any(|key| key.iter().all(|c| columns.contains(c))) {
        return JoinInput::JoinKeyContainsUniqueKey;
    }
    match keys.into_iter().min_by_key(|key| key.len()) {
        Some(key) => JoinInput::HasUniqueKey(key.into_iter().collect()),
        None => JoinInput::NoUniqueKey,
    }
}

/// The name of a table as the uids of its source have it.
fn source_uid(table: &ReadTable) -> String {
    uids::with(&table.spec.name, &table.hints)
}

/// The table that a watermark stands behind.
fn source(rel: &Rel) -> Option<&ReadTable> {
    match &rel.op {
        Op::Scan { table, .. } => Some(table),
        Op::Calc { .. } | Op::Watermark { .. } | Op::DropUpdateBefore => source(&rel.inputs[0]),
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
    let own = match &rel.op {
        Op::Calc {
            condition,
            projection,
        } => projection.iter().chain(condition).all(stable),
        Op::Join(join) => join.condition.iter().all(stable),
        Op::ChangelogNormalize { condition, .. } => condition.iter().all(stable),
        Op::Scan { .. }
        | Op::DropUpdateBefore
        | Op::Watermark { .. }
        | Op::Union
        | Op::WindowTable(_)
        | Op::WindowAggregate(_)
        | Op::Expand(_)
        | Op::Aggregate { .. }
        | Op::Over(_)
        | Op::Rank(_) => true,
        // Each reader ends with its own rows.
        Op::Values { .. } | Op::Table { .. } => false,
    };
    own && rel.inputs.iter().all(may_be_shared)
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
