use std::collections::BTreeSet;
use std::time::Duration;

use millrace_images::{Brokers, ZooKeeper, answers, docker, ends_cleanly};
use millrace_testkit::records::{self, Isolation};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const TOPIC: &str = "records";
const RECORDS: usize = 3000;

#[test]
fn no_acknowledged_record_is_lost_with_a_broker_on_zookeeper() {
    let _alone = crate::alone();
    let zookeeper = ZooKeeper::start("images-kafka-zk");
    zookeeper.roles();
    no_acknowledged_record_is_lost(Brokers::on(&zookeeper));
}

#[test]
fn no_acknowledged_record_is_lost_with_a_broker_of_a_kraft_quorum() {
    let _alone = crate::alone();
    no_acknowledged_record_is_lost(Brokers::kraft("images-kafka-kraft"));
}

/// Writes with acks=all while one broker of three is killed, and reads all of it back.
fn no_acknowledged_record_is_lost(cluster: Brokers) {
    let client = cluster.client();
    cluster.create_topic(TOPIC, 6).unwrap();

    let mut config = client.clone();
    config.set("acks", "all").set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().unwrap();
    for i in 0..RECORDS {
        if i == RECORDS / 3 {
            docker(&["kill", "--signal", "KILL", cluster.brokers[1].id()]).unwrap();
        }
        let text = i.to_string();
        let record = BaseRecord::to(TOPIC).key(&text).payload(&text);
        producer.send(record).map_err(|(e, _)| e).unwrap();
        producer.poll(Duration::ZERO);
        if i % 100 == 0 {
            producer.flush(Duration::from_secs(120)).unwrap();
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();

    let read: Vec<String> = records::read(&client, TOPIC, Isolation::ReadCommitted)
        .unwrap()
        .iter()
        .map(records::Record::text)
        .collect();
    let expected: BTreeSet<String> = (0..RECORDS).map(|i| i.to_string()).collect();
    assert_eq!(read.len(), RECORDS);
    assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), expected);

    let broker = &cluster.brokers[0];
    let port = broker.get_host_port_ipv4(9308).unwrap();
    let metrics = answers(&format!("http://127.0.0.1:{port}/metrics"), |text| {
        text.contains("kafka_server_replicamanager_underreplicatedpartitions")
    })
    .unwrap();
    assert!(
        metrics.contains("kafka_server_brokertopicmetrics_messagesin_total"),
        "{metrics}"
    );

    let tool = docker(&[
        "exec",
        broker.id(),
        "kafka-topics.sh",
        "--bootstrap-server",
        &cluster.inside,
        "--describe",
        "--topic",
        TOPIC,
    ])
    .unwrap();
    assert!(tool.contains("ReplicationFactor: 3"), "{tool}");
    // A rolling restart: the killed one comes back, and each other one ends without a partition left behind.
    docker(&["start", cluster.brokers[1].id()]).unwrap();
    for i in [2, 0] {
        let broker = &cluster.brokers[i];
        healthy(&cluster);
        ends_cleanly(broker);
        gave_leaderships_away(&cluster, i);
        docker(&["start", broker.id()]).unwrap();
    }
    healthy(&cluster);
}

/// A broker has ended by a controlled shutdown, and not only ended: it says so itself with ZooKeeper, controllers do of
/// it with KRaft.
fn gave_leaderships_away(cluster: &Brokers, i: usize) {
    let logs = cluster
        .brokers
        .iter()
        .map(|broker| docker(&["logs", broker.id()]).unwrap());
    let logs = logs.collect::<Vec<_>>().concat();
    let zookeeper = format!("[KafkaServer id={i}] Controlled shutdown request returned successfully");
    let kraft = format!("for broker {i}: BrokerRegistrationChangeRecord(");
    let is_kraft = |line: &str| line.contains(&kraft) && line.contains("inControlledShutdown=1");
    assert!(
        logs.lines()
            .any(|line| line.contains(&zookeeper) || is_kraft(line)),
        "nothing is said of a controlled shutdown of broker {i}:\n{logs}"
    );
}

/// Waits until all replicas of all partitions are in step.
fn healthy(cluster: &Brokers) {
    for broker in &cluster.brokers {
        let port = broker.get_host_port_ipv4(9308).unwrap();
        answers(&format!("http://127.0.0.1:{port}/metrics"), |text| {
            let value = |name: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
            };
            value("kafka_server_replicamanager_underreplicatedpartitions ") == Some(0.0)
                && value("kafka_server_replicamanager_partitioncount ").is_some_and(|count| count > 0.0)
        })
        .unwrap();
    }
}
