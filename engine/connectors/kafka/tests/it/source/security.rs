//! TLS and SASL against a broker that asks for them.

use std::sync::OnceLock;

use millrace_dataflow::SourceSpec;
use millrace_testkit::kafka::{Kafka, Options, Secure, Version};

use super::job::{Job, refused, table, write};

fn secure() -> (&'static Kafka, &'static Secure) {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    let kafka = KAFKA.get_or_init(|| {
        let kafka = Kafka::start(Version::Kafka39, Options::default().secure()).unwrap();
        kafka.create_topic("secret", 1).unwrap();
        write(&kafka, "secret", 0, 0..10);
        kafka
    });
    (kafka, kafka.secure().unwrap())
}

fn login(mechanism: &str) -> SourceSpec {
    login_by(mechanism, &secure().1.login(mechanism))
}

fn login_by(mechanism: &str, jaas: &str) -> SourceSpec {
    let (kafka, secure) = secure();
    let options = [
        ("scan.bounded.mode", "latest-offset"),
        ("properties.security.protocol", "SASL_SSL"),
        ("properties.sasl.mechanism", mechanism),
        ("properties.sasl.jaas.config", jaas),
        (
            "properties.ssl.truststore.location",
            secure.truststore.to_str().unwrap(),
        ),
        ("properties.ssl.truststore.type", "PKCS12"),
        ("properties.ssl.truststore.password", secure.truststore_password),
    ];
    let mut spec = table(kafka, "secret", &options);
    spec.table.options.insert(
        "properties.bootstrap.servers".to_owned(),
        secure.bootstrap.clone(),
    );
    spec
}

#[test]
fn every_mechanism_logs_in() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
        let mut job = Job::open(&login(mechanism), 1, None).unwrap();
        job.run_to_end().unwrap();
        assert_eq!(job.ids(), (0..10).collect::<Vec<_>>(), "{mechanism}");
    }
}

#[test]
fn pem_trust_stores_too() {
    let (_, secure) = secure();
    let mut spec = login("PLAIN");
    let pem = std::fs::read_to_string(&secure.ca_pem).unwrap();
    for (name, value) in [
        ("location", Some(secure.ca_pem.to_str().unwrap())),
        ("type", Some("PEM")),
        ("password", None),
    ] {
        let key = format!("properties.ssl.truststore.{name}");
        match value {
            Some(value) => spec.table.options.insert(key, value.to_owned()),
            None => spec.table.options.remove(&key),
        };
    }
    let mut job = Job::open(&spec, 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.rows(), 10);

    spec.table.options.remove("properties.ssl.truststore.location");
    spec.table
        .options
        .insert("properties.ssl.truststore.certificates".to_owned(), pem);
    let mut job = Job::open(&spec, 1, None).unwrap();
    job.run_to_end().unwrap();
    assert_eq!(job.rows(), 10);
}

#[test]
fn a_refused_login_is_said_and_its_secrets_are_not() {
    let (_, secure) = secure();
    for (mechanism, right) in [("SCRAM-SHA-256", secure.password), ("OAUTHBEARER", secure.scope)] {
        let jaas = secure.login(mechanism).replace(right, "wr0ng-s3cret");
        let e = refused(&login_by(mechanism, &jaas));
        assert!(e.contains("refuse"), "{e}");
        assert!(!e.contains("wr0ng-s3cret"), "{e}");
    }

    // No trust in the broker's certificate: the machine's own roots do not know it.
    let mut spec = login("PLAIN");
    for name in ["location", "type", "password"] {
        spec.table
            .options
            .remove(&format!("properties.ssl.truststore.{name}"));
    }
    let e = refused(&spec);
    assert!(
        e.contains("refuse") && e.to_lowercase().contains("certificate"),
        "{e}"
    );
    assert!(!e.contains(secure.password), "{e}");
}
