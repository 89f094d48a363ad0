use std::time::Duration;

use anyhow::Result;
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::records::{self, Isolation};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const LIMIT: Duration = Duration::from_secs(30);

fn values(kafka: &Kafka, topic: &str, isolation: Isolation) -> Vec<String> {
    let mut values: Vec<String> = records::read(&kafka.client(), topic, isolation)
        .unwrap()
        .iter()
        .map(|r| r.text())
        .collect();
    values.sort();
    values
}

fn transaction(kafka: &Kafka, id: &str, topic: &str, value: &str) -> Result<BaseProducer> {
    let producer: BaseProducer = kafka.client().set("transactional.id", id).create()?;
    producer.init_transactions(LIMIT)?;
    producer.begin_transaction()?;
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).payload(value);
    producer.send(record).map_err(|(e, _)| e)?;
    producer.flush(LIMIT)?;
    Ok(producer)
}

fn what_is_written_is_read(version: Version) {
    let kafka = Kafka::shared(version);
    let topic = kafka.unique_topic("written", 3);
    let input: Vec<(String, String)> = (0..1000)
        .map(|i| (format!("k{}", i % 7), format!("v{i:04}")))
        .collect();
    records::write(&kafka.client(), &topic, input.iter().map(|(k, v)| (k, v))).unwrap();
    let read = values(kafka, &topic, Isolation::ReadCommitted);
    assert_eq!(read, input.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>());
    let ends = records::end_offsets(&kafka.client(), &topic, Isolation::ReadCommitted).unwrap();
    assert_eq!(ends.len(), 3);
    assert_eq!(ends.values().sum::<i64>(), 1000);
}

#[test]
fn what_is_written_is_read_on_3_9() {
    what_is_written_is_read(Version::Kafka39);
}

#[test]
fn what_is_written_is_read_on_4_1() {
    what_is_written_is_read(Version::Kafka41);
}

#[test]
fn an_open_transaction_is_seen_by_name_and_hides_its_records() {
    let kafka = Kafka::shared(Version::Kafka39);
    let topic = kafka.unique_topic("open", 1);
    let producer = transaction(kafka, "open-transaction", &topic, "one").unwrap();
    assert!(values(kafka, &topic, Isolation::ReadCommitted).is_empty());
    assert_eq!(values(kafka, &topic, Isolation::ReadUncommitted), ["one"]);
    let open = |kafka: &Kafka| {
        kafka
            .transactions()
            .unwrap()
            .into_iter()
            .any(|t| t.transactional_id == "open-transaction" && t.is_open())
    };
    assert!(open(kafka));
    producer.commit_transaction(LIMIT).unwrap();
    assert_eq!(values(kafka, &topic, Isolation::ReadCommitted), ["one"]);
    assert!(!open(kafka));
}

#[test]
fn a_killed_broker_comes_back_with_its_records() {
    let mut kafka = Kafka::start(Version::Kafka39, Options::default()).unwrap();
    kafka.create_topic("t", 1).unwrap();
    records::write(&kafka.client(), "t", [("k", "before")]).unwrap();
    kafka.kill(0).unwrap();
    kafka.restart(0).unwrap();
    assert_eq!(values(&kafka, "t", Isolation::ReadCommitted), ["before"]);
    kafka.freeze(0).unwrap();
    let client: BaseConsumer = kafka.client().create().unwrap();
    assert!(client.fetch_metadata(Some("t"), Duration::from_secs(1)).is_err());
    kafka.thaw(0).unwrap();
    assert_eq!(values(&kafka, "t", Isolation::ReadCommitted), ["before"]);
}

#[test]
fn three_brokers_survive_one() {
    let mut kafka = Kafka::start(Version::Kafka39, Options::default().brokers(3)).unwrap();
    kafka.create_topic("t", 6).unwrap();
    records::write(&kafka.client(), "t", [("k", "before")]).unwrap();
    kafka.kill(1).unwrap();
    records::write(&kafka.client(), "t", [("k", "after")]).unwrap();
    assert_eq!(values(&kafka, "t", Isolation::ReadCommitted), ["after", "before"]);
}

#[test]
fn plain_and_scram_over_tls() {
    let kafka = Kafka::start(Version::Kafka41, Options::default().secure()).unwrap();
    kafka.create_topic("t", 1).unwrap();
    let secure = kafka.secure().unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut client = rdkafka::ClientConfig::new();
        client
            .set("bootstrap.servers", &secure.bootstrap)
            .set("security.protocol", "SASL_SSL")
            .set("ssl.ca.location", secure.ca_pem.to_str().unwrap())
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", secure.user)
            .set("sasl.password", secure.password);
        records::write(&client, "t", [("k", mechanism)]).unwrap();
    }
    assert_eq!(
        values(&kafka, "t", Isolation::ReadCommitted),
        ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    );
}
