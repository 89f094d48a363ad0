//! Files that a run resumes from are spoiled: whatever it is, it is found, and said with what to do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::kafka::Kafka;
use millrace_testkit::s3::S3;

use super::faults::{LIMIT, RATE, says};
use crate::job::{RunOptions, Shape};
use crate::keyed::checker::Times;
use crate::workbench::{Line, Summary, Workbench};

/// A kind of file.
type Choice = fn(&Path) -> bool;

/// What is done to a file, by its bytes; none: it is taken away.
type Damage = fn(&[u8]) -> Option<Vec<u8>>;

const TRUNCATED: (&str, Damage) = ("truncated", |bytes| Some(bytes[..bytes.len() / 2].to_vec()));
const EMPTIED: (&str, Damage) = ("emptied", |_| Some(Vec::new()));
const ALTERED: (&str, Damage) = ("altered", |bytes| {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    Some(bytes)
});
const MISSING: (&str, Damage) = ("missing", |_| None);

/// A file that is not as it was, until it is mended.
struct Damaged {
    file: PathBuf,
    good: Vec<u8>,
}

impl Damaged {
    fn by(damage: Damage, file: &Path) -> Result<Damaged> {
        let good = fs::read(file)?;
        match damage(&good) {
            Some(bytes) => fs::write(file, bytes)?,
            None => fs::remove_file(file)?,
        }
        Ok(Damaged {
            file: file.to_owned(),
            good,
        })
    }

    fn mend(self) -> Result<()> {
        Ok(fs::write(self.file, self.good)?)
    }
}

/// The job does not start, and says each of these.
fn refused(bench: &mut Workbench, what: &str, texts: &[&str]) -> Result<()> {
    let mut run = bench.start(&RunOptions::parallel(2))?;
    let status = run
        .ended_within(LIMIT)?
        .with_context(|| format!("the job goes on from {what}:\n{}", run.process.log_tail()))?;
    ensure!(!status.success(), "the job ended as if nothing had happened");
    for text in texts {
        says(&run, text).with_context(|| what.to_owned())?;
    }
    Ok(())
}

/// Every way to spoil a head, a checkpoint's description and a state file of a sink.
pub fn files_altered(kafka: &Kafka, s3: Option<&S3>) -> Result<Summary> {
    let mut bench = Workbench::new(kafka, Line::Plain, "files-altered", RATE)?;
    let mut place = bench.checkpoints();
    if let Some(s3) = s3 {
        bench.use_s3(s3);
        place = s3.file("checkpoints");
    }
    // State is put into a file of its own beyond 20 KiB. One handle of a transaction makes that with
    // an id as long as this.
    bench.job.transactional_id_prefix += &"-long".repeat(4200);
    let is_metadata: Choice = |file| file.ends_with("_metadata");
    let is_state: Choice = |file| !file.ends_with("_metadata") && checkpoint_of(file).is_some();
    // A file in a file system, the only one of its name in a bucket.
    let is_head: Choice =
        |file| file.ends_with("head") || file.parent().is_some_and(|folder| folder.ends_with("head"));
    // The checkpoint of a stop that comes right behind another one holds no transaction.
    for _ in 0..10 {
        if files_below(&place)?.iter().any(|file| is_state(file)) {
            break;
        }
        let mut run = bench.start(&RunOptions::parallel(2))?;
        bench.wait_for_progress(&mut run, LIMIT)?;
        bench.summary.add(&run.stop()?);
    }
    // (That the newest of several heads is missing nobody can see.)
    for (choice, (what, damage)) in [
        (is_metadata, TRUNCATED),
        (is_metadata, EMPTIED),
        (is_metadata, ALTERED),
        (is_metadata, MISSING),
        (is_state, TRUNCATED),
        (is_state, EMPTIED),
        (is_state, ALTERED),
        (is_state, MISSING),
        (is_head, TRUNCATED),
        (is_head, EMPTIED),
        (is_head, ALTERED),
    ] {
        // Every start writes a head of its own, so the newest is looked for each time.
        let files = files_below(&place)?;
        let newest = files
            .iter()
            .filter(|file| choice(file))
            .max_by_key(|file| number_in(file));
        let file = newest.with_context(|| format!("not among {files:?}"))?;
        let damaged = Damaged::by(damage, file)?;
        refused(&mut bench, &format!("{} {what}", file.display()), &["hint:"])?;
        damaged.mend()?;
    }
    let run = bench.start(&RunOptions::parallel(1))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// The same of a table file of state by key. With it gone for good an older retained checkpoint is there.
pub fn keyed_files_altered(kafka: &Kafka, s3: Option<&S3>) -> Result<Summary> {
    let mut bench = Workbench::of(kafka, Line::Plain, Shape::Keyed, "keyed-files-altered", RATE)?;
    bench.job.option("execution.checkpointing.num-retained", "4");
    let mut place = bench.checkpoints();
    if let Some(s3) = s3 {
        bench.use_s3(s3);
        place = s3.file("checkpoints");
    }
    // By then there is an older one of a clean stop.
    for _ in 0..2 {
        let mut run = bench.start(&RunOptions::parallel(2))?;
        bench.wait_for_progress(&mut run, LIMIT)?;
        bench.summary.add(&run.stop()?);
    }
    let files = files_below(&place)?;
    let checkpoints = files.iter().filter(|file| file.ends_with("_metadata"));
    let mut checkpoints: Vec<u64> = checkpoints.filter_map(|file| checkpoint_of(file)).collect();
    checkpoints.sort_unstable();
    let &[.., older, newest] = checkpoints.as_slice() else {
        bail!("not two checkpoints: {checkpoints:?}");
    };
    let of_newest = files.iter().filter(|file| checkpoint_of(file) == Some(newest));
    let mut tables = Vec::new();
    for file in of_newest {
        if fs::read(file)?.ends_with(TABLE_END) {
            tables.push(file);
        }
    }
    let file = *tables
        .first()
        .with_context(|| format!("checkpoint {newest} has no table files of its own"))?;
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    for (what, damage) in [TRUNCATED, ALTERED, MISSING] {
        let damaged = Damaged::by(damage, file)?;
        let texts = [
            "a state file of the checkpoint",
            name,
            "another checkpoint with --from",
        ];
        refused(&mut bench, &format!("{} {what}", file.display()), &texts)?;
        damaged.mend()?;
    }
    let _lost = Damaged::by(MISSING.1, file)?;
    let of_job = file.ancestors().nth(2).context("no folder of the job")?;
    let from = of_job.join(format!("chk-{older}"));
    let from = match s3 {
        None => from.display().to_string(),
        Some(s3) => s3.url(&from.strip_prefix(s3.bucket())?.display().to_string()),
    };
    let mut run = bench.start(&RunOptions {
        arguments: vec!["--from".to_owned(), from],
        ..RunOptions::parallel(3)
    })?;
    run.wait_for_log(&format!("restored checkpoint={older}"), LIMIT)?;
    bench.wait_for_progress(&mut run, LIMIT)?;
    // What comes next goes on from the checkpoints of that run.
    bench.summary.add(&run.stop()?);
    bench.times = Times::AgainSinceAnOlderCheckpoint;
    let run = bench.start(&RunOptions::parallel(2))?;
    bench.finish(kafka, run)?;
    Ok(bench.summary)
}

/// How RocksDB ends a table file: the magic number of tables in blocks.
const TABLE_END: &[u8] = &0x88e2_41b7_85f4_cff7_u64.to_le_bytes();

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// The checkpoint that a file belongs to: `chk-12/_metadata`, `chk-12/<uuid>`.
fn checkpoint_of(path: &Path) -> Option<u64> {
    let folder = path.parent()?.file_name()?.to_str()?;
    folder.strip_prefix("chk-")?.split('-').next()?.parse().ok()
}

/// The number of the checkpoint or of the head: `head/7`.
fn number_in(path: &Path) -> u64 {
    let own = || path.file_name()?.to_str()?.parse().ok();
    checkpoint_of(path).or_else(own).unwrap_or(0)
}
