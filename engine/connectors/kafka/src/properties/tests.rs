use millrace_kafka_wire::{Roots, Sasl, ScramHash};

use super::*;

fn parse(given: &[(&str, &str)]) -> Result<Properties> {
    let mut all = BTreeMap::from([("properties.bootstrap.servers".to_owned(), "a:1, b:2".to_owned())]);
    for (key, value) in given {
        all.insert(format!("properties.{key}"), (*value).to_owned());
    }
    Properties::parse(&Options::new("t", &all))
}

fn option(given: &[(&str, &str)], role: Role, name: &str) -> Option<String> {
    parse(given)
        .unwrap()
        .rdkafka(role)
        .unwrap()
        .options
        .get(name)
        .cloned()
}

#[test]
fn the_table_is_in_order_and_every_target_exists() {
    assert!(
        PROPERTIES.windows(2).all(|w| w[0].name < w[1].name),
        "names are sorted and unique"
    );
    for property in PROPERTIES {
        let (Meaning::Option(target) | Meaning::Scaled(target, _)) = property.meaning else {
            continue;
        };
        let e = ClientConfig::new()
            .set(target, "1")
            .create_native_config()
            .err()
            .map(|e| e.to_string());
        let unknown = e.is_some_and(|e| e.contains("No such configuration property"));
        assert!(!unknown, "{}: librdkafka does not know '{target}'", property.name);
    }
}

#[test]
fn values_are_translated() {
    use Role::{Admin, Consumer, Producer};
    for (name, value, role, target, expected) in [
        ("fetch.max.wait.ms", "100", Consumer, "fetch.wait.max.ms", "100"),
        (
            "max.request.size",
            "2000000",
            Producer,
            "message.max.bytes",
            "2000000",
        ),
        (
            "buffer.memory",
            "33554432",
            Producer,
            "queue.buffering.max.kbytes",
            "32768",
        ),
        (
            "buffer.memory",
            "100",
            Producer,
            "queue.buffering.max.kbytes",
            "1",
        ),
        (
            "receive.buffer.bytes",
            "-1",
            Consumer,
            "socket.receive.buffer.bytes",
            "0",
        ),
        (
            "send.buffer.bytes",
            "4096",
            Producer,
            "socket.send.buffer.bytes",
            "4096",
        ),
        (
            "metadata.max.age.ms",
            "999999999",
            Consumer,
            "topic.metadata.refresh.interval.ms",
            "3600000",
        ),
        (
            "request.timeout.ms",
            "1234",
            Consumer,
            "socket.timeout.ms",
            "1234",
        ),
        (
            "request.timeout.ms",
            "1234",
            Producer,
            "request.timeout.ms",
            "1234",
        ),
        ("linger.ms", "7", Producer, "linger.ms", "7"),
        ("acks", "1", Producer, "acks", "1"),
        // Bounds of librdkafka's that are narrower than Java's.
        (
            "request.timeout.ms",
            "400000",
            Consumer,
            "socket.timeout.ms",
            "300000",
        ),
        (
            "request.timeout.ms",
            "1000000",
            Producer,
            "request.timeout.ms",
            "900000",
        ),
        ("fetch.max.bytes", "65536", Consumer, "fetch.max.bytes", "65536"),
        ("fetch.max.bytes", "65536", Admin, "message.max.bytes", "65536"),
        ("fetch.max.bytes", "1", Consumer, "fetch.max.bytes", "1000"),
        (
            "fetch.max.bytes",
            "2147483647",
            Consumer,
            "fetch.max.bytes",
            "2147483135",
        ),
        ("client.id", "me", Admin, "client.id", "me"),
        (
            "isolation.level",
            "read_committed",
            Consumer,
            "isolation.level",
            "read_committed",
        ),
    ] {
        assert_eq!(
            option(&[(name, value)], role, target).as_deref(),
            Some(expected),
            "{name}"
        );
    }
    // What belongs to the other client is left out.
    assert_eq!(option(&[("linger.ms", "7")], Consumer, "linger.ms"), None);
    assert_eq!(
        option(&[("fetch.min.bytes", "7")], Producer, "fetch.min.bytes"),
        None
    );
    // Java's defaults where librdkafka's differ.
    assert_eq!(
        option(&[], Consumer, "isolation.level").as_deref(),
        Some("read_uncommitted")
    );
    assert_eq!(option(&[], Producer, "acks").as_deref(), Some("all"));
    // The level of the type that is used.
    let levels = [
        ("compression.type", "zstd"),
        ("compression.zstd.level", "9"),
        ("compression.gzip.level", "2"),
    ];
    assert_eq!(
        option(&levels, Producer, "compression.level").as_deref(),
        Some("9")
    );
}

#[test]
fn every_translated_configuration_makes_a_client() {
    for role in [Role::Consumer, Role::Producer, Role::Admin] {
        parse(&[])
            .unwrap()
            .rdkafka(role)
            .unwrap()
            .config()
            .create_native_config()
            .unwrap();
    }
}

/// What librdkafka checks only when a client is made.
#[test]
fn properties_at_the_bounds_make_clients() {
    for (given, role) in [
        (("fetch.max.bytes", "1"), Role::Consumer),
        (("fetch.max.bytes", "65536"), Role::Consumer),
        (("fetch.max.bytes", "2147483647"), Role::Admin),
        (("request.timeout.ms", "2147483647"), Role::Consumer),
        (("request.timeout.ms", "1"), Role::Producer),
        (("acks", "1"), Role::Producer),
        (("acks", "0"), Role::Producer),
        (("retries", "0"), Role::Producer),
        (("max.in.flight.requests.per.connection", "10"), Role::Producer),
    ] {
        let config = parse(&[given]).unwrap().rdkafka(role).unwrap().config();
        let made = match role {
            Role::Producer => config
                .create::<rdkafka::producer::BaseProducer>()
                .map(|_| ())
                .map_err(|e| e.to_string()),
            _ => config
                .create::<rdkafka::consumer::BaseConsumer>()
                .map(|_| ())
                .map_err(|e| e.to_string()),
        };
        assert_eq!(made, Ok(()), "{given:?}");
    }
}

#[test]
fn idempotence_gives_way_as_in_java_unless_it_was_asked_for() {
    let is_idempotent = |given: &[(&str, &str)]| parse(given).unwrap().idempotence();
    assert!(is_idempotent(&[]).unwrap());
    for given in [("acks", "-1"), ("retries", "3"), ("enable.idempotence", "TRUE")] {
        assert!(is_idempotent(&[given]).unwrap(), "{given:?}");
    }
    assert!(!is_idempotent(&[("enable.idempotence", "false")]).unwrap());
    for given in [
        ("acks", "1"),
        ("acks", "0"),
        ("retries", "0"),
        ("max.in.flight.requests.per.connection", "6"),
    ] {
        assert!(!is_idempotent(&[given]).unwrap(), "{given:?}");
        let e = is_idempotent(&[given, ("enable.idempotence", "true")])
            .unwrap_err()
            .to_string();
        assert!(
            e.contains(&format!("'properties.{}' = '{}'", given.0, given.1)),
            "{e}"
        );
    }
}

#[test]
fn unknown_refused_and_wrong_properties_are_errors() {
    for (given, expected) in [
        (
            ("fetch.min.byte", "1"),
            "did you mean 'properties.fetch.min.bytes'",
        ),
        (("queued.min.messages", "1"), "unknown option"),
        (("sasl.kerberos.service.name", "kafka"), "not supported"),
        (("interceptor.classes", "x.Y"), "'properties.interceptor.classes'"),
        (("transactional.id", "x"), "sink.transactional-id-prefix"),
        (("auto.offset.reset", "soon"), "earliest, latest or none"),
        (
            ("fetch.min.bytes", "many"),
            "'properties.fetch.min.bytes' = 'many'",
        ),
        (("commit.offsets.on.checkpoint", "yes"), "'true' or 'false'"),
        (
            ("security.protocol", "TLS"),
            "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        ),
        (("bootstrap.servers", " , "), "host:port"),
        (("fetch.max.bytes", "-1"), "'properties.fetch.max.bytes' = '-1'"),
    ] {
        let e = parse(&[given]).err().unwrap().to_string();
        assert!(e.contains(expected), "{given:?}: {e}");
    }
    // Without effect, yet valid.
    parse(&[
        ("max.block.ms", "5"),
        ("max.poll.records", "5"),
        ("group.instance.id", "x"),
        ("sasl.login.refresh.window.factor", "1"),
    ])
    .unwrap();
}

#[test]
fn logins_for_both_clients() {
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"s3cret\";";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"s3cret\";";
    for (mechanism, jaas) in [
        ("PLAIN", plain),
        ("SCRAM-SHA-256", scram),
        ("SCRAM-SHA-512", scram),
    ] {
        let p = parse(&[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", mechanism),
            ("sasl.jaas.config", jaas),
        ])
        .unwrap();
        let rd = p.rdkafka(Role::Consumer).unwrap().options;
        assert_eq!(rd["security.protocol"], "sasl_plaintext");
        assert_eq!(
            (rd["sasl.mechanism"].as_str(), rd["sasl.password"].as_str()),
            (mechanism, "s3cret")
        );
        let wire = p.wire().unwrap();
        assert_eq!(wire.bootstrap, ["a:1", "b:2"]);
        assert!(wire.security.tls.is_none());
        match (mechanism, wire.security.sasl.unwrap()) {
            ("PLAIN", Sasl::Plain { username, password }) => {
                assert_eq!((username.as_str(), password.as_str()), ("u", "s3cret"));
            }
            (
                "SCRAM-SHA-256",
                Sasl::Scram {
                    hash: ScramHash::Sha256,
                    ..
                },
            )
            | (
                "SCRAM-SHA-512",
                Sasl::Scram {
                    hash: ScramHash::Sha512,
                    ..
                },
            ) => {}
            (_, other) => panic!("{mechanism} became {other:?}"),
        }
    }
    let token = parse(&[
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "OAUTHBEARER"),
        (
            "sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"u\";",
        ),
    ])
    .unwrap();
    assert!(
        token
            .rdkafka(Role::Producer)
            .unwrap()
            .tokens
            .unwrap()
            .token()
            .unwrap()
            .principal
            == "u"
    );
}

#[test]
fn what_sasl_cannot_do_is_refused_by_name() {
    let sasl = ("security.protocol", "SASL_SSL");
    let oauth = ("sasl.mechanism", "OAUTHBEARER");
    let module = (
        "sasl.jaas.config",
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"a\" clientSecret=\"s3cret\";",
    );
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[sasl], "GSSAPI"),
        (&[sasl, ("sasl.mechanism", "GSSAPI")], "GSSAPI"),
        (
            &[sasl, ("sasl.mechanism", "PLAIN")],
            "properties.sasl.jaas.config",
        ),
        (
            &[
                sasl,
                ("sasl.mechanism", "PLAIN"),
                ("sasl.jaas.config", "x.ScramLoginModule required;"),
            ],
            "PlainLoginModule",
        ),
        (
            &[
                sasl,
                ("sasl.mechanism", "PLAIN"),
                ("sasl.jaas.config", "x.PlainLoginModule required;"),
            ],
            "'username'",
        ),
        (
            &[
                sasl,
                ("sasl.mechanism", "NTLM"),
                ("sasl.jaas.config", "x.Y required;"),
            ],
            "SCRAM-SHA-512",
        ),
        (&[sasl, oauth, module], "clientId"),
        (
            &[
                sasl,
                oauth,
                module,
                ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ],
            "asking an identity provider",
        ),
        (
            &[
                sasl,
                oauth,
                module,
                ("sasl.login.callback.handler.class", "com.example.Mine"),
            ],
            "com.example.Mine",
        ),
    ];
    for (given, expected) in cases {
        let e = parse(given).err().unwrap().to_string();
        assert!(e.contains(expected) && !e.contains("s3cret"), "{given:?}: {e}");
    }
}

#[test]
fn tls_for_both_clients() {
    let p = parse(&[
        ("security.protocol", "SSL"),
        ("ssl.endpoint.identification.algorithm", ""),
    ])
    .unwrap();
    let tls = p.wire().unwrap().security.tls.unwrap();
    assert!(!tls.verify_hostname);
    assert!(matches!(tls.roots, Roots::System));
    let rd = p.rdkafka(Role::Consumer).unwrap().options;
    assert_eq!(rd["ssl.endpoint.identification.algorithm"], "none");
    assert!(!rd.contains_key("ssl.ca.pem"));
    let https = parse(&[("security.protocol", "SSL")])
        .unwrap()
        .rdkafka(Role::Consumer)
        .unwrap()
        .options;
    assert_eq!(https["ssl.endpoint.identification.algorithm"], "https");

    let missing = parse(&[
        ("security.protocol", "SSL"),
        ("ssl.truststore.location", "/no/such/store"),
    ])
    .unwrap();
    let e = missing.wire().err().unwrap().to_string();
    assert!(e.contains("/no/such/store") && e.contains("table 't'"), "{e}");
    let old = parse(&[("security.protocol", "SSL"), ("ssl.enabled.protocols", "TLSv1.1")]);
    assert!(old.err().unwrap().to_string().contains("TLSv1.2"));
    // What would leave a weaker protocol open than was asked for.
    let new = parse(&[("security.protocol", "SSL"), ("ssl.enabled.protocols", "TLSv1.3")]);
    assert!(new.err().unwrap().to_string().contains("TLS 1.3 alone"));
    // Java's own defaults, and a stronger one than was asked for.
    for (name, value) in [
        ("ssl.protocol", "TLSv1.3"),
        ("ssl.enabled.protocols", "TLSv1.2,TLSv1.3"),
        ("ssl.enabled.protocols", "TLSv1.2"),
    ] {
        parse(&[("security.protocol", "SSL"), (name, value)]).unwrap();
    }
}
