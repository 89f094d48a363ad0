//! flights.sql on a few flights, with a stop and a resumption in the middle.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use millrace_examples::dataset::Flights;
use millrace_examples::replay;
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::process::Process;
use millrace_testkit::records::{self, Isolation};
use millrace_testkit::{cache, engine, wait};

use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn delayed_flights_are_in_the_output_once_though_the_job_was_stopped() {
    let workspace = workspace("flights");
    // Its topics have names of their own in the file, so it has a broker of its own.
    let kafka = Kafka::start(Version::Kafka39, Options::default()).unwrap();
    kafka.create_topic("flights", replay::PARTITIONS).unwrap();
    kafka.create_topic("delayed", replay::PARTITIONS).unwrap();
    let client = kafka.client();
    let sql = std::fs::read_to_string(workspace.join("examples/flights.sql")).unwrap();
    std::fs::write(
        workspace.join("flights.sql"),
        sql.replace("127.0.0.1:19092", &kafka.bootstrap()),
    )
    .unwrap();

    // A tenth of the year, in two parts.
    let data = cache::installed("nycflights13/flights.csv", "flights").unwrap();
    let part = |count: usize| Flights::load(&data).unwrap().first(count);
    let run = |flights: &Flights| {
        assert!(replay::run(&client, flights, 1_000_000, &AtomicBool::new(false)).unwrap());
        let mut command = engine::command().unwrap();
        command
            .current_dir(workspace.path())
            .args(["run", "flights.sql"])
            .args([
                "-D",
                &format!(
                    "execution.checkpointing.dir=file://{}",
                    workspace.join("checkpoints").display()
                ),
                "-D",
                "execution.checkpointing.interval=200 ms",
            ]);
        let mut job = Process::start(command, &workspace.join("job.log")).unwrap();
        let caught_up = wait::until("the job to catch up", LIMIT, || {
            assert!(
                job.ended().unwrap().is_none(),
                "the job ended:\n{}",
                job.log_tail()
            );
            let ends = records::end_offsets(&client, "flights", Isolation::ReadUncommitted)?;
            Ok((records::committed_offsets(&client, "flights", "flights")? == ends).then_some(()))
        });
        assert!(caught_up.is_ok(), "{caught_up:?}\n{}", job.log_tail());
        let status = job.stop(LIMIT).unwrap();
        assert!(status.success(), "{status}\n{}", job.log_tail());
    };
    run(&part(20_000));
    let all = part(33_000);
    run(&all);

    let mut found: Vec<(String, i64)> = records::read(&client, "delayed", Isolation::ReadCommitted)
        .unwrap()
        .iter()
        .map(|record| {
            let row: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            assert_eq!(row["flight"].as_str(), Some(record.key_text().as_str()));
            (record.key_text(), row["late_by"].as_i64().unwrap())
        })
        .collect();
    let mut expected: Vec<(String, i64)> = all
        .events()
        .filter_map(|e| {
            e.departure_delay
                .filter(|d| *d > 15)
                .map(|d| (e.key, i64::from(d)))
        })
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    let differs = found
        .iter()
        .zip(&expected)
        .find(|(found, expected)| found != expected);
    assert_eq!(differs, None);
}
