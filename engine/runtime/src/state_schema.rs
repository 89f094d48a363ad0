//! The schema of each operator's keyed state, by the plan alone: what the operators encode.

use std::collections::BTreeMap;

use millrace_core::{Result, row};
use millrace_dataflow::lineage::Lineage;
use millrace_dataflow::{
    Frame, JobGraph, JoinInput, JoinKey, Node, NodeId, Operator, OverAggregate, OverCall, Rank, RankStrategy,
    SortKey, TimeKind, Window, Windowing,
};
use millrace_expr::aggregate::AggregateCall;
use millrace_state::schema::{StateField, StateSchema};

/// The columns of a stream as schemas name them: by what they come from, whatever queries call them.
type Columns = [StateField];

/// By uid, of all operators of a job that keep state by key.
pub fn of_job(graph: &JobGraph) -> Result<BTreeMap<String, StateSchema>> {
    let nodes: BTreeMap<NodeId, &Node> = graph.operators().map(|(node, _)| (node.id, node)).collect();
    let lineage = Lineage::new(nodes.values().copied());
    let columns = |id: NodeId| -> Vec<StateField> {
        let fields = nodes.get(&id).map_or(&[][..], |node| &node.output.fields);
        let names = lineage.columns(id).iter();
        names
            .zip(fields)
            .map(|(name, field)| StateField {
                name: name.clone(),
                data_type: field.data_type.kind.to_string(),
            })
            .collect()
    };
    let mut schemas = BTreeMap::new();
    for node in nodes.values().filter(|node| node.operator.is_keyed()) {
        let mut from: Vec<NodeId> = node.inputs.iter().map(|edge| edge.from).collect();
        let inputs: Vec<Vec<StateField>> = from.iter().map(|id| columns(*id)).collect();
        let inputs: Vec<&Columns> = inputs.iter().map(Vec::as_slice).collect();
        // The calls of a second phase are over what comes into the first one.
        let arguments = match (&node.operator, from.first().and_then(|id| nodes.get(id))) {
            (Operator::GlobalGroupAggregate(_), Some(local)) => {
                from = local.inputs.iter().map(|edge| edge.from).collect();
                from.first().map(|id| columns(*id))
            }
            _ => None,
        };
        if let Some(schema) = of_operator(&node.operator, &inputs, arguments.as_deref())? {
            let rows: Vec<&str> = from.iter().map(|id| lineage.rows(*id)).collect();
            let schema = StateSchema {
                rows: rows.join(" and "),
                ..schema
            };
            schemas.insert(node.uid.clone(), schema);
        }
    }
    Ok(schemas)
}

fn of_operator(
    operator: &Operator,
    inputs: &[&Columns],
    arguments: Option<&Columns>,
) -> Result<Option<StateSchema>> {
    let Some(&input) = inputs.first() else {
        return Ok(None);
    };
    let schema = match operator {
        Operator::GroupAggregate(plan) | Operator::GlobalGroupAggregate(plan) => schema(
            "groups".to_owned(),
            columns(input, &plan.keys),
            states(&plan.calls, arguments.unwrap_or(input), plan.retracts)?,
        ),
        Operator::WindowAggregate(plan) => schema(
            windows(&plan.windowing),
            columns(input, &plan.keys),
            states(&plan.calls, input, plan.retracts)?,
        ),
        Operator::Rank(plan) => schema(ranked(plan, input), columns(input, &plan.partition), whole(input)),
        Operator::OverAggregate(plan) => schema(
            over(plan),
            columns(input, &plan.partition),
            over_fields(plan, input),
        ),
        Operator::Join(plan) => {
            let Some(&right) = inputs.get(1) else {
                return Ok(None);
            };
            let form = format!(
                "{}, left {}, right {}",
                plan.kind.name(),
                known_by(&plan.left, input),
                known_by(&plan.right, right)
            );
            schema(form, join_keys(&plan.keys, input), both(input, right))
        }
        Operator::IntervalJoin(plan) => {
            let Some(&right) = inputs.get(1) else {
                return Ok(None);
            };
            let form = format!("interval {}", plan.kind.name());
            schema(form, join_keys(&plan.keys, input), both(input, right))
        }
        Operator::WindowJoin(plan) => {
            let Some(&right) = inputs.get(1) else {
                return Ok(None);
            };
            let form = format!("rows of {}, {}", plan.left.window, plan.kind.name());
            schema(form, join_keys(&plan.keys, input), both(input, right))
        }
        Operator::WindowRank(plan) => {
            let form = format!(
                "rows of {} to {}, ordered by {}",
                plan.window.window,
                plan.end,
                ordered(&plan.order, input)
            );
            schema(form, columns(input, &plan.partition), whole(input))
        }
        Operator::WindowTable(plan) => schema(
            format!("rows of {}", plan.window),
            columns(input, &plan.partition),
            whole(input),
        ),
        Operator::ChangelogNormalize(plan) => {
            schema("newest rows".to_owned(), columns(input, &plan.keys), whole(input))
        }
        Operator::SinkMaterializer(plan) => {
            let form = format!("rows in order, told apart by {}", names(input, &plan.upsert_key));
            schema(form, columns(input, &plan.keys), whole(input))
        }
        _ => return Ok(None),
    };
    Ok(Some(schema))
}

fn schema(form: String, keys: Vec<StateField>, fields: Vec<StateField>) -> StateSchema {
    StateSchema {
        codec: row::VERSION.into(),
        form,
        keys,
        fields,
        rows: String::new(),
    }
}

fn column(row: &Columns, index: usize) -> Option<StateField> {
    row.get(index).cloned()
}

fn columns(row: &Columns, indexes: &[usize]) -> Vec<StateField> {
    indexes.iter().filter_map(|index| column(row, *index)).collect()
}

fn whole(row: &Columns) -> Vec<StateField> {
    row.to_vec()
}

fn both(left: &Columns, right: &Columns) -> Vec<StateField> {
    let of = |side: &str, row: &Columns| {
        let named = |field: StateField| StateField {
            name: format!("{side}.{}", field.name),
            ..field
        };
        whole(row).into_iter().map(named).collect::<Vec<_>>()
    };
    [of("left", left), of("right", right)].concat()
}

fn name(row: &Columns, index: usize) -> &str {
    row.get(index).map_or("clock", |field| field.name.as_str())
}

fn names(row: &Columns, indexes: &[usize]) -> String {
    let names: Vec<&str> = indexes.iter().map(|index| name(row, *index)).collect();
    format!("({})", names.join(", "))
}

fn join_keys(keys: &[JoinKey], left: &Columns) -> Vec<StateField> {
    let left_columns: Vec<usize> = keys.iter().map(|key| key.left).collect();
    columns(left, &left_columns)
}

fn known_by(input: &JoinInput, row: &Columns) -> String {
    match input {
        JoinInput::JoinKeyContainsUniqueKey => "by the join key".to_owned(),
        JoinInput::HasUniqueKey(columns) => format!("by {}", names(row, columns)),
        JoinInput::NoUniqueKey => "counted".to_owned(),
    }
}

/// The state of calls over rows, with the number of rows where they can be taken back.
fn states(calls: &[AggregateCall], row: &Columns, retracts: bool) -> Result<Vec<StateField>> {
    let rows = retracts.then(|| StateField {
        name: "rows".to_owned(),
        data_type: "BIGINT".to_owned(),
    });
    let mut fields: Vec<StateField> = rows.into_iter().collect();
    for call in calls {
        let arg = call.arg.map_or("*", |column| name(row, column));
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let filter = call.filter.map(|column| format!(" FILTER {}", name(row, column)));
        let shown = format!(
            "{}({distinct}{arg}){}",
            call.function.name(),
            filter.unwrap_or_default()
        );
        for field in call.accumulator(retracts, 0)?.fields() {
            fields.push(StateField {
                name: format!("{shown}.{}", field.name),
                data_type: field.data_type.kind.to_string(),
            });
        }
    }
    Ok(fields)
}

fn windows(windowing: &Windowing) -> String {
    match windowing {
        Windowing::Laid {
            window: window @ Window::Session { .. },
            ..
        } => format!("sessions of {window}"),
        Windowing::Laid { window, .. } => format!("slices of {window}"),
        Windowing::Given { window, .. } => format!("windows of {window}"),
    }
}

fn ranked(plan: &Rank, row: &Columns) -> String {
    if let Some(kept) = plan.deduplicates() {
        let which = if kept.keep_last { "last" } else { "first" };
        let time = kept.rowtime.map_or("clock", |column| name(row, column));
        return format!("{which} row by {time}");
    }
    let strategy = match &plan.strategy {
        RankStrategy::AppendFast => "rows of the range".to_owned(),
        RankStrategy::UpdateFast { keys } => format!("rows of the range by {}", names(row, keys)),
        RankStrategy::Retract => "all rows".to_owned(),
    };
    // What fell out of the range is gone where only the range is kept.
    let range = match plan.strategy {
        RankStrategy::Retract => String::new(),
        _ => format!(" to {}", plan.end),
    };
    format!("{strategy}{range}, ordered by {}", ordered(&plan.order, row))
}

fn ordered(keys: &[SortKey], row: &Columns) -> String {
    let order = |key: &SortKey| {
        let direction = if key.descending { "DESC" } else { "ASC" };
        let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
        format!("{} {direction} NULLS {nulls}", name(row, key.column))
    };
    let order: Vec<String> = keys.iter().map(order).collect();
    order.join(", ")
}

/// Running accumulators are all that is kept where the clock orders rows and none leaves.
fn is_running(plan: &OverAggregate) -> bool {
    plan.kind == TimeKind::Processing && matches!(plan.frame, Frame::Rows(None) | Frame::Range(None))
}

fn over(plan: &OverAggregate) -> String {
    match is_running(plan) {
        true => "running accumulators".to_owned(),
        false => format!("accumulators and rows for {}", plan.frame),
    }
}

fn over_fields(plan: &OverAggregate, row: &Columns) -> Vec<StateField> {
    let mut fields = if is_running(plan) { Vec::new() } else { whole(row) };
    let call = |call: &OverCall| StateField {
        name: call.written(&|column| name(row, column).to_owned()),
        data_type: call.data_type.kind.to_string(),
    };
    fields.extend(plan.calls.iter().map(call));
    fields
}
