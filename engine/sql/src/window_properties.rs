//! What the columns of a plan say of the windows that its rows are in, as far as operators hand it on: by it
//! aggregations, joins and top-Ns are told to be those of windows.

use millrace_dataflow::{OverFunction, Window, WindowColumns};
use millrace_expr::{Expr, TypeKind};

use crate::plan::{Op, Rel};

/// What a column says of the window that its row is in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowProperty {
    pub bound: WindowBound,
    pub window: Window,
    pub is_proctime: bool,
    /// The type of the window's time.
    pub time: TypeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowBound {
    Start,
    End,
    Time,
}

impl WindowBound {
    /// In the order of the columns.
    const ALL: [WindowBound; 3] = [WindowBound::Start, WindowBound::End, WindowBound::Time];
}

impl Rel {
    /// The windows that columns say, both of whose bounds are among them.
    pub fn window_columns(&self, columns: &[usize]) -> Option<(WindowColumns, WindowProperty)> {
        let of = |bound: WindowBound| {
            let says = |column: &usize| self.window_property(*column).is_some_and(|p| p.bound == bound);
            columns.iter().copied().find(|c| says(c))
        };
        let (start, end) = (of(WindowBound::Start)?, of(WindowBound::End)?);
        let (property, of_end) = (self.window_property(start)?, self.window_property(end)?);
        if (property.window, property.is_proctime) != (of_end.window, of_end.is_proctime) {
            return None;
        }
        let columns = WindowColumns {
            window: property.window,
            start,
            end,
            is_instant: matches!(property.time, TypeKind::TimestampLtz(_)),
        };
        Some((columns, property))
    }

    /// The columns of each of whose values sessions are, while all of them are still there.
    pub fn session_columns(&self) -> Option<Vec<usize>> {
        match &self.op {
            Op::WindowTable(spec) => Some(spec.partition.clone()),
            Op::WindowAggregate(spec) => Some((0..spec.keys.len()).collect()),
            Op::Calc { projection, .. } => {
                let place = |column: usize| {
                    let is = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == column);
                    projection.iter().position(is)
                };
                self.inputs[0].session_columns()?.into_iter().map(place).collect()
            }
            Op::Union | Op::Over(_) | Op::Rank(_) => self.inputs.first()?.session_columns(),
            Op::Join(join) if !join.kind.keeps_right() => self.inputs.first()?.session_columns(),
            _ => None,
        }
    }

    /// Whether its windows are those of an aggregation: in Flink the keys of that stay with its rows, whether
    /// somebody reads them or not.
    pub fn has_aggregated_windows(&self) -> bool {
        match &self.op {
            Op::WindowAggregate(_) => true,
            Op::Calc { .. } | Op::Over(_) | Op::Rank(_) => {
                self.inputs.first().is_some_and(Rel::has_aggregated_windows)
            }
            _ => false,
        }
    }

    /// What a column says of its row's window, if it does.
    pub fn window_property(&self, column: usize) -> Option<WindowProperty> {
        let last_three = |column: usize| {
            let first = self.output.fields.len() - WindowBound::ALL.len();
            WindowBound::ALL.get(column.checked_sub(first)?).copied()
        };
        match &self.op {
            Op::Calc {
                condition,
                projection,
            } => {
                let Expr::Column { index, .. } = projection.get(column)? else {
                    return None;
                };
                let input = &self.inputs[0];
                match &input.op {
                    // It becomes a top-N of windows, if it numbers rows within them and has a limit.
                    Op::Over(over) => {
                        let below = &input.inputs[0];
                        let of_rows = below.output.fields.len();
                        let numbers = over.calls.iter().all(|c| c.function == OverFunction::RowNumber);
                        let mut has_limit = false;
                        condition.as_ref()?.walk(&mut |e| {
                            has_limit |= matches!(e, Expr::Column { index, .. } if *index >= of_rows);
                        });
                        (numbers && has_limit && *index < of_rows).then_some(())?;
                        below.window_columns(&over.partition)?;
                        below.window_property(*index)
                    }
                    _ => input.window_property(*index),
                }
            }
            Op::WindowTable(spec) => Some(WindowProperty {
                bound: last_three(column)?,
                window: spec.window,
                is_proctime: spec.is_proctime,
                time: self.inputs[0].output.fields[spec.time].data_type.kind.clone(),
            }),
            Op::WindowAggregate(spec) => Some(WindowProperty {
                bound: last_three(column)?,
                window: spec.window(),
                is_proctime: spec.is_proctime(),
                time: spec.time.clone(),
            }),
            Op::Expand(expansions) => match expansions.iter().any(|e| e.nulls.contains(&column)) {
                true => None,
                false if column < self.inputs[0].output.fields.len() => {
                    self.inputs[0].window_property(column)
                }
                false => None,
            },
            Op::Union => {
                let first = self.inputs.first()?.window_property(column)?;
                let is_same = |input: &Rel| input.window_property(column).as_ref() == Some(&first);
                self.inputs.iter().all(is_same).then_some(first)
            }
            Op::Rank(rank) => {
                rank.window?;
                let input = &self.inputs[0];
                (column < input.output.fields.len()).then(|| input.window_property(column))?
            }
            // Not where nulls stand in place of a side.
            Op::Join(join) => {
                join.window?;
                match column.checked_sub(self.inputs[0].output.fields.len()) {
                    None if !join.kind.keeps_right() => self.inputs[0].window_property(column),
                    Some(column) if !join.kind.keeps_left() => self.inputs[1].window_property(column),
                    _ => None,
                }
            }
            Op::Table { .. }
            | Op::Scan { .. }
            | Op::Watermark { .. }
            | Op::Values { .. }
            | Op::ChangelogNormalize { .. }
            | Op::DropUpdateBefore
            | Op::Over(_)
            | Op::Aggregate { .. } => None,
        }
    }
}
