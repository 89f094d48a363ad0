//! Who gets in at the port for TaskManagers, and who does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::process::{JobManager, Role, Session, TaskManagerProcess};
use millrace_cluster::resources::ResourceManager;
use millrace_connector_api::Registry;
use millrace_core::Configuration;
use millrace_testkit::tls::{Identity, KEY_PASSWORD, STORE_PASSWORD};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::stores::{CERTIFICATES, with_identity, with_stores};
use super::{logs, openssl, wait_for};

/// How a client of HTTP/2 begins: its preface, and settings that are all as they are.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

pub fn base() -> Configuration {
    let settings = [
        ("jobmanager.rpc.port", "0"),
        ("jobmanager.rpc.address", "127.0.0.1"),
        ("taskmanager.host", "127.0.0.1"),
        ("heartbeat.interval", "200 ms"),
        ("heartbeat.timeout", "10 s"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    settings.into_iter().collect()
}

/// A JobManager that leads, for as long as it is there, and what has registered at it.
pub fn leading(
    config: &Configuration,
    registry: Registry,
    runtime: &Handle,
) -> (JobManager, ResourceManager) {
    let mut job_manager = JobManager::listen(config, registry, runtime).unwrap();
    job_manager.start("", Arc::new(Session)).unwrap();
    let Role::Leader(dispatcher) = job_manager.role().borrow().clone() else {
        panic!("it leads");
    };
    (job_manager, dispatcher.resources().clone())
}

fn job_manager(runtime: &Runtime, identity: &Identity) -> (JobManager, ResourceManager) {
    logs::keep();
    let mut config = base();
    with_identity(&mut config, identity);
    leading(&config, Registry::default(), runtime.handle())
}

/// A TaskManager that tries again and again.
fn task_manager(
    runtime: &Runtime,
    at: SocketAddr,
    id: &str,
    tls: impl FnOnce(&mut Configuration),
) -> JoinHandle<()> {
    let mut config = base();
    config.set("jobmanager.rpc.port", at.port().to_string());
    config.set("taskmanager.resource-id", id);
    tls(&mut config);
    let process = TaskManagerProcess::new(&config, Registry::default(), runtime.handle()).unwrap();
    runtime.spawn(async move { process.run().await })
}

fn registers(resources: &ResourceManager, id: &str) {
    wait_for("the right TaskManager", || {
        let there = resources.task_managers();
        there.iter().any(|there| there.id == id)
    });
}

/// It comes in after all the others.
fn the_right_one_registers(runtime: &Runtime, job_manager: &JobManager, resources: &ResourceManager) {
    let task_manager = task_manager(runtime, job_manager.address, "right", |config| {
        with_identity(config, &CERTIFICATES.ours);
    });
    registers(resources, "right");
    assert_eq!(resources.task_managers().len(), 1, "no other has come in");
    task_manager.abort();
}

#[test]
fn task_managers_that_are_not_vouched_for_do_not_register() {
    let runtime = Runtime::new().unwrap();
    let (job_manager, resources) = job_manager(&runtime, &CERTIFICATES.ours);
    let control = ["WARN", "port=\"control\"", "127.0.0.1:"];
    for (id, identity, why) in [
        (
            "foreign",
            &CERTIFICATES.foreign,
            "its certificate is not in the trust store",
        ),
        ("expired", &CERTIFICATES.expired, "its certificate has expired"),
    ] {
        let task_manager = task_manager(&runtime, job_manager.address, id, |config| {
            with_identity(config, identity)
        });
        wait_for(why, || logs::have(&[&control[..], &[why]].concat()));
        // It is told too.
        let address = job_manager.address.to_string();
        let lost = ["WARN", "the JobManager is lost", &address];
        let told = "it refuses this side's certificate";
        wait_for(told, || logs::have(&[&lost[..], &[told]].concat()));
        task_manager.abort();
    }
    // One without TLS.
    let plain = task_manager(&runtime, job_manager.address, "plain", |_| {});
    wait_for("the one without TLS", || {
        logs::have(&[&control[..], &["it does not speak TLS"]].concat())
    });
    plain.abort();
    the_right_one_registers(&runtime, &job_manager, &resources);
    for line in logs::all() {
        assert!(
            !line.contains(STORE_PASSWORD) && !line.contains(KEY_PASSWORD),
            "{line}"
        );
    }
}

#[test]
fn a_job_manager_that_is_not_vouched_for_is_not_served() {
    let runtime = Runtime::new().unwrap();
    for (wrong, why) in [
        (&CERTIFICATES.foreign, "its certificate is not in the trust store"),
        (&CERTIFICATES.expired, "its certificate has expired"),
    ] {
        let (job_manager, resources) = job_manager(&runtime, wrong);
        let task_manager = task_manager(&runtime, job_manager.address, "careful", |config| {
            with_identity(config, &CERTIFICATES.ours);
        });
        let address = job_manager.address.to_string();
        wait_for(why, || logs::have(&["the JobManager is lost", &address, why]));
        assert!(resources.task_managers().is_empty());
        task_manager.abort();
    }
}

#[test]
fn openssl_gets_in_with_the_right_certificate_only() {
    let runtime = Runtime::new().unwrap();
    let (job_manager, resources) = job_manager(&runtime, &CERTIFICATES.ours);
    for protocol in ["-tls1_2", "-tls1_3"] {
        let ask = |identity| openssl::ask(job_manager.address, identity, protocol, HELLO);
        let answer = ask(Some(&CERTIFICATES.ours)).unwrap();
        assert_eq!(answer[3], 4, "{protocol}: the server's settings come first");
        for (identity, alert) in [
            (None, "alert"),
            (Some(&CERTIFICATES.foreign), "alert unknown ca"),
            (Some(&CERTIFICATES.expired), "alert certificate expired"),
        ] {
            let said = ask(identity).unwrap_err();
            assert!(said.contains(alert), "{protocol}: {said}");
        }
    }
    assert!(logs::have(&["port=\"control\"", "it shows no certificate"]));
    the_right_one_registers(&runtime, &job_manager, &resources);
}

#[test]
fn who_speaks_plainly_or_not_at_all_holds_nobody_up() {
    let runtime = Runtime::new().unwrap();
    let (job_manager, resources) = job_manager(&runtime, &CERTIFICATES.ours);
    let connect = || TcpStream::connect(job_manager.address).unwrap();
    let silent: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    let mut plain = connect();
    plain.write_all(HELLO).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(plain.read(&mut [0; 16]).unwrap_or(0), 0, "it is not answered");
    let peer = plain.local_addr().unwrap().to_string();
    assert!(logs::have(&[&peer, "port=\"control\"", "it does not speak TLS"]));
    // A mere look whether the port is open is worth no line.
    let looked = connect().local_addr().unwrap().to_string();
    the_right_one_registers(&runtime, &job_manager, &resources);
    assert!(!logs::have(&[&looked]));
    drop(silent);
}

#[test]
fn certificates_are_exchanged_under_a_running_job_manager() {
    logs::keep();
    let runtime = Runtime::new().unwrap();
    let folder = CERTIFICATES.folder.join("exchanged");
    std::fs::create_dir_all(&folder).unwrap();
    let (key, trust) = (folder.join("key.pem"), folder.join("trust.pem"));
    let put = |identity: &Identity, authority: &millrace_testkit::tls::Authority| {
        std::fs::copy(identity.pem().unwrap(), &key).unwrap();
        std::fs::copy(authority.truststore_pem(), &trust).unwrap();
    };
    put(&CERTIFICATES.ours, &CERTIFICATES.authority);
    let mut config = base();
    with_stores(&mut config, &key, &trust);
    let (job_manager, resources) = leading(&config, Registry::default(), runtime.handle());
    let first = task_manager(&runtime, job_manager.address, "first", |config| {
        with_identity(config, &CERTIFICATES.ours);
    });
    registers(&resources, "first");
    put(&CERTIFICATES.foreign, &CERTIFICATES.other);
    // It tries until the JobManager has seen it.
    let second = task_manager(&runtime, job_manager.address, "second", |config| {
        let trust = CERTIFICATES.other.truststore_pem();
        with_stores(config, &CERTIFICATES.foreign.pem().unwrap(), &trust);
    });
    registers(&resources, "second");
    registers(&resources, "first");
    first.abort();
    second.abort();
}
