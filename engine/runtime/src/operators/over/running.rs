//! By arrival, from the first row on: one row out for each row in, a batch at a time. The keys of
//! a batch are looked up once, and each function runs along its column.

use arrow::datatypes::SchemaRef;
use millrace_core::Result;
use millrace_dataflow::OverAggregate;
use millrace_expr::RowType;
use millrace_state::keyed::KeyedBackend;

use super::accumulators::{Accumulators, Along};
use crate::element::{Batch, Element};
use crate::keys::Keys;
use crate::operators::{Operator, kernel};

pub(super) struct Running {
    keys: Keys,
    accumulators: Accumulators,
    max_parallelism: u16,
    schema: SchemaRef,
}

impl Running {
    pub fn new(
        plan: &OverAggregate,
        input: &RowType,
        output: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        Ok(Running {
            keys: Keys::new(&plan.partition, &input.to_arrow())?,
            accumulators: Accumulators::new(&plan.calls, false, backend)?,
            max_parallelism: backend.max_parallelism,
            schema: output.to_arrow(),
        })
    }
}

impl Operator for Running {
    fn batch(&mut self, _: usize, batch: Batch, out: &mut Vec<Element>) -> Result<()> {
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
        let mut columns = rows.columns().to_vec();
        columns.extend(results);
        let batch = batch.with_columns(self.schema.clone(), columns).map_err(kernel)?;
        out.push(Element::Batch(batch));
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
