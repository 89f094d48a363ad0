//! The ways in which a golden query is run. What comes out must be Flink's in each of them.

use crate::Golden;
use crate::compare::{Comparison, left, with_watermarks};
use crate::run::{Bench, Sink, written};

pub struct Variant {
    pub name: &'static str,
    settings: &'static [&'static str],
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// From the beginning to the end.
    Straight(Compared),
    /// The same, with the watermark before each row.
    PerWatermark,
    /// Stopped with a checkpoint in the middle of the input, and resumed with these settings.
    Restored(&'static [&'static str], Compared),
    /// Dies at this fail point, behind a checkpoint in the middle of the input, and is run again. The
    /// rows go into files.
    Killed(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// As the query says.
    AsTold,
    /// What is left at the end.
    Table,
}

const fn variant(name: &'static str, settings: &'static [&'static str], way: Way) -> Variant {
    Variant { name, settings, way }
}

pub const PLAIN: Variant = variant("plain", &[], Way::Straight(Compared::AsTold));

/// A watermark follows each row, as on Flink, if a batch holds one.
pub const PER_WATERMARK: Variant = variant(
    "per watermark",
    &["millrace.batch.max-rows=1", "millrace.test.print-watermarks=true"],
    Way::PerWatermark,
);

/// Which rows are late must not depend on which subtask is quicker: the source stays one.
const THREE: &[&str] = &["parallelism.default=3", "millrace.source.parallelism=1"];

pub const ALL: &[Variant] = &[
    variant(
        "batches of 1 row",
        &["millrace.batch.max-rows=1"],
        Way::Straight(Compared::AsTold),
    ),
    variant(
        "batches of 3 rows",
        &["millrace.batch.max-rows=3"],
        Way::Straight(Compared::AsTold),
    ),
    variant("parallelism 3", THREE, Way::Straight(Compared::Table)),
    variant(
        "mini-batches",
        &[
            "table.exec.mini-batch.enabled=true",
            "table.exec.mini-batch.allow-latency=1 s",
            "table.exec.mini-batch.size=2",
            "table.optimizer.agg-phase-strategy=ONE_PHASE",
        ],
        Way::Straight(Compared::Table),
    ),
    variant(
        "mini-batches in two phases",
        &[
            "table.exec.mini-batch.enabled=true",
            "table.exec.mini-batch.allow-latency=1 s",
            "table.exec.mini-batch.size=5",
            "table.optimizer.agg-phase-strategy=TWO_PHASE",
        ],
        Way::Straight(Compared::Table),
    ),
    variant(
        "wire",
        &["millrace.test.wire=true"],
        Way::Straight(Compared::AsTold),
    ),
    variant(
        "wire at parallelism 3",
        &[
            "parallelism.default=3",
            "millrace.source.parallelism=1",
            "millrace.test.wire=true",
            "pipeline.operator-chaining.enabled=false",
        ],
        Way::Straight(Compared::Table),
    ),
    variant("restored", &[], Way::Restored(&[], Compared::AsTold)),
    variant(
        "restored at parallelism 3",
        &[],
        Way::Restored(THREE, Compared::Table),
    ),
    variant(
        "restored at parallelism 1",
        THREE,
        Way::Restored(&[], Compared::Table),
    ),
    // What follows the checkpoint is lost with the last checkpoint's head.
    variant(
        "killed before the end",
        &[],
        Way::Killed("checkpoint.before-head:2"),
    ),
    // What the checkpoint holds is for the recovery to commit.
    variant(
        "killed in the middle",
        &[],
        Way::Killed("checkpoint.after-head:1"),
    ),
];

impl Variant {
    pub fn applies(&self, golden: &Golden) -> bool {
        let compared = match self.way {
            Way::PerWatermark => return golden.per_watermark,
            Way::Straight(compared) | Way::Restored(_, compared) => compared,
            // It reads the columns back that only a query has.
            Way::Killed(_) => return !golden.writes() && !golden.columns.iter().any(|c| is_no_json(c)),
        };
        match compared {
            Compared::AsTold => true,
            Compared::Table if self.has_mini_batches() => !golden.without_mini_batches,
            Compared::Table => !golden.in_order,
        }
    }

    fn has_mini_batches(&self) -> bool {
        self.settings.contains(&"table.exec.mini-batch.enabled=true")
    }

    /// What is not Flink's.
    pub fn difference(&self, golden: &Golden) -> Option<String> {
        match self.run(golden) {
            Ok(difference) => difference,
            Err(error) => Some(error),
        }
    }

    fn run(&self, golden: &Golden) -> Result<Option<String>, String> {
        match self.way {
            Way::Straight(compared) => {
                let bench = Bench::new(golden, Sink::Print);
                let (mut rows, _) = bench.run(self.settings)?;
                if golden.writes() {
                    rows = written(&bench.files());
                }
                Ok(self.compared(compared, golden).difference(&golden.rows, &rows))
            }
            Way::PerWatermark => {
                let (lines, _) = Bench::new(golden, Sink::Print).run(self.settings)?;
                let rows = with_watermarks(&lines);
                Ok(golden.comparison.difference(&golden.rows_with_watermarks, &rows))
            }
            Way::Restored(then, compared) => {
                let rows = self.restored(golden, then)?;
                Ok(self.compared(compared, golden).difference(&golden.rows, &rows))
            }
            Way::Killed(fail_point) => {
                let rows = self.killed(golden, fail_point)?;
                let columns = match &golden.comparison {
                    Comparison::Upserts(columns) => Some(columns.as_slice()),
                    _ => None,
                };
                Ok(left(&golden.rows, columns, &rows))
            }
        }
    }

    fn compared(&self, compared: Compared, golden: &Golden) -> Comparison {
        match (compared, &golden.comparison) {
            // A checkpoint ends a mini-batch.
            (Compared::AsTold, _) if matches!(self.way, Way::Restored(..)) && golden.has_mini_batches() => {
                Comparison::Table
            }
            (Compared::AsTold, as_told) => as_told.clone(),
            (Compared::Table, Comparison::Upserts(columns)) if !self.has_mini_batches() => {
                Comparison::Last(columns.clone())
            }
            (Compared::Table, _) => Comparison::Table,
        }
    }

    /// The place of the checkpoint. Batches are of one row, for it to be there exactly.
    fn middle(&self, golden: &Golden) -> [String; 2] {
        [
            format!(
                "millrace.test.checkpoint-after-rows={}",
                golden.rows_before_checkpoint
            ),
            "millrace.batch.max-rows=1".to_owned(),
        ]
    }

    /// What both runs have given, one after the other.
    fn restored(&self, golden: &Golden, then: &[&str]) -> Result<Vec<String>, String> {
        let bench = Bench::new(golden, Sink::Print);
        let checkpoints = bench.checkpoints();
        let middle = self.middle(golden);
        let mut first = self.settings.to_vec();
        first.extend([checkpoints.as_str(), "millrace.test.stop-at-checkpoint=true"]);
        first.extend(middle.iter().map(String::as_str));
        let (mut rows, log) = bench.run(&first)?;
        if !log.contains(" stopped ") {
            return Err(format!("it was not stopped in the middle:\n{log}"));
        }
        let mut files = bench.files();
        let mut second = then.to_vec();
        second.push(&checkpoints);
        let (rest, log) = bench.run(&second)?;
        if !log.contains(" restored checkpoint=") {
            return Err(format!("it was not restored:\n{log}"));
        }
        if golden.writes() {
            let later: Vec<_> = bench.files().into_iter().filter(|f| !files.contains(f)).collect();
            files.extend(later);
            return Ok(written(&files));
        }
        rows.extend(rest);
        Ok(rows)
    }

    /// What is in the files in the end.
    fn killed(&self, golden: &Golden, fail_point: &str) -> Result<Vec<String>, String> {
        let bench = Bench::new(golden, Sink::Files);
        let checkpoints = bench.checkpoints();
        let middle = self.middle(golden);
        let mut settings = self.settings.to_vec();
        settings.extend([checkpoints.as_str(), "execution.checkpointing.interval=1 h"]);
        let mut first = settings.clone();
        first.extend(middle.iter().map(String::as_str));
        bench.run_to(&first, fail_point)?;
        let (_, log) = bench.run(&settings)?;
        if !log.contains(" restored checkpoint=") {
            return Err(format!("it was not restored:\n{log}"));
        }
        bench.read_back(golden)
    }
}

/// Whether a column has maps whose keys are no strings, which the format refuses as Flink's does.
fn is_no_json(column: &str) -> bool {
    ["MULTISET<", "MAP<"].iter().any(|map| {
        let keys = column.split(map).skip(1);
        keys.into_iter()
            .any(|key| !key.starts_with("VARCHAR") && !key.starts_with("CHAR"))
    })
}
