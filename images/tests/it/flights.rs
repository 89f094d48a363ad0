//! The same job file on both engines, against the images of Kafka.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use millrace_examples::dataset::Flights;
use millrace_examples::replay;
use millrace_images::{
    Brokers, READY, as_anybody, container, docker, ends_cleanly, flink_ends, limited, without_leftover,
};
use millrace_testkit::records::{self, Isolation};
use millrace_testkit::{cache, wait};
use rdkafka::ClientConfig;
use tempfile::TempDir;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

use crate::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, object_store};

const NETWORK: &str = "images-flights";
const JOB: &str = include_str!("../../../examples/flights.sql");
const FLIGHTS: usize = 5000;

/// The job, from these brokers into a topic of its own.
fn job(brokers: &Brokers, topic: &str) -> TempDir {
    let job = JOB
        .replace("127.0.0.1:19092", &brokers.inside)
        .replace("'topic' = 'delayed'", &format!("'topic' = '{topic}'"))
        .replace(
            "'sink.transactional-id-prefix' = 'flights'",
            &format!("'sink.transactional-id-prefix' = '{topic}'"),
        );
    assert!(job.contains(topic) && job.contains(&brokers.inside));
    crate::readable(&[("flights.sql", job.as_bytes())])
}

fn engine(image: &str, jobs: &TempDir, topic: &str) -> ContainerRequest<GenericImage> {
    limited(container(image), 1536)
        .with_network(NETWORK)
        .with_container_name(without_leftover(format!("{NETWORK}-{topic}")))
        .with_hostname(format!("{NETWORK}-{topic}"))
        .with_mount(crate::mounted(jobs, "/jobs"))
        .with_env_var("FLINK_PROPERTIES", s3().join("\n"))
}

/// For the job that writes this topic.
fn task_manager(image: &str, topic: &str) -> ContainerRequest<GenericImage> {
    limited(container(image), 2048)
        .with_env_var("FLINK_PROPERTIES", s3().join("\n"))
        .with_network(NETWORK)
        .with_container_name(without_leftover(format!("{NETWORK}-{topic}-taskmanager")))
        .with_env_var("JOB_MANAGER_RPC_ADDRESS", format!("{NETWORK}-{topic}"))
        .with_cmd(["taskmanager"])
}

/// Where the object store is, as both engines are told.
fn s3() -> [String; 4] {
    [
        format!("s3.endpoint: http://{NETWORK}-store:7070"),
        format!("s3.access-key: {ACCESS_KEY}"),
        format!("s3.secret-key: {SECRET_KEY}"),
        "s3.path.style.access: true".to_owned(),
    ]
}

/// The arguments for a job with its checkpoints in the object store.
fn arguments(engine: &str) -> Vec<String> {
    let folder = format!("-Dexecution.checkpointing.dir=s3://{BUCKET}/{engine}");
    vec![
        "standalone-job".to_owned(),
        "/jobs/flights.sql".to_owned(),
        folder,
    ]
}

/// How many objects of an engine's checkpoints the store has.
fn checkpoints(store: &Container<GenericImage>, engine: &str) -> usize {
    let folder = format!("/var/lib/objects/buckets/{BUCKET}/{engine}");
    docker(&["exec", store.id(), "find", &folder, "-type", "f"])
        .unwrap()
        .lines()
        .count()
}

/// Keys and values of the committed records, once there are so many.
fn committed(client: &ClientConfig, topic: &str, count: usize) -> BTreeSet<(String, String)> {
    let found = wait::until(topic, READY, || {
        let records = records::read(client, topic, Isolation::ReadCommitted)?;
        assert!(
            records.len() <= count,
            "{} records in {topic}, not {count}",
            records.len()
        );
        Ok((records.len() == count).then(|| {
            records
                .iter()
                .map(|record| (record.key_text(), record.text()))
                .collect()
        }))
    });
    found.unwrap_or_else(|e| {
        let seen = |isolation| records::read(client, topic, isolation).map_or(0, |records| records.len());
        let logs: String = ["", "-taskmanager"]
            .map(|role| {
                docker(&["logs", "--tail", "40", &format!("{NETWORK}-{topic}{role}")]).unwrap_or_default()
            })
            .concat();
        panic!(
            "{e:#}: {} records committed, {} in all, of {count}; the logs end with:\n{logs}",
            seen(Isolation::ReadCommitted),
            seen(Isolation::ReadUncommitted)
        )
    })
}

#[test]
fn both_engines_give_the_same_flights_from_one_file() {
    let _alone = crate::alone();
    let brokers = Brokers::kraft(NETWORK);
    let store = object_store(NETWORK);
    let client = brokers.client();
    for topic in [replay::TOPIC, "delayed-millrace", "delayed-flink"] {
        brokers.create_topic(topic, replay::PARTITIONS).unwrap();
    }
    let flights = Flights::load(&cache::installed("nycflights13/flights.csv", "flights").unwrap())
        .unwrap()
        .first(FLIGHTS);
    assert!(replay::run(&client, &flights, u64::MAX, &AtomicBool::new(false)).unwrap());
    let expected = flights
        .events()
        .filter(|event| event.departure_delay.is_some_and(|d| d > 15))
        .count();

    let jobs = job(&brokers, "delayed-millrace");
    let millrace = as_anybody(engine("millrace", &jobs, "delayed-millrace"))
        .with_cmd(arguments("millrace"))
        .start()
        .unwrap();
    let worker = as_anybody(task_manager("millrace", "delayed-millrace"))
        .start()
        .unwrap();
    let ours = committed(&client, "delayed-millrace", expected);
    ends_cleanly(&millrace);
    ends_cleanly(&worker);

    let jobs = job(&brokers, "delayed-flink");
    let flink: Container<GenericImage> = engine("flink", &jobs, "delayed-flink")
        .with_cmd(arguments("flink"))
        .start()
        .unwrap();
    let workers = task_manager("flink", "delayed-flink").start().unwrap();
    let theirs = committed(&client, "delayed-flink", expected);
    assert_eq!(ours, theirs);
    assert!(checkpoints(&store, "millrace") > 0);
    assert!(checkpoints(&store, "flink") > 0);
    flink_ends(&workers);
    flink_ends(&flink);
}
