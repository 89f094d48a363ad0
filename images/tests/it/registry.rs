use millrace_images::{
    Brokers, READY, answers, as_anybody, container, docker, ends_cleanly, limited, request, without_leftover,
};
use millrace_testkit::{ports, wait};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

const NETWORK: &str = "images-registry";
const SCHEMA: &str = r#"{"type":"record","name":"Flight","fields":[{"name":"carrier","type":"string"}]}"#;
/// A field more, without a default: what was written before cannot be read by it.
const INCOMPATIBLE: &str = r#"{"type":"record","name":"Flight","fields":[{"name":"carrier","type":"string"},{"name":"miles","type":"int"}]}"#;

fn replica(brokers: &Brokers, i: usize, image: ContainerRequest<GenericImage>) -> Container<GenericImage> {
    limited(image, 768)
        .with_network(NETWORK)
        .with_container_name(without_leftover(format!("{NETWORK}-{i}")))
        .with_env_var("APICURIO_KAFKASQL_BOOTSTRAP_SERVERS", &brokers.inside)
        .with_mapped_port(ports::free().unwrap(), 8081.tcp())
        .with_mapped_port(ports::free().unwrap(), 9000.tcp())
        .start()
        .unwrap()
}

fn url(replica: &Container<GenericImage>, port: u16, path: &str) -> String {
    format!(
        "http://127.0.0.1:{}/{path}",
        replica.get_host_port_ipv4(port).unwrap()
    )
}

fn registration(schema: &str) -> String {
    serde_json::json!({ "schema": schema }).to_string()
}

#[test]
fn two_replicas_have_one_registry_with_confluents_api_at_the_root() {
    let _alone = crate::alone();
    let brokers = Brokers::kraft(NETWORK);
    // At once, on a cluster without their topics.
    let images = [
        container("schema-registry"),
        as_anybody(container("schema-registry")),
    ];
    let replicas = std::thread::scope(|scope| {
        let brokers = &brokers;
        let start = |(i, image)| scope.spawn(move || replica(brokers, i, image));
        let threads: Vec<_> = images.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    for replica in &replicas {
        answers(&url(replica, 9000, "health/ready"), |text| text.contains("UP")).unwrap();
        answers(&url(replica, 9000, "metrics"), |text| text.contains("jvm_")).unwrap();
        answers(&url(replica, 8081, "subjects"), |text| text == "[]").unwrap();
        let said = String::from_utf8(replica.stdout_to_vec().unwrap()).unwrap();
        assert!(said.contains("topics are there\n"), "{said}");
    }

    let topic = docker(&[
        "exec",
        brokers.brokers[0].id(),
        "kafka-topics.sh",
        "--bootstrap-server",
        &brokers.inside,
        "--describe",
        "--topic",
        "kafkasql-journal",
    ])
    .unwrap();
    for part in ["ReplicationFactor: 3", "min.insync.replicas=2", "retention.ms=-1"] {
        assert!(topic.contains(part), "{topic}");
    }

    let (status, text) = request(
        "PUT",
        &url(&replicas[0], 8081, "config"),
        r#"{"compatibility":"BACKWARD"}"#,
    )
    .unwrap();
    assert_eq!(status, 200, "{text}");
    let versions = "subjects/flights-value/versions";
    let (status, text) = request("POST", &url(&replicas[0], 8081, versions), &registration(SCHEMA)).unwrap();
    assert_eq!(status, 200, "{text}");
    let id = serde_json::from_str::<serde_json::Value>(&text).unwrap()["id"]
        .as_i64()
        .unwrap();

    // The other replica has it, under the same id.
    let there = answers(&url(&replicas[1], 8081, &format!("schemas/ids/{id}")), |_| true).unwrap();
    assert!(there.contains("carrier"), "{there}");
    // And refuses what does not fit to it, as soon as it knows of the rule.
    wait::until("a refusal", READY, || {
        let (status, _) = request(
            "POST",
            &url(&replicas[1], 8081, versions),
            &registration(INCOMPATIBLE),
        )?;
        Ok((status == 409).then_some(()))
    })
    .unwrap();
    let list = answers(&url(&replicas[0], 8081, versions), |_| true).unwrap();
    assert_eq!(list, "[1]");

    for replica in &replicas {
        ends_cleanly(replica);
    }
}
