//! Jobs run by a real JobMaster over a real checkpoint folder, between a source that counts and a
//! sink with transactions in memory. The sink checks, at each commit, that the head allows it.

mod local;
mod model;

use std::time::{Duration, Instant};

use millrace_cluster::status::State;
use millrace_cluster::{JobHandle, Outcome, Start};
use millrace_core::{CheckpointId, ErrorKind};
use millrace_state::head::{Resume, Status};
use model::World;

/// Waits for a condition; a hang is a failure that says what was waited for.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn checkpoints_beyond(job: &JobHandle, id: u64) -> bool {
    job.status().checkpoint.is_some_and(|c| c.id > CheckpointId(id))
}

#[test]
fn a_bounded_job_shows_every_row_once_and_finishes() {
    let world = World::new();
    world.end_after(10_000);
    let job = world.submit(Start::Resume, &[("parallelism.default", "3")]);
    assert_eq!(job.join().unwrap(), Outcome::Finished);
    let mut visible = world.visible();
    visible.sort_unstable();
    assert_eq!(visible, world.expected(10_000));
    assert_eq!(world.head().status, Status::Finished);
    assert_eq!(world.open_transactions(), 0);
}

#[test]
fn a_finished_job_starts_anew() {
    let world = World::new();
    world.end_after(100);
    for round in 1..=2 {
        assert_eq!(
            world.submit(Start::Resume, &[]).join().unwrap(),
            Outcome::Finished
        );
        assert_eq!(world.count(), 100 * round);
    }
}

#[test]
fn a_stopped_job_resumes_where_it_was_at_another_parallelism() {
    let world = World::new();
    for parallelism in ["2", "1", "4"] {
        let seen = world.count();
        let job = world.submit(Start::Resume, &[("parallelism.default", parallelism)]);
        wait_for("rows", || world.count() > seen + 1000);
        job.control().stop();
        assert_eq!(job.join().unwrap(), Outcome::Stopped);
        assert_eq!(world.head().status, Status::Stopped);
        world.assert_no_gap_and_no_repetition();
    }
    // A stop is no end: what was read has been shown, and nothing is left open.
    assert_eq!(world.open_transactions(), 0);
    assert_eq!(world.read(), world.count());
}

#[test]
fn a_failed_attempt_is_followed_by_one_that_repeats_and_loses_nothing() {
    let world = World::new();
    world.fail_after_rows(3000, ErrorKind::External);
    let job = world.submit(
        Start::Resume,
        &[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.delay", "0 ms"),
        ],
    );
    wait_for("rows after the failure", || world.count() > 8000);
    assert_eq!(job.status().restarts, 1);
    job.control().stop();
    job.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn what_the_user_must_mend_is_not_tried_again() {
    let world = World::new();
    world.fail_after_rows(3000, ErrorKind::User);
    let job = world.submit(Start::Resume, &[]);
    assert_eq!(job.join().unwrap_err().kind(), ErrorKind::User);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn transactions_of_failed_checkpoints_commit_with_the_next_completed_one() {
    let world = World::new();
    let job = world.submit(
        Start::Resume,
        &[("execution.checkpointing.tolerable-failed-checkpoints", "1000000")],
    );
    wait_for("a first checkpoint", || checkpoints_beyond(&job, 0));
    world.refuse_checkpoints();
    let failed = job.status().failed_checkpoints;
    wait_for("failed checkpoints", || {
        job.status().failed_checkpoints > failed + 3
    });
    assert_eq!(job.status().state, State::Running);
    assert!(world.open_transactions() >= 3, "they wait, none is aborted");
    world.accept_checkpoints();
    let before = job.status().checkpoint.unwrap().id.0;
    wait_for("a checkpoint after the failed ones", || {
        checkpoints_beyond(&job, before)
    });
    job.control().stop();
    job.join().unwrap();
    assert_eq!(world.open_transactions(), 0);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn a_job_fails_when_too_many_checkpoints_do_and_its_next_run_goes_on() {
    let world = World::new();
    let settings = [
        ("execution.checkpointing.tolerable-failed-checkpoints", "2"),
        ("restart-strategy.type", "none"),
    ];
    let job = world.submit(Start::Resume, &settings);
    wait_for("a first checkpoint", || checkpoints_beyond(&job, 0));
    world.refuse_checkpoints();
    let error = job.join().unwrap_err().to_string();
    assert!(error.contains("tolerable-failed-checkpoints is 2"), "{error}");
    world.accept_checkpoints();
    let seen = world.count();
    let job = world.submit(Start::Resume, &settings);
    wait_for("rows", || world.count() > seen + 1000);
    job.control().stop();
    job.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn a_second_run_takes_over_and_the_first_stops() {
    let world = World::new();
    let first = world.submit(Start::Resume, &[]);
    wait_for("a first checkpoint", || checkpoints_beyond(&first, 0));
    let second = world.submit(Start::Resume, &[]);
    let error = first.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let seen = world.count();
    wait_for("rows of the second run", || world.count() > seen + 1000);
    second.control().stop();
    second.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn an_older_checkpoint_is_restored_without_committing_again() {
    let world = World::new();
    let keep = [("execution.checkpointing.num-retained", "1000")];
    let job = world.submit(Start::Resume, &keep);
    wait_for("checkpoints", || checkpoints_beyond(&job, 5));
    job.control().stop();
    job.join().unwrap();
    let rows = world.count();
    let older = world.checkpoint_path(CheckpointId(3));
    let job = world.submit(Start::From(older.into()), &keep);
    wait_for("rows", || world.count() > rows + 1000);
    job.control().stop();
    job.join().unwrap();
    world.assert_rewound_once();
    assert_eq!(world.repeated_commits(), 0);
}

#[test]
fn what_is_on_record_as_committed_is_not_committed_again() {
    let world = World::new();
    let once = [("restart-strategy.type", "none")];
    let stop_after_rows = |told: usize| {
        let seen = world.count();
        let job = world.submit(Start::Resume, &once);
        wait_for("rows", || world.count() > seen + 1000);
        job.control().stop();
        job.join().unwrap();
        assert_eq!(world.told_committed(), told);
    };
    stop_after_rows(0);
    // A clean stop has written it down.
    stop_after_rows(1);
    // So has a recovery, though the attempt that it was for came to nothing.
    world.die_before_commits();
    world.submit(Start::Resume, &once).join().unwrap_err();
    world.live_through_commits();
    let (told, seen) = (world.told_committed(), world.count());
    world.fail_after_rows(0, ErrorKind::User);
    world.submit(Start::Resume, &once).join().unwrap_err();
    assert_eq!(world.told_committed(), told, "this recovery had to commit");
    assert!(world.count() > seen, "and did");
    stop_after_rows(told + 1);
    assert_eq!(world.repeated_commits(), 0);
    world.assert_no_gap_and_no_repetition();
}

/// The sink looks at the head when it is opened; see the model.
#[test]
fn attempts_are_on_record_before_their_sinks_are_opened() {
    let world = World::new();
    for _ in 0..2 {
        world.fail_after_rows(world.read() + 1000, ErrorKind::External);
        let settings = [
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.delay", "0 ms"),
        ];
        let job = world.submit(Start::Resume, &settings);
        wait_for("a restart", || job.status().restarts == 1);
        let seen = world.count();
        wait_for("rows after it", || world.count() > seen + 1000);
        job.control().stop();
        job.join().unwrap();
    }
    assert_eq!(world.opened().into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn checkpoints_go_on_after_the_end_of_some_sources_and_are_restored() {
    const ROWS: i64 = 700;
    let world = World::new();
    world.add_source_that_ends_after(ROWS);
    let settings = [
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.delay", "0 ms"),
    ];
    let job = world.submit(Start::Resume, &settings);
    wait_for("all rows of the source that ends", || {
        world.visible_of_second() == ROWS
    });
    let id = job.status().checkpoint.unwrap().id.0;
    wait_for("checkpoints after its end", || checkpoints_beyond(&job, id + 3));
    // Restored by an attempt of the same run, then by another run.
    world.fail_after_rows(world.read(), ErrorKind::External);
    wait_for("a restart", || job.status().restarts == 1);
    let seen = world.count();
    wait_for("rows after it", || world.count() > seen + 1000);
    job.control().stop();
    assert_eq!(job.join().unwrap(), Outcome::Stopped);
    let all = world.count() as i64 - ROWS + 1000;
    world.end_after(all);
    let job = world.submit(Start::Resume, &settings);
    assert_eq!(job.join().unwrap(), Outcome::Finished);
    assert_eq!(world.visible_of_second(), ROWS);
    assert_eq!(world.count() as i64, all + ROWS);
    assert_eq!(world.open_transactions(), 0);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn fresh_commits_what_is_complete_and_begins_anew() {
    let world = World::new();
    world.die_before_commits();
    let job = world.submit(Start::Resume, &[("restart-strategy.type", "none")]);
    job.join().unwrap_err();
    assert!(matches!(world.head().resume, Resume::Checkpoint(_)));
    assert_eq!(world.count(), 0);
    world.end_after(100);
    world.submit(Start::Fresh, &[]).join().unwrap();
    let visible = world.visible();
    let again: Vec<_> = (0..100).map(|n| (0, n)).collect();
    assert_eq!(
        visible[visible.len() - 100..],
        again,
        "the new run begins at the first row"
    );
    let first_run = &visible[..visible.len() - 100];
    assert!(
        !first_run.is_empty(),
        "what the complete checkpoint held was committed"
    );
    assert!(first_run.iter().map(|(_, n)| *n).eq(0..first_run.len() as i64));
}

#[test]
fn checkpoints_need_a_folder_and_exactly_once_needs_checkpoints() {
    let world = World::new();
    let refuse = |settings: &[(&str, &str)]| {
        world
            .try_submit(Start::Resume, settings, false)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refuse(&[]).contains("execution.checkpointing.interval"));
    assert!(refuse(&[("execution.checkpointing.interval", "1 s")]).contains("execution.checkpointing.dir"));
}

#[test]
fn a_start_that_cannot_be_restored_leaves_the_job_as_it_was() {
    let world = World::new();
    let job = world.submit(Start::Resume, &[]);
    wait_for("a first checkpoint", || checkpoints_beyond(&job, 0));
    job.control().stop();
    job.join().unwrap();
    let before = world.head();
    let missing = format!(
        "{}-typo",
        world.checkpoint_path(before.completed.last().unwrap().id)
    );
    let error = world.submit(Start::From(missing.into()), &[]).join().unwrap_err();
    assert!(
        error.to_string().contains("no checkpoint at that place"),
        "{error}"
    );
    assert_eq!(world.head(), before);
    let seen = world.count();
    let job = world.submit(Start::Resume, &[]);
    wait_for("rows", || world.count() > seen + 1000);
    job.control().stop();
    job.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn a_job_that_moves_to_another_folder_takes_all_of_its_state_along() {
    let mut world = World::new();
    world.keep_rows_by_key();
    let rows_after = |world: &World, start: Start| {
        let seen = world.count();
        let job = world.submit(start, &[]);
        wait_for("rows", || world.count() > seen + 1000);
        job.control().stop();
        assert_eq!(job.join().unwrap(), Outcome::Stopped);
    };
    rows_after(&world, Start::Resume);
    let newest = world.head().completed.last().unwrap().id;
    let path = world.checkpoint_path(newest);
    let before = world.move_checkpoints();
    rows_after(&world, Start::From(path.into()));
    drop(before);
    rows_after(&world, Start::Resume);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn a_checkpoint_that_the_head_does_not_know_any_more_can_be_restored() {
    let world = World::new();
    world.keep_rows_by_key();
    let job = world.submit(Start::Resume, &[]);
    wait_for("rows", || world.count() > 1000);
    job.control().stop();
    job.join().unwrap();
    let newest = world.checkpoint_path(world.head().completed.last().unwrap().id);
    let seen = world.count();
    // The newest head is damaged, and its file removed: the one before counts.
    world.remove_newest_head();
    let job = world.submit(Start::From(newest.into()), &[]);
    wait_for("rows", || world.count() > seen + 1000);
    job.control().stop();
    job.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn an_outage_of_the_store_ends_no_job_that_may_be_restarted() {
    let world = World::new();
    let settings = [
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000000"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    let job = world.submit(Start::Resume, &settings);
    wait_for("a first checkpoint", || checkpoints_beyond(&job, 0));
    world.refuse_checkpoints();
    wait_for("the failure", || job.status().state == State::Restarting);
    world.accept_checkpoints();
    let before = job.status().checkpoint.map_or(0, |c| c.id.0);
    wait_for("a checkpoint after the outage", || {
        checkpoints_beyond(&job, before)
    });
    job.control().stop();
    job.join().unwrap();
    world.assert_no_gap_and_no_repetition();
}
