//! Savepoints: taken while a job runs and to stop it, moved, restored by others.

use millrace_cluster::{ClaimMode, Outcome, Restore, Start};

use crate::model::World;
use crate::{Cluster, assert_each_row_once, is_running, rows_follow, wait_for, width};

const PARALLELISM: &str = "parallelism.default";

#[test]
fn a_job_stops_with_a_savepoint_and_goes_on_from_it_with_more_and_fewer_subtasks() {
    let mut world = World::new();
    world.keep_rows_by_key();
    let savepoints = tempfile::tempdir().unwrap();
    let mut start = Start::Resume;
    for (turn, parallelism) in ["2", "5", "1"].into_iter().enumerate() {
        let savepoint = {
            let cluster = Cluster::new(&world);
            cluster.add(5);
            let job = cluster.submit(start, &[(PARALLELISM, parallelism)]);
            rows_follow(&world, 1000);
            assert_eq!(width(&job).to_string(), parallelism);
            let target = savepoints.path().display().to_string();
            let answer = job.control().stop_with_savepoint(target, false);
            assert_eq!(job.join().unwrap(), Outcome::Stopped);
            answer.blocking_recv().unwrap().unwrap()
        };
        assert_eq!(world.open_transactions(), 0);
        // Nothing of the run is needed but the savepoint, and that wherever it is.
        let moved = savepoints.path().join(format!("moved-{turn}"));
        std::fs::rename(savepoint, &moved).unwrap();
        drop(world.move_checkpoints());
        start = Start::From(moved.display().to_string().into());
    }
    assert_each_row_once(&world);
}

#[test]
fn a_savepoint_of_a_running_job_can_be_restored_beside_it() {
    let mut world = World::new();
    let savepoints = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(&world);
    cluster.add(2);
    let job = cluster.submit(Start::Resume, &[]);
    rows_follow(&world, 1000);
    let target = savepoints.path().display().to_string();
    let path = job.control().savepoint(target).blocking_recv().unwrap().unwrap();
    rows_follow(&world, 1000);
    let status = job.status();
    assert!(status.checkpoints.latest_savepoint.is_some());
    assert_eq!(status.restarts, 0);
    super::stop(job);
    drop(cluster);
    drop(world.move_checkpoints());
    let cluster = Cluster::new(&world);
    cluster.add(1);
    let job = cluster.submit(Start::From(path.into()), &[]);
    let seen = world.count();
    wait_for("rows", || world.count() > seen + 3000);
    super::stop(job);
    world.assert_rewound_once();
}

#[test]
fn a_claimed_savepoint_goes_once_it_is_not_needed_and_another_stays() {
    for claim in [ClaimMode::Claim, ClaimMode::NoClaim] {
        let mut world = World::new();
        let savepoints = tempfile::tempdir().unwrap();
        let target = savepoints.path().display().to_string();
        let cluster = Cluster::new(&world);
        cluster.add(1);
        let job = cluster.submit(Start::Resume, &[]);
        rows_follow(&world, 100);
        let answer = job.control().stop_with_savepoint(target, false);
        job.join().unwrap();
        let path = answer.blocking_recv().unwrap().unwrap();
        drop(cluster);
        drop(world.move_checkpoints());
        let cluster = Cluster::new(&world);
        cluster.add(1);
        let restore = Restore {
            claim,
            ..Restore::from(path.as_str())
        };
        let job = cluster.submit(Start::ResumeOrFrom(restore), &[]);
        rows_follow(&world, 1000);
        let metadata = std::path::Path::new(&path).join("_metadata");
        match claim {
            ClaimMode::Claim => wait_for("the savepoint to go", || !metadata.exists()),
            ClaimMode::NoClaim => assert!(metadata.exists()),
        }
        super::stop(job);
        world.assert_no_gap_and_no_repetition();
    }
}

#[test]
fn a_job_that_cannot_write_its_savepoint_goes_on() {
    let world = World::new();
    let cluster = Cluster::new(&world);
    cluster.add(1);
    let job = cluster.submit(Start::Resume, &[]);
    rows_follow(&world, 100);
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = file.path().display().to_string();
    let plain = job.control().savepoint(target.clone()).blocking_recv().unwrap();
    assert!(plain.is_err());
    rows_follow(&world, 100);
    let last = job
        .control()
        .stop_with_savepoint(target, false)
        .blocking_recv()
        .unwrap();
    assert!(last.is_err());
    wait_for("the job to run again", || is_running(&job));
    rows_follow(&world, 100);
    assert_eq!(job.status().restarts, 0);
    super::stop(job);
    world.assert_no_gap_and_no_repetition();
}
