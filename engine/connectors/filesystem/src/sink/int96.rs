//! A column of INT96 timestamps: Arrow's writer has none.
//!
//! The levels say which of the nested values around each are there (Dremel, Melnik et al. 2010):
//! the definition level counts the optional and repeated fields that are present, the repetition
//! level is that of the list that goes on.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType as ArrowType, Field};
use millrace_core::{Error, Result};
use millrace_formats::time::units_per_second;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::writer::SerializedColumnWriter;

use crate::timestamps::{Zone, values};

/// The Julian day of 1970-01-01.
const EPOCH: i64 = 2_440_588;
const DAY: i64 = 86_400;

/// One step from a column towards a timestamp within it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Field(usize),
    Item,
    Key,
    Value,
}

#[derive(Debug)]
pub struct Int96Column {
    path: Vec<Step>,
    zone: Zone,
    values: Vec<Int96>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

/// For each primitive column below `field`, in Parquet's order: the way to it if it is a timestamp.
pub fn columns(field: &Field, zone: Zone) -> Vec<Option<Int96Column>> {
    fn walk(data_type: &ArrowType, path: &mut Vec<Step>, zone: Zone, out: &mut Vec<Option<Int96Column>>) {
        let mut below = |step, data_type: &ArrowType| {
            path.push(step);
            walk(data_type, path, zone, out);
            path.pop();
        };
        match data_type {
            ArrowType::Struct(fields) => fields
                .iter()
                .enumerate()
                .for_each(|(i, f)| below(Step::Field(i), f.data_type())),
            ArrowType::List(item) => below(Step::Item, item.data_type()),
            ArrowType::Map(entries, _) => {
                if let ArrowType::Struct(fields) = entries.data_type() {
                    below(Step::Key, fields[0].data_type());
                    below(Step::Value, fields[1].data_type());
                }
            }
            ArrowType::Timestamp(..) => out.push(Some(Int96Column {
                path: path.clone(),
                zone,
                values: Vec::new(),
                definitions: Vec::new(),
                repetitions: Vec::new(),
            })),
            _ => out.push(None),
        }
    }
    let mut out = Vec::new();
    walk(field.data_type(), &mut Vec::new(), zone, &mut out);
    out
}

/// Where in the levels a value is.
#[derive(Debug, Clone, Copy)]
struct Level {
    definition: i16,
    repetition: i16,
    /// Lists around it.
    lists: i16,
}

impl Int96Column {
    pub fn write(&mut self, field: &Field, array: &dyn Array) -> Result<()> {
        let path = std::mem::take(&mut self.path);
        let level = Level {
            definition: 0,
            repetition: 0,
            lists: 0,
        };
        for row in 0..array.len() {
            self.visit(array, field, row, &path, level)?;
        }
        self.path = path;
        Ok(())
    }

    /// Writes what is at `row` of an array, and at the end of the path within.
    fn visit(
        &mut self,
        array: &dyn Array,
        field: &Field,
        row: usize,
        path: &[Step],
        mut level: Level,
    ) -> Result<()> {
        if field.is_nullable() {
            if array.is_null(row) {
                self.levels(level);
                return Ok(());
            }
            level.definition += 1;
        }
        let Some((step, rest)) = path.split_first() else {
            self.values.push(int96(array, row, self.zone)?);
            self.levels(level);
            return Ok(());
        };
        match (step, field.data_type()) {
            (Step::Field(i), ArrowType::Struct(fields)) => {
                let column = array.as_struct().column(*i);
                self.visit(column.as_ref(), &fields[*i], row, rest, level)
            }
            (Step::Item, ArrowType::List(item)) => {
                let list = array.as_list::<i32>();
                let range = list.value_offsets()[row]..list.value_offsets()[row + 1];
                self.visit_all(list.values().as_ref(), item, range, rest, level)
            }
            (Step::Key | Step::Value, ArrowType::Map(entries, _)) => {
                let map = array.as_map();
                let range = map.value_offsets()[row]..map.value_offsets()[row + 1];
                let at = usize::from(matches!(step, Step::Value));
                let ArrowType::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map's entries are no struct"));
                };
                self.visit_all(map.entries().column(at).as_ref(), &fields[at], range, rest, level)
            }
            _ => Err(Error::internal("a Parquet column has another type than its rows")),
        }
    }

    fn visit_all(
        &mut self,
        array: &dyn Array,
        field: &Field,
        range: std::ops::Range<i32>,
        path: &[Step],
        level: Level,
    ) -> Result<()> {
        if range.is_empty() {
            self.levels(level);
            return Ok(());
        }
        let mut inner = Level {
            definition: level.definition + 1,
            lists: level.lists + 1,
            ..level
        };
        for row in range {
            self.visit(array, field, row as usize, path, inner)?;
            inner.repetition = inner.lists;
        }
        Ok(())
    }

    fn levels(&mut self, level: Level) {
        self.definitions.push(level.definition);
        self.repetitions.push(level.repetition);
    }

    pub fn memory(&self) -> usize {
        self.values.len() * size_of::<Int96>() + self.definitions.len() * 2 * size_of::<i16>()
    }

    /// Gives everything to the file's column, and starts again with nothing.
    pub fn flush(&mut self, mut out: SerializedColumnWriter<'_>) -> parquet::errors::Result<()> {
        let writer = out.typed::<Int96Type>();
        let descriptor = writer.get_descriptor().clone();
        let definitions = (descriptor.max_def_level() > 0).then_some(self.definitions.as_slice());
        let repetitions = (descriptor.max_rep_level() > 0).then_some(self.repetitions.as_slice());
        writer.write_batch(&self.values, definitions, repetitions)?;
        self.values.clear();
        self.definitions.clear();
        self.repetitions.clear();
        out.close()
    }
}

fn int96(array: &dyn Array, row: usize, zone: Zone) -> Result<Int96> {
    let ArrowType::Timestamp(unit, _) = array.data_type() else {
        return Err(Error::internal("a column of timestamps has none"));
    };
    let per_second = units_per_second(*unit);
    let value = values(array, *unit)[row];
    let seconds = zone.instant(value.div_euclid(per_second));
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let day = i32::try_from(seconds.div_euclid(DAY) + EPOCH)
        .map_err(|_| Error::user("a timestamp is beyond what Parquet's INT96 can hold"))?;
    let nanos = (seconds.rem_euclid(DAY) * 1_000_000_000 + nanos) as u64;
    let mut out = Int96::new();
    out.set_data(nanos as u32, (nanos >> 32) as u32, day as u32);
    Ok(out)
}
