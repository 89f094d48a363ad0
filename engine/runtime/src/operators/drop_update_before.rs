//! An update's row as it was before goes: nobody behind needs it.

use arrow::array::BooleanArray;
use millrace_core::{Result, RowKind};

use super::{Operator, kernel};
use crate::element::{Batch, Element};

pub struct DropUpdateBefore;

impl Operator for DropUpdateBefore {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let before = RowKind::UpdateBefore as u8;
        let kept = match &batch.change.kinds {
            Some(kinds) if kinds.values().contains(&before) => {
                BooleanArray::from_iter(kinds.values().iter().map(|kind| Some(*kind != before)))
            }
            _ => {
                out.push(Element::Batch(batch));
                return Ok(());
            }
        };
        let batch = batch.filter(&kept).map_err(kernel)?;
        if !batch.change.is_empty() {
            out.push(Element::Batch(batch));
        }
        Ok(())
    }
}
