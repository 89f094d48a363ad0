//! Restarts that read the state's copies on this machine instead of the checkpoint folder.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_cluster::{JobHandle, Outcome, Start};
use millrace_core::ErrorKind;

use super::model::World;
use super::{checkpoints_beyond, wait_for};

/// A job that keeps all of its rows by key, and the folder of its local copies.
struct Local {
    world: World,
    local: tempfile::TempDir,
}

impl Local {
    fn new() -> Local {
        let world = World::new();
        world.keep_rows_by_key();
        Local {
            world,
            local: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self, more: &[(&str, &str)]) -> JobHandle {
        let folder = self.local.path().join("copies").display().to_string();
        let state = self.local.path().join("state").display().to_string();
        let settings = [
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.delay", "0 ms"),
            ("execution.checkpointing.local-backup.dirs", folder.as_str()),
            ("state.backend.rocksdb.localdir", state.as_str()),
        ];
        let job = self.world.submit(Start::Resume, &[&settings, more].concat());
        wait_for("checkpoints with rows", || {
            checkpoints_beyond(&job, 3) && !self.world.visible().is_empty()
        });
        job
    }

    fn copies(&self) -> Vec<PathBuf> {
        files_below(&self.local.path().join("copies"))
    }

    /// Rows come after a failure, and all of them once.
    fn goes_on(&self, job: JobHandle) {
        wait_for("the restart", || job.status().restarts == 1);
        let seen = self.world.count();
        wait_for("rows after the failure", || self.world.count() > seen + 2000);
        job.control().stop();
        assert_eq!(job.join().unwrap(), Outcome::Stopped);
        self.world.assert_no_gap_and_no_repetition();
        assert_eq!(
            self.copies(),
            Vec::<PathBuf>::new(),
            "who stops a job may start it anywhere"
        );
    }

    /// Takes the checkpoints' files away, descriptions and all; what counts is that the head stays.
    fn without_checkpoints(&self) -> impl FnOnce() + Send + use<> {
        let folders = self.world.checkpoint_folders();
        let job = folders[0].parent().unwrap().to_owned();
        let away = self.local.path().join("away");
        move || {
            fs::create_dir_all(&away).unwrap();
            for folder in super::model::folders_of(&job) {
                fs::rename(&folder, away.join(folder.file_name().unwrap())).unwrap();
            }
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .collect()
}

const FROM_LOCAL: (&str, &str) = ("execution.state-recovery.from-local", "true");

#[test]
fn a_restart_in_place_reads_nothing_of_a_checkpoint() {
    let local = Local::new();
    let job = local.start(&[FROM_LOCAL]);
    assert!(!local.copies().is_empty());
    local.world.fail_after(local.without_checkpoints());
    local.goes_on(job);
}

#[test]
fn without_copies_a_restart_needs_the_checkpoint() {
    let local = Local::new();
    let job = local.start(&[]);
    assert!(local.copies().is_empty());
    local.world.fail_after(local.without_checkpoints());
    let error = job.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn copies_that_are_kept_are_read_only_where_that_is_wanted() {
    let local = Local::new();
    let job = local.start(&[("execution.checkpointing.local-backup.enabled", "true")]);
    assert!(!local.copies().is_empty());
    local.world.fail_after(local.without_checkpoints());
    assert_eq!(job.join().unwrap_err().kind(), ErrorKind::DataLoss);
}

#[test]
fn damaged_and_missing_copies_are_read_from_the_checkpoint() {
    let local = Local::new();
    let job = local.start(&[FROM_LOCAL]);
    let copies = local.local.path().join("copies");
    local.world.fail_after(move || {
        for (number, path) in files_below(&copies).into_iter().enumerate() {
            match number % 3 {
                0 => fs::remove_file(&path).unwrap(),
                // A link is broken first: the running store's own file must not change.
                1 => {
                    let mut bytes = fs::read(&path).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, bytes).unwrap();
                }
                _ => {
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, "").unwrap();
                }
            }
        }
    });
    local.goes_on(job);
}

#[test]
fn a_job_that_was_killed_leaves_copies_that_its_next_run_reads() {
    let local = Local::new();
    let job = local.start(&[FROM_LOCAL, ("restart-strategy.type", "none")]);
    local.world.fail_after(|| {});
    job.join().unwrap_err();
    assert!(!local.copies().is_empty());
    // Descriptions are read again, files of state are not.
    let state_files: Vec<PathBuf> = local
        .world
        .checkpoint_folders()
        .iter()
        .flat_map(|folder| files_below(folder))
        .filter(|path| !path.ends_with("_metadata"))
        .collect();
    assert!(!state_files.is_empty());
    for path in &state_files {
        fs::rename(path, path.with_extension("away")).unwrap();
    }
    let seen = local.world.count();
    let job = local.start(&[FROM_LOCAL]);
    wait_for("rows of the next run", || local.world.count() > seen + 2000);
    job.control().stop();
    job.join().unwrap();
    local.world.assert_no_gap_and_no_repetition();
}
