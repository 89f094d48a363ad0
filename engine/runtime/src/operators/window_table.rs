//! A window function over a table: each row once for each of its windows, with the window's bounds.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use millrace_core::{Error, Result};
use millrace_dataflow::{Window, WindowTable as Plan};
use millrace_expr::RowType;
use millrace_expr::text::zone::Zone;

use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};
use crate::time::{instant_millis, local_millis, millis, timestamps};

pub struct WindowTable {
    window: Window,
    time: Option<usize>,
    /// Where the time is an instant, or the clock's: windows are laid over what clocks show here.
    zone: Option<Zone>,
    schema: SchemaRef,
}

impl WindowTable {
    pub fn new(plan: &Plan, output: &RowType, zone: Zone) -> Result<Self> {
        if plan.window.slice().is_none() {
            return Err(Error::internal("sessions were planned row by row"));
        }
        let schema = output.to_arrow();
        let is_instant = match plan.time {
            None => true,
            Some(column) => matches!(schema.field(column).data_type(), DataType::Timestamp(_, Some(_))),
        };
        Ok(WindowTable {
            window: plan.window,
            time: plan.time,
            zone: is_instant.then_some(zone),
            schema,
        })
    }
}

impl Operator for WindowTable {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let rows = batch.change.len();
        let times = match self.time {
            Some(column) => millis(batch.change.rows.column(column))?,
            None => vec![now_millis(); rows],
        };
        let (mut of_row, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in times.into_iter().enumerate() {
            let local = self.zone.map_or(time, |zone| local_millis(zone, time));
            let mut windows = self.window.of_slice(self.window.slice_end(local));
            // Flink's order.
            if matches!(self.window, Window::Hop { .. }) {
                windows.reverse();
            }
            for (start, end) in windows {
                of_row.push(row as u32);
                starts.push(start);
                ends.push(end);
            }
        }
        if of_row.is_empty() {
            return Ok(());
        }
        let mut batch = match of_row.len() == rows && of_row.iter().copied().eq(0..rows as u32) {
            true => batch,
            false => batch.take(&UInt32Array::from(of_row)).map_err(kernel)?,
        };
        let times = ends.iter().map(|end| match self.zone {
            None => end - 1,
            Some(zone) => instant_millis(zone, end - 1),
        });
        let mut columns = batch.change.rows.columns().to_vec();
        let times = times.collect();
        columns.extend(bounds_columns(
            starts,
            ends,
            times,
            &self.schema.fields()[columns.len()..],
        )?);
        batch.splits = None;
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
        Ok(())
    }
}

/// A window's start, end and time in milliseconds, as columns of these fields.
pub(super) fn bounds_columns(
    starts: Vec<i64>,
    ends: Vec<i64>,
    times: Vec<i64>,
    fields: &[FieldRef],
) -> Result<Vec<ArrayRef>> {
    let column = |(millis, field): (Vec<i64>, &FieldRef)| timestamps(millis, field.data_type());
    [starts, ends, times]
        .into_iter()
        .zip(fields)
        .map(column)
        .collect()
}
