//! A window function over a table: each row once for each of its windows, with the window's bounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use millrace_core::{Error, Result};
use millrace_dataflow::{Window, WindowTable as Plan};
use millrace_expr::RowType;
use millrace_expr::text::timestamp::Moment;
use millrace_expr::text::zone::{self, Zone};

use super::{Operator, kernel, now_millis};
use crate::element::{Batch, Element};
use crate::time::millis;

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
            for (start, end) in self.window.of_slice(self.window.slice_end(local)) {
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
        let time: PrimitiveArray<_> = TimestampMillisecondArray::from_iter_values(times);
        let fields = self.schema.fields();
        for array in [
            TimestampMillisecondArray::from(starts),
            TimestampMillisecondArray::from(ends),
            time,
        ] {
            let array: ArrayRef = Arc::new(array);
            columns.push(cast(&array, fields[columns.len()].data_type()).map_err(kernel)?);
        }
        batch.splits = None;
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
        Ok(())
    }
}

/// What clocks show at an instant, as milliseconds without a zone.
pub fn local_millis(zone: Zone, instant: i64) -> i64 {
    instant + zone::offset_at(zone, instant.div_euclid(1000)) * 1000
}

/// The instant at which clocks show a time.
pub fn instant_millis(zone: Zone, local: i64) -> i64 {
    let local = Moment::from_unit(local, TimeUnit::Millisecond);
    let instant = zone::to_instant(zone, local).to_unit(TimeUnit::Millisecond);
    // Only beyond the years that anybody counts.
    instant.unwrap_or(i64::MAX)
}
