//! What a person is shown of a checkpoint: its operators, and the tables of their keyed state.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use millrace_core::Result;
use serde::Serialize;

use crate::keyed::{KeyedStore, Limits};
use crate::metadata::{Metadata, OperatorState};
use crate::store::Store;

/// Tables of one subtask with more entries than this are not counted.
const COUNTED: u64 = 1_000_000;
/// Memory for blocks of the store that is looked at.
const BLOCKS: usize = 32 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub job: String,
    pub checkpoint: u64,
    /// Milliseconds since 1970, of the trigger.
    pub timestamp: i64,
    pub epoch: u64,
    /// Every source was at its end.
    pub is_final: bool,
    /// Of all state.
    pub bytes: u64,
    pub operators: Vec<Operator>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    pub uid: String,
    pub name: String,
    /// Subtasks that gave their state.
    pub parallelism: usize,
    /// Key groups in all; none without keyed state.
    pub key_groups: Option<u32>,
    /// Entries of state without a key, such as offsets of a source and transactions of a sink.
    pub entries: usize,
    pub entry_bytes: u64,
    /// Of the files of keyed state.
    pub keyed_bytes: u64,
    pub tables: Vec<Table>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    pub name: String,
    pub rows: u64,
    /// The rows were counted in every subtask; else RocksDB estimates some.
    pub rows_are_exact: bool,
    /// Of the table files that hold them.
    pub bytes: u64,
}

/// Reads all state of a checkpoint and compares its checksums. `scratch` is a folder in which files of
/// keyed state lie meanwhile, one subtask's at a time. Blocks.
pub fn inspect(store: &dyn Store, metadata: &Metadata, scratch: &Path) -> Result<Inspection> {
    let limits = Limits::new(BLOCKS);
    let operators: Result<Vec<Operator>> = metadata
        .operators
        .iter()
        .map(|operator| inspect_operator(store, operator, scratch, &limits))
        .collect();
    let operators = operators?;
    Ok(Inspection {
        job: metadata.job_name.clone(),
        checkpoint: metadata.checkpoint,
        timestamp: metadata.timestamp,
        epoch: metadata.epoch,
        is_final: metadata.is_final,
        bytes: operators.iter().map(|o| o.entry_bytes + o.keyed_bytes).sum(),
        operators,
    })
}

fn inspect_operator(
    store: &dyn Store,
    operator: &OperatorState,
    scratch: &Path,
    limits: &Limits,
) -> Result<Operator> {
    let mut seen = Operator {
        uid: operator.uid.clone(),
        name: operator.name.clone(),
        parallelism: operator.subtasks.len(),
        key_groups: None,
        entries: 0,
        entry_bytes: 0,
        keyed_bytes: 0,
        tables: Vec::new(),
    };
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for subtask in &operator.subtasks {
        for entry in &subtask.entries {
            let bytes = entry.load(store)?.len();
            seen.entries += usize::from(bytes > 0);
            seen.entry_bytes += bytes as u64;
        }
        let Some(keyed) = &subtask.keyed else { continue };
        seen.key_groups = Some(keyed.max_parallelism);
        let blobs = keyed.files.iter().filter_map(|file| file.blob.as_ref());
        seen.keyed_bytes += blobs.map(|blob| blob.len()).sum::<u64>();
        let folder = scratch.join("inspected");
        keyed.fetch(&folder, store)?;
        let sizes = KeyedStore::open_for_reading(&folder, limits)?.sizes(COUNTED)?;
        // What stays there goes with the scratch folder.
        let _ = fs::remove_dir_all(&folder);
        for size in sizes {
            let table = tables.entry(size.name.clone()).or_insert(Table {
                name: size.name,
                rows: 0,
                rows_are_exact: true,
                bytes: 0,
            });
            table.rows += size.rows;
            table.rows_are_exact &= size.is_exact;
            table.bytes += size.bytes;
        }
    }
    seen.tables = tables.into_values().collect();
    Ok(seen)
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = match chrono::DateTime::from_timestamp_millis(self.timestamp) {
            Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
            None => format!("{} ms", self.timestamp),
        };
        writeln!(f, "Checkpoint {} of job '{}'", self.checkpoint, self.job)?;
        writeln!(
            f,
            "taken {taken}, epoch {}, {} bytes of state{}",
            self.epoch,
            self.bytes,
            if self.is_final {
                ", at the end of all input"
            } else {
                ""
            }
        )?;
        let mut lines = vec![row([
            "OPERATOR",
            "NAME",
            "PARALLELISM",
            "KEY GROUPS",
            "ENTRIES",
            "BYTES",
        ])];
        for o in &self.operators {
            lines.push(vec![
                o.uid.clone(),
                o.name.clone(),
                o.parallelism.to_string(),
                o.key_groups.map_or("-".to_owned(), |n| n.to_string()),
                o.entries.to_string(),
                (o.entry_bytes + o.keyed_bytes).to_string(),
            ]);
        }
        writeln!(f)?;
        table(f, &lines, 2)?;
        let tables = || {
            self.operators
                .iter()
                .flat_map(|o| o.tables.iter().map(move |t| (o, t)))
        };
        if tables().next().is_none() {
            return Ok(());
        }
        let mut lines = vec![row(["OPERATOR", "TABLE", "ROWS", "BYTES"])];
        for (operator, table) in tables() {
            let sign = if table.rows_are_exact { "" } else { "~" };
            lines.push(vec![
                operator.uid.clone(),
                table.name.clone(),
                format!("{sign}{}", table.rows),
                table.bytes.to_string(),
            ]);
        }
        writeln!(f)?;
        table(f, &lines, 2)?;
        if tables().any(|(_, table)| !table.rows_are_exact) {
            writeln!(f, "\n~ estimated by RocksDB")?;
        }
        Ok(())
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Writes lines of cells in columns; those from `numbers` on are set to the right.
fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>], numbers: usize) -> fmt::Result {
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|l| l.get(column))
            .map(|c| c.chars().count())
            .max()
    };
    for line in lines {
        let mut text = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            match column < numbers {
                true => text.push_str(&format!("{cell:<width$}  ")),
                false => text.push_str(&format!("{cell:>width$}  ")),
            }
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}
