//! An aggregation over the rows that a window function has multiplied lays the windows itself: over the
//! function's input, where each row is once. Not where a filter or an argument looks at the window: then
//! rows come with their windows.

use millrace_dataflow::{Window, Windowing};
use millrace_expr::Expr;

use super::expressions::{is_deterministic, reads};
use crate::plan::{Op, Rel, WindowAggregate, WindowTable};

pub(super) fn apply(rel: Rel) -> Rel {
    let rel = rel.map_inputs(&mut apply);
    let Op::WindowAggregate(spec) = &rel.op else {
        return rel;
    };
    match laid(spec, &rel.inputs[0]) {
        None => rel,
        Some((input, spec)) => {
            let of_keys = spec.keys.len();
            let calls = &rel.output.fields[of_keys..of_keys + spec.calls.len()];
            let names = calls.iter().map(|f| f.name.clone()).collect();
            Rel::window_aggregate(input, spec, names)
        }
    }
}

fn laid(spec: &WindowAggregate, input: &Rel) -> Option<(Rel, WindowAggregate)> {
    let Windowing::Given { start, end, .. } = spec.windowing else {
        return None;
    };
    let identity;
    let (condition, projection, table) = match &input.op {
        Op::Calc {
            condition,
            projection,
        } => (condition, projection, &input.inputs[0]),
        Op::WindowTable(_) => {
            identity = Rel::identity(&input.output);
            (&None, &identity, input)
        }
        _ => return None,
    };
    let Op::WindowTable(windows) = &table.op else {
        return None;
    };
    let below = &table.inputs[0];
    let of_rows = below.output.fields.len();
    // What stays of the rows: all but the columns that only say the window.
    let is_bound = |column: usize| column == start || column == end;
    let kept: Vec<usize> = (0..projection.len()).filter(|c| !is_bound(*c)).collect();
    let of_row = |expr: &Expr| is_deterministic(expr) && reads(expr).iter().all(|c| *c < of_rows);
    let all_of_row = kept.iter().map(|c| &projection[*c]).chain(condition).all(of_row);
    let read_elsewhere = {
        let mut of_calls = spec.calls.iter().flat_map(|call| call.columns());
        spec.keys.iter().any(|k| is_bound(*k)) || of_calls.any(is_bound)
    };
    if !all_of_row || read_elsewhere || !fits(windows, spec, projection) {
        return None;
    }
    let mut exprs: Vec<Expr> = kept.iter().map(|c| projection[*c].clone()).collect();
    let mut names: Vec<String> = kept
        .iter()
        .map(|c| input.output.fields[*c].name.clone())
        .collect();
    let time = &below.output.fields[windows.time];
    let is_time = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == windows.time);
    let known = exprs.iter().position(is_time);
    // A batch without columns has no rows to count.
    if known.is_none() && (!windows.is_proctime || exprs.is_empty()) {
        exprs.push(Expr::column(windows.time, time.data_type.clone()));
        names.push(time.name.clone());
    }
    let time_column = known.unwrap_or(exprs.len() - 1);
    let spec = spec
        .clone()
        .remapped(&|c: usize| kept.partition_point(|k| *k < c));
    let spec = WindowAggregate {
        windowing: Windowing::Laid {
            window: windows.window,
            time: (!windows.is_proctime).then_some(time_column),
        },
        ..spec
    };
    Some((Rel::calc(below.clone(), condition.clone(), exprs, names), spec))
}

/// Whether results of parts of a window have to be put together: of slices, of sessions that become one.
pub(super) fn puts_together(windowing: &Windowing) -> bool {
    match windowing {
        Windowing::Laid { window, .. } => !matches!(window, Window::Tumble { .. }),
        Windowing::Given { window, .. } => matches!(window, Window::Session { .. }),
    }
}

/// Whether the aggregation can lay these windows: each of its keys has sessions of its own.
fn fits(windows: &WindowTable, spec: &WindowAggregate, projection: &[Expr]) -> bool {
    if !matches!(windows.window, Window::Session { .. }) {
        return true;
    }
    let source = |key: &usize| match &projection[*key] {
        Expr::Column { index, .. } => Some(*index),
        _ => None,
    };
    let keys: Option<Vec<usize>> = spec.keys.iter().map(source).collect();
    keys.is_some_and(|keys| {
        keys.iter().all(|k| windows.partition.contains(k))
            && windows.partition.iter().all(|p| keys.contains(p))
    })
}
