//! UNION ALL: the merging is the input gate's, the operator itself changes nothing.

use millrace_core::Result;

use super::Operator;
use crate::element::{Batch, Element};

pub struct Union;

impl Operator for Union {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        // Splits of different inputs have equal numbers, so the runs end here.
        out.push(Element::Batch(Batch {
            splits: None,
            ..batch
        }));
        Ok(())
    }
}
