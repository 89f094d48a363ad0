//! What a join keeps of a side: its rows by join key, and within it by what they are known by.

use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use millrace_core::row::Rows;
use millrace_core::{Error, Result};
use millrace_dataflow::JoinInput;
use millrace_expr::RowType;
use millrace_state::keyed::{KeyedBackend, MapTable};

use crate::changes::WholeRows;
use crate::keys::Keys;

/// Rows of a key that are read at once where not all of them have room, and their bytes: of a sixteenth of the memory
/// no more than that.
const PIECE: usize = 1 << 12;
const PIECE_BYTES: usize = 1 << 20;

pub struct Side {
    pub keys: Keys,
    pub rows: WholeRows,
    pub table: MapTable,
    form: Form,
    /// Partners are counted.
    counts: bool,
    /// Bytes of rows that are read at once.
    piece: usize,
    /// Key columns in which a null equals nothing.
    strict: Vec<usize>,
}

enum Form {
    /// One row at most.
    Single,
    /// By its unique key.
    Unique(Keys),
    /// By itself, with how often it is there.
    Counted,
}

/// A row of state, as often as it is there.
pub struct Record {
    entry: Box<[u8]>,
    pub row: Box<[u8]>,
    pub times: i64,
    /// Rows of the other side that it has met; counted where that matters.
    pub partners: i64,
}

impl Side {
    /// `columns` are those of the join key, and whether nulls in it are equal.
    pub fn new(
        name: &str,
        columns: &[(usize, bool)],
        input: &JoinInput,
        counts: bool,
        row: &RowType,
        backend: &KeyedBackend,
    ) -> Result<Self> {
        let schema: SchemaRef = row.to_arrow();
        let keys: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        let strict = columns.iter().filter(|(_, null_safe)| !null_safe);
        Ok(Side {
            keys: Keys::new(&keys, &schema)?,
            rows: WholeRows::new(&schema)?,
            table: MapTable::open(&backend.store, name, backend.cache_bytes)?.with_large_maps(),
            form: match input {
                JoinInput::JoinKeyContainsUniqueKey => Form::Single,
                JoinInput::HasUniqueKey(columns) => Form::Unique(Keys::new(columns, &schema)?),
                JoinInput::NoUniqueKey => Form::Counted,
            },
            counts,
            piece: (backend.cache_bytes / 16).min(PIECE_BYTES),
            strict: strict.map(|(column, _)| *column).collect(),
        })
    }

    pub fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        self.keys.encode(rows)?;
        match &mut self.form {
            Form::Unique(keys) => keys.encode(rows),
            Form::Single | Form::Counted => Ok(()),
        }
    }

    /// The unique keys of the batch that was encoded last.
    pub fn take_unique(&mut self) -> Option<Rows> {
        match &mut self.form {
            Form::Unique(keys) => Some(std::mem::take(&mut keys.rows)),
            Form::Single | Form::Counted => None,
        }
    }

    /// Rows that have no partner ever.
    pub fn never(&self, rows: &RecordBatch) -> Vec<bool> {
        let mut never = vec![false; rows.num_rows()];
        for column in self.strict.iter().map(|c| rows.column(*c)) {
            if column.null_count() > 0 {
                never
                    .iter_mut()
                    .enumerate()
                    .for_each(|(row, never)| *never |= column.is_null(row));
            }
        }
        never
    }

    /// Appends the rows of a key.
    pub fn records(&self, slot: u32, records: &mut Vec<Record>) -> Result<()> {
        for (entry, value) in self.table.iter(slot) {
            records.push(self.record(entry, value)?);
        }
        Ok(())
    }

    /// Appends some rows of a key, from an entry on; the entry to go on with, if there are more.
    pub fn some_records(&self, slot: u32, from: &[u8], records: &mut Vec<Record>) -> Result<Option<Vec<u8>>> {
        let (mut next, mut bytes) = (None, 0);
        self.table.each_from(slot, from, |entry, value| {
            if records.len() == PIECE || bytes > self.piece {
                next = Some(entry.to_vec());
                return Ok(false);
            }
            records.push(self.record(entry, value)?);
            bytes += entry.len() + value.len();
            Ok(true)
        })?;
        Ok(next)
    }

    fn record(&self, entry: &[u8], value: &[u8]) -> Result<Record> {
        let (number, row) = value.split_first_chunk().ok_or_else(damaged)?;
        let number = i64::from_be_bytes(*number);
        Ok(match self.form {
            Form::Counted => {
                let partners = row.try_into().map_err(|_| damaged())?;
                Record {
                    entry: entry.into(),
                    row: entry.into(),
                    times: number,
                    partners: i64::from_be_bytes(partners),
                }
            }
            Form::Single | Form::Unique(_) => Record {
                entry: entry.into(),
                row: row.into(),
                times: 1,
                partners: number,
            },
        })
    }

    fn entry<'a>(&self, unique: &'a [u8], row: &'a [u8]) -> &'a [u8] {
        match self.form {
            Form::Single => &[],
            Form::Unique(_) => unique,
            Form::Counted => row,
        }
    }

    pub fn add(&mut self, slot: u32, unique: &[u8], row: &[u8], partners: i64) -> Result<()> {
        let times = match self.form {
            Form::Counted => self.counted(slot, row)?.0 + 1,
            Form::Single | Form::Unique(_) => 1,
        };
        let entry = self.entry(unique, row).to_vec();
        self.put(slot, &entry, row, times, partners)
    }

    fn put(&mut self, slot: u32, entry: &[u8], row: &[u8], times: i64, partners: i64) -> Result<()> {
        let value = match self.form {
            Form::Counted => [times.to_be_bytes(), partners.to_be_bytes()].concat(),
            Form::Single | Form::Unique(_) => [&partners.to_be_bytes(), row].concat(),
        };
        self.table.write(slot, entry, Some(&value))
    }

    /// How often a row is there that is known by itself, and its partners.
    fn counted(&self, slot: u32, row: &[u8]) -> Result<(i64, i64)> {
        let Some(value) = self.table.read(slot, row)? else {
            return Ok((0, 0));
        };
        let (times, partners) = value.split_first_chunk().ok_or_else(damaged)?;
        let partners = partners.try_into().map_err(|_| damaged())?;
        Ok((i64::from_be_bytes(*times), i64::from_be_bytes(partners)))
    }

    pub fn take_back(&mut self, slot: u32, unique: &[u8], row: &[u8]) -> Result<()> {
        let entry = self.entry(unique, row).to_vec();
        let (times, partners) = match self.form {
            Form::Counted => self.counted(slot, row)?,
            Form::Single | Form::Unique(_) => (1, 0),
        };
        match times > 1 {
            true => self.put(slot, &entry, row, times - 1, partners),
            false => self.table.write(slot, &entry, None),
        }
    }

    /// Keeps how many partners a row has now.
    pub fn set_partners(&mut self, slot: u32, record: &Record) -> Result<()> {
        match self.counts {
            true => self.put(slot, &record.entry, &record.row, record.times, record.partners),
            false => Ok(()),
        }
    }
}

fn damaged() -> Error {
    Error::data_loss("the stored rows of a join have another form")
}
