//! The keys of a batch's rows: some of its columns as bytes, and their hashes.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_core::row::{RowCodec, Rows};
use millrace_core::{Result, key_group};

pub struct Keys {
    columns: Vec<usize>,
    codec: RowCodec,
    /// Of the batch that was encoded last.
    pub rows: Rows,
    pub hashes: Vec<u64>,
}

impl Keys {
    /// Columns of batches with this schema, by index. No columns: all rows have one key.
    pub fn new(columns: &[usize], schema: &SchemaRef) -> Result<Self> {
        let types = columns.iter().map(|c| schema.field(*c).data_type().clone());
        Ok(Keys {
            columns: columns.to_vec(),
            codec: RowCodec::new(types)?,
            rows: Rows::default(),
            hashes: Vec::new(),
        })
    }

    pub fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encode_all([batch])
    }

    /// The keys of several batches, one behind the other.
    pub fn encode_all<'a>(&mut self, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<()> {
        self.rows.clear();
        self.hashes.clear();
        for batch in batches {
            if self.columns.is_empty() {
                self.rows.ends.resize(self.rows.len() + batch.num_rows(), 0);
                continue;
            }
            let columns: Vec<ArrayRef> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
            self.codec.encode(&columns, &mut self.rows)?;
        }
        self.hashes.extend(self.rows.iter().map(key_group::hash));
        Ok(())
    }

    /// The key group of each row that was encoded.
    pub fn groups(&self, max_parallelism: u16) -> Vec<u16> {
        let group = |hash: &u64| key_group::of_hash(*hash, max_parallelism);
        self.hashes.iter().map(group).collect()
    }
}
