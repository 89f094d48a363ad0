//! Handshakes over loopback, with stores that openssl and keytool have made.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use millrace_core::options;
use millrace_testkit::scratch::Scratch;
use millrace_testkit::tls::{Authority, Identity, KEY_PASSWORD, STORE_PASSWORD, Validity, shared_store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::reasons::why;
use super::*;

struct Certificates {
    folder: Scratch,
    authority: Authority,
    /// Nobody here trusts it.
    other: Authority,
    ours: Identity,
    expired: Identity,
    foreign: Identity,
}

static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| {
    let folder = Scratch::new("tls").unwrap();
    let authority = Authority::new(folder.path(), "authority").unwrap();
    let other = Authority::new(folder.path(), "other").unwrap();
    let names = ["DNS:localhost", "IP:127.0.0.1"];
    Certificates {
        ours: authority.issue("ours", Validity::Now, &names).unwrap(),
        expired: authority.issue("expired", Validity::Past, &names).unwrap(),
        foreign: other.issue("foreign", Validity::Now, &names).unwrap(),
        folder,
        authority,
        other,
    }
});

fn config(settings: &[(&str, &str)]) -> Configuration {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    settings.collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The configuration of a process with these stores.
fn internal(key: &Path, trust: &Path) -> Configuration {
    config(&[
        ("security.ssl.internal.enabled", "true"),
        ("security.ssl.internal.keystore", text(key)),
        ("security.ssl.internal.truststore", text(trust)),
    ])
}

/// The same, where the stores have passwords.
fn internal_with_passwords(key: &Path, key_password: &str, trust: &Path) -> Configuration {
    let mut config = internal(key, trust);
    config.set("security.ssl.internal.keystore-password", STORE_PASSWORD);
    config.set("security.ssl.internal.key-password", key_password);
    config.set("security.ssl.internal.truststore-password", STORE_PASSWORD);
    config
}

fn process(config: &Configuration) -> Internal {
    Cluster::from_config(config).unwrap().rpc.unwrap()
}

fn ours() -> Configuration {
    internal(
        &CERTIFICATES.ours.pem().unwrap(),
        &CERTIFICATES.authority.truststore_pem(),
    )
}

/// What becomes of a connection: what each side says of the other, or what the server has read.
fn connect(server: &Internal, client: &Internal) -> Result<(), (String, String)> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = server
                .acceptor
                .accept(tcp)
                .await
                .map_err(|refused| match refused {
                    Refused::Silent => "silent".to_owned(),
                    Refused::Plain(_) => "plain".to_owned(),
                    Refused::Why(why) => why,
                })?;
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.map_err(|e| e.to_string())?;
            stream.write_all(&word).await.map_err(|e| e.to_string())?;
            stream.flush().await.map_err(|e| e.to_string())?;
            Ok(stream)
        };
        let ask = async {
            let tcp = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
            let connecting = client.connector.connect("127.0.0.1", tcp).await;
            let mut stream = connecting.map_err(|e| e.to_string())?;
            let mut word = [0; 4];
            // Who is refused may learn it while it writes.
            let written = stream.write_all(b"word").await.and(stream.flush().await);
            stream.read_exact(&mut word).await.map_err(|e| e.to_string())?;
            written.map_err(|e| e.to_string())?;
            assert_eq!(word, *b"word");
            Ok::<_, String>(stream)
        };
        match tokio::join!(serve, ask) {
            (Ok(_), Ok(_)) => Ok(()),
            (served, asked) => Err((served.err().unwrap_or_default(), asked.err().unwrap_or_default())),
        }
    })
}

#[test]
fn stores_of_every_kind_fit_one_another() {
    let Certificates { authority, ours, .. } = &*CERTIFICATES;
    let rsa = authority.issue_rsa("rsa", Validity::Now, &[]).unwrap();
    let trust = [
        authority.truststore_pem(),
        authority.truststore_pkcs12().unwrap(),
        authority.truststore_jks().unwrap(),
    ];
    let of_kinds = [
        process(&internal(&ours.pem().unwrap(), &trust[0])),
        process(&internal_with_passwords(
            &ours.encrypted_pem().unwrap(),
            KEY_PASSWORD,
            &trust[1],
        )),
        process(&internal_with_passwords(
            &rsa.pkcs12().unwrap(),
            STORE_PASSWORD,
            &trust[2],
        )),
        process(&internal_with_passwords(
            &ours.jks().unwrap(),
            KEY_PASSWORD,
            &trust[1],
        )),
    ];
    for (number, server) in of_kinds.iter().enumerate() {
        let client = &of_kinds[(number + 1) % of_kinds.len()];
        assert_eq!(connect(server, client), Ok(()), "{number}");
    }
    // The types may be said, and older keys without `internal`.
    let mut config = config(&[
        ("security.ssl.internal.enabled", "true"),
        ("security.ssl.keystore", text(&ours.jks().unwrap())),
        ("security.ssl.keystore-password", STORE_PASSWORD),
        ("security.ssl.key-password", KEY_PASSWORD),
        ("security.ssl.internal.keystore-type", "JKS"),
        ("security.ssl.truststore", text(&trust[1])),
        ("security.ssl.truststore-password", STORE_PASSWORD),
        ("security.ssl.internal.truststore-type", "pkcs12"),
    ]);
    assert_eq!(connect(&process(&config), &of_kinds[0]), Ok(()));
    assert_eq!(options::check(&config).unwrap(), Vec::<String>::new());
    config.set("security.ssl.internal.keystore-type", "BCFKS");
    let error = Cluster::from_config(&config).err().unwrap().to_string();
    assert!(error.contains("security.ssl.internal.keystore-type"), "{error}");
}

#[test]
fn one_store_may_be_all_of_it() {
    let folder = CERTIFICATES.folder.path();
    let shared = |name: &str| {
        let store = shared_store(folder, name).unwrap();
        process(&internal_with_passwords(&store, STORE_PASSWORD, &store))
    };
    let (one, other) = (shared("flink.internal"), shared("elsewhere"));
    assert_eq!(connect(&one, &one), Ok(()));
    let (served, asked) = connect(&one, &other).unwrap_err();
    assert!(asked.contains("not in the trust store"), "{asked}");
    assert!(served.contains("it refuses this side's certificate"), "{served}");
}

#[test]
fn who_is_not_vouched_for_is_refused_by_either_side() {
    let Certificates {
        authority,
        other,
        expired,
        foreign,
        ..
    } = &*CERTIFICATES;
    let right = process(&ours());
    // These trust the right one, which does not trust them.
    let with =
        |identity: &Identity| process(&internal(&identity.pem().unwrap(), &authority.truststore_pem()));
    for (wrong, why) in [
        (with(foreign), "not in the trust store"),
        (with(expired), "its certificate has expired"),
    ] {
        let (served, asked) = connect(&right, &wrong).unwrap_err();
        assert!(served.contains(why), "{served}");
        assert!(asked.contains("it refuses this side's certificate"), "{asked}");
        let (served, asked) = connect(&wrong, &right).unwrap_err();
        assert!(asked.contains(why), "{asked}");
        assert!(served.contains("it refuses this side's certificate"), "{served}");
    }
    // And one that trusts somebody else.
    let stranger = process(&internal(
        &CERTIFICATES.ours.pem().unwrap(),
        &other.truststore_pem(),
    ));
    let (served, asked) = connect(&right, &stranger).unwrap_err();
    assert!(asked.contains("not in the trust store"), "{asked}");
    assert!(served.contains("it refuses this side's certificate"), "{served}");
}

#[test]
fn both_protocols_refuse_and_take_the_same() {
    let with_protocol = |protocol: &str, identity: &Identity| {
        let mut config = internal(&identity.pem().unwrap(), &CERTIFICATES.authority.truststore_pem());
        config.set("security.ssl.protocol", protocol);
        process(&config)
    };
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let right = with_protocol(protocol, &CERTIFICATES.ours);
        assert_eq!(connect(&right, &right), Ok(()));
        let wrong = with_protocol(protocol, &CERTIFICATES.foreign);
        let (served, _) = connect(&right, &wrong).unwrap_err();
        assert!(served.contains("not in the trust store"), "{protocol}: {served}");
    }
    let [old, new] = ["TLSv1.2", "TLSv1.3"].map(|protocol| with_protocol(protocol, &CERTIFICATES.ours));
    let (served, asked) = connect(&old, &new).unwrap_err();
    let none_in_common = "no protocol or cipher suite in common";
    assert!(
        served.contains(none_in_common) && asked.contains(none_in_common),
        "{served}; {asked}"
    );
}

#[test]
fn a_fingerprint_leaves_out_what_the_authority_vouches_for() {
    let second = CERTIFICATES
        .authority
        .issue("second", Validity::Now, &[])
        .unwrap();
    let second = process(&internal(
        &second.pem().unwrap(),
        &CERTIFICATES.authority.truststore_pem(),
    ));
    let der = |identity: &Identity| {
        use tokio_rustls::rustls::pki_types::CertificateDer;
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_file(identity.certificate()).unwrap()
    };
    let [sha1, sha256] =
        millrace_stores::certificate::fingerprints(&der(&CERTIFICATES.ours)).map(hex::encode_upper);
    let colons: Vec<&str> = (0..sha1.len()).step_by(2).map(|at| &sha1[at..at + 2]).collect();
    for fingerprints in [sha256, format!("{}, {}", "00".repeat(20), colons.join(":"))] {
        let mut config = ours();
        config.set("security.ssl.internal.cert.fingerprint", fingerprints);
        let pinned = process(&config);
        assert_eq!(connect(&pinned, &pinned), Ok(()));
        let (served, _) = connect(&pinned, &second).unwrap_err();
        assert!(served.contains("none of the fingerprints"), "{served}");
        let (_, asked) = connect(&second, &pinned).unwrap_err();
        assert!(asked.contains("none of the fingerprints"), "{asked}");
    }
    let mut config = ours();
    config.set("security.ssl.internal.cert.fingerprint", "abc");
    let error = Cluster::from_config(&config).err().unwrap().to_string();
    assert!(
        error.contains("security.ssl.internal.cert.fingerprint: 'abc'"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_a_store_is_said_by_its_key_and_without_its_password() {
    let Certificates {
        authority,
        ours,
        folder,
        ..
    } = &*CERTIFICATES;
    let (jks, trust) = (ours.jks().unwrap(), authority.truststore_jks().unwrap());
    let p12 = ours.pkcs12().unwrap();
    let empty = folder.join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    let missing: PathBuf = folder.join("missing.p12");
    let refused = |key: &Path, key_password: &str, trust: &Path, more: &[(&str, &str)]| {
        let mut config = internal_with_passwords(key, key_password, trust);
        for (name, value) in more {
            config.set(*name, *value);
        }
        let error = Cluster::from_config(&config)
            .err()
            .expect("it is refused")
            .to_string();
        for secret in [STORE_PASSWORD, KEY_PASSWORD, "geheim"] {
            assert!(!error.contains(secret), "{error}");
        }
        error
    };
    for (error, said) in [
        (
            refused(&jks, "geheim", &trust, &[]),
            [
                "security.ssl.internal.keystore: ",
                "password is wrong",
                "security.ssl.internal.key-password",
            ],
        ),
        (
            refused(
                &p12,
                "",
                &trust,
                &[("security.ssl.internal.keystore-password", "geheim")],
            ),
            [
                "security.ssl.internal.keystore: ",
                "password is wrong",
                "security.ssl.internal.keystore-password",
            ],
        ),
        (
            refused(
                &jks,
                KEY_PASSWORD,
                &trust,
                &[("security.ssl.internal.truststore-password", "geheim")],
            ),
            [
                "security.ssl.internal.truststore: ",
                "password is wrong",
                "security.ssl.internal.truststore-password",
            ],
        ),
        (
            refused(&missing, KEY_PASSWORD, &trust, &[]),
            ["security.ssl.internal.keystore: ", "No such file", "missing.p12"],
        ),
        (
            refused(&jks, KEY_PASSWORD, &missing, &[]),
            [
                "security.ssl.internal.truststore: ",
                "No such file",
                "missing.p12",
            ],
        ),
        (
            refused(
                &jks,
                KEY_PASSWORD,
                &empty,
                &[("security.ssl.internal.truststore-type", "PEM")],
            ),
            [
                "security.ssl.internal.truststore: ",
                "no certificates",
                "empty.pem",
            ],
        ),
        (
            refused(&trust, KEY_PASSWORD, &trust, &[]),
            [
                "security.ssl.internal.keystore: ",
                "exactly one private key",
                "trust.jks",
            ],
        ),
        (
            refused(
                &jks,
                KEY_PASSWORD,
                &trust,
                &[("security.ssl.internal.handshake-timeout", "-2")],
            ),
            [
                "security.ssl.internal.handshake-timeout: '-2'",
                "negative",
                "milliseconds",
            ],
        ),
    ] {
        for said in said {
            assert!(error.contains(said), "{said} is missing: {error}");
        }
    }
    let none = config(&[("security.ssl.internal.enabled", "true")]);
    let error = Cluster::from_config(&none).err().unwrap().to_string();
    assert!(error.contains("security.ssl.internal.keystore"), "{error}");
    assert!(
        Cluster::from_config(&Configuration::default())
            .unwrap()
            .rpc
            .is_none()
    );
}

#[test]
fn parts_of_the_cluster_may_go_without() {
    let mut config = ours();
    config.set("taskmanager.data.ssl.enabled", "false");
    let cluster = Cluster::from_config(&config).unwrap();
    assert!(cluster.rpc.is_some() && cluster.data.is_none());
    config.set("taskmanager.data.ssl.enabled", "true");
    config.set("pekko.ssl.enabled", "false");
    let cluster = Cluster::from_config(&config).unwrap();
    assert!(cluster.rpc.is_none() && cluster.data.is_some());
}

fn rest(key: Option<&Identity>, more: &[(&str, &str)]) -> Configuration {
    let mut config = config(&[("security.ssl.rest.enabled", "true")]);
    if let Some(key) = key {
        config.set("security.ssl.rest.keystore", text(&key.pem().unwrap()));
    }
    for (name, value) in more {
        config.set(*name, *value);
    }
    config
}

/// A server of REST that answers each request with the same, and a client that reaches it as `host`: the answer.
fn request(server: &Configuration, client: &Configuration, host: &str) -> std::io::Result<String> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = Listener::new(tcp, rest_server(server).unwrap(), "rest").redirecting();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await;
                tokio::spawn(async move {
                    let mut request = [0; 16];
                    stream.read_exact(&mut request).await?;
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    stream.shutdown().await
                });
            }
        });
        let ask = async {
            let tcp = TcpStream::connect(address).await?;
            let mut stream = match rest_client(client).unwrap() {
                None => Stream::Plain(tcp),
                Some(config) => {
                    let name = ServerName::try_from(host.to_owned()).unwrap();
                    let tcp = tokio::io::BufReader::new(tcp);
                    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
                    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
                    Stream::Tls(Box::new(tls.into()))
                }
            };
            stream
                .write_all(format!("GET /jobs HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        let answer = ask.await;
        serving.abort();
        answer
    })
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn rest_is_served_to_who_trusts_it_by_its_name() {
    let Certificates { authority, ours, .. } = &*CERTIFICATES;
    let server = rest(Some(ours), &[]);
    let trust = authority.truststore_pkcs12().unwrap();
    let trusts = [
        ("security.ssl.rest.truststore", text(&trust)),
        ("security.ssl.rest.truststore-password", STORE_PASSWORD),
    ];
    let client = rest(None, &trusts);
    assert_eq!(request(&server, &client, "localhost").unwrap(), ANSWER);
    assert_eq!(request(&server, &client, "127.0.0.1").unwrap(), ANSWER);
    let error = request(&server, &client, "jobmanager").unwrap_err();
    assert!(why(&error).contains("not valid for name"), "{}", why(&error));
    let any_name = rest(
        None,
        &[&trusts[..], &[("security.ssl.verify-hostname", "false")]].concat(),
    );
    assert_eq!(request(&server, &any_name, "jobmanager").unwrap(), ANSWER);
    let other = rest(
        None,
        &[(
            "security.ssl.rest.truststore",
            text(&CERTIFICATES.other.truststore_pem()),
        )],
    );
    let error = request(&server, &other, "localhost").unwrap_err();
    assert!(why(&error).contains("not in the trust store"), "{}", why(&error));
    // Plain HTTP leads to the same over TLS, as by Flink.
    let plain = request(&server, &Configuration::default(), "localhost:1234").unwrap();
    assert!(plain.starts_with("HTTP/1.1 301 "), "{plain}");
    assert!(
        plain.contains("\r\nLocation: https://localhost:1234/jobs\r\n"),
        "{plain}"
    );
}

#[test]
fn rest_asks_for_a_certificate_where_that_is_wanted() {
    let Certificates { authority, ours, .. } = &*CERTIFICATES;
    let trust = authority.truststore_pem();
    let both = [
        ("security.ssl.rest.truststore", text(&trust)),
        ("security.ssl.rest.authentication-enabled", "true"),
    ];
    let server = rest(Some(ours), &both);
    let answer = |identity: &Identity| request(&server, &rest(Some(identity), &both), "localhost");
    assert_eq!(answer(ours).unwrap(), ANSWER);
    for identity in [&CERTIFICATES.foreign, &CERTIFICATES.expired] {
        let error = answer(identity).unwrap_err();
        assert!(
            why(&error).contains("it refuses this side's certificate"),
            "{}",
            why(&error)
        );
    }
    let without = request(&server, &rest(None, &both[..1]), "localhost").unwrap_err();
    assert!(
        why(&without).contains("it asks for a certificate"),
        "{}",
        why(&without)
    );
    let error = rest_server(&rest(Some(ours), &both[1..]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("security.ssl.rest.truststore"), "{error}");
}

#[test]
fn who_says_nothing_holds_nobody_up_and_is_sent_away() {
    let mut config = ours();
    config.set("security.ssl.internal.handshake-timeout", "300");
    let internal = process(&config);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = Listener::new(tcp, Some(internal.acceptor), "control");
        let address = listener.local_addr().unwrap();
        let mut silent = Vec::new();
        for number in 0..50 {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            // Half of them begin, and go no further.
            if number % 2 == 0 {
                tcp.write_all(&[0x16, 3, 1]).await.unwrap();
            }
            silent.push(tcp);
        }
        // It is served among them, by one who takes one connection after the other.
        let connecting = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut stream = internal.connector.connect("127.0.0.1", tcp).await.unwrap();
            stream.write_all(b"word").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let ((mut stream, _), _client) = tokio::join!(listener.accept(), connecting);
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        let accepting = tokio::spawn(async move { listener.accept().await.1 });
        for mut tcp in silent {
            let read = tcp.read(&mut word).await;
            assert!(matches!(&read, Ok(0)) || read.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        }
        accepting.abort();
    });
}
