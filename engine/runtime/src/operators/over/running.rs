//! By arrival, from the first row on: one row out for each row in, a batch at a time. The keys of
//! a batch are looked up once, and each function runs along its column.

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;
use millrace_core::Result;
use millrace_dataflow::OverAggregate;
use millrace_expr::RowType;
use millrace_state::keyed::KeyedBackend;

use super::accumulators::{Accumulators, Along};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::operators::parts::Parts;
use crate::operators::{Operator, kernel};

pub(super) struct Running {
    keys: Keys,
    accumulators: Accumulators,
    max_parallelism: u16,
    schema: SchemaRef,
    parts: Parts,
    /// A batch, and where its next part begins.
    arriving: Option<(Batch, usize)>,
}

impl Running {
    pub fn new(
        plan: &OverAggregate,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let accumulators = Accumulators::new(&plan.calls, false, backend, backend.cache_bytes)?;
        Ok(Running {
            keys: Keys::new(&plan.partition, &input.to_arrow())?,
            parts: Parts::new(accumulators.may_be_long()),
            arriving: None,
            accumulators,
            max_parallelism: backend.max_parallelism,
            schema: output.to_arrow(),
        })
    }
}

impl Running {
    fn part(&mut self, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        let rows = &batch.change.rows;
        self.accumulators.make_room(rows.num_rows())?;
        self.keys.encode(rows)?;
        let groups = self.keys.groups(self.max_parallelism);
        let slots = self
            .accumulators
            .resolve(&self.keys.rows, &self.keys.hashes, &groups)?;
        let results = self.accumulators.results(&Along {
            slots: &slots,
            columns: rows.columns(),
            retract: None,
        })?;
        self.parts.gave(rows.num_rows(), &results);
        let mut columns = rows.columns().to_vec();
        columns.extend(results);
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
        Ok(())
    }
}

impl Operator for Running {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
        self.arriving = Some((batch, 0));
        self.resume(out)
    }

    fn has_more(&self) -> bool {
        self.arriving.is_some()
    }

    fn resume(&mut self, out: &mut Vec<Element>) -> Result<()> {
        let Some((batch, from)) = self.arriving.take() else {
            return Ok(());
        };
        let to = self.parts.end(from, batch.change.len());
        if (from, to) == (0, batch.change.len()) {
            return self.part(batch, out);
        }
        let rows = UInt32Array::from_iter_values(from as u32..to as u32);
        self.part(batch.take(&rows).map_err(kernel)?, out)?;
        self.arriving = (to < batch.change.len()).then_some((batch, to));
        Ok(())
    }

    fn look_ahead(&self) -> usize {
        self.accumulators.look_ahead()
    }

    fn prefetch(&mut self, coming: &[(usize, &Batch)]) -> Result<()> {
        self.keys
            .encode_all(coming.iter().map(|(_, batch)| &batch.change.rows))?;
        let groups = self.keys.groups(self.max_parallelism);
        self.accumulators
            .prefetch(&self.keys.rows, &self.keys.hashes, &groups)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>> {
        self.accumulators.flush()?;
        Ok(Vec::new())
    }
}
