//! Sort keys as bytes that compare as ORDER BY says.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_core::Result;
use millrace_core::row::{RowCodec, Rows};
use millrace_dataflow::SortKey;

pub struct Order {
    columns: Vec<Column>,
}

struct Column {
    index: usize,
    descending: bool,
    nulls_first: bool,
    codec: RowCodec,
}

impl Order {
    pub fn new(keys: &[&SortKey], schema: &SchemaRef) -> Result<Self> {
        let columns = keys.iter().map(|key| {
            Ok(Column {
                index: key.column,
                descending: key.descending,
                nulls_first: key.nulls_first,
                codec: RowCodec::new([schema.field(key.column).data_type().clone()])?,
            })
        });
        Ok(Order {
            columns: columns.collect::<Result<_>>()?,
        })
    }

    pub fn encode(&self, batch: &RecordBatch) -> Result<Rows> {
        let mut encoded = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let mut rows = Rows::default();
            column
                .codec
                .encode(std::slice::from_ref(batch.column(column.index)), &mut rows)?;
            encoded.push(rows);
        }
        let mut all = Rows::default();
        for row in 0..batch.num_rows() {
            for (column, rows) in self.columns.iter().zip(&encoded) {
                column.push(rows.get(row), &mut all.data);
            }
            all.ends.push(all.data.len());
        }
        Ok(all)
    }
}

impl Column {
    fn push(&self, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        match self.descending {
            // No value's bytes are the beginning of another's, so what is flipped sorts the other way round.
            true => out.extend(value.iter().map(|b| !b)),
            false => out.extend_from_slice(value),
        }
        // The first byte says whether it is null: that goes its own way.
        let is_null = value.first() == Some(&0);
        if let Some(first) = out.get_mut(start) {
            *first = u8::from(is_null != self.nulls_first);
        }
    }
}
