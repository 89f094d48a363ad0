//! Jobs on a JobManager and two TaskManagers, with a proxy before each port.

use millrace_cluster::process::{JobManager, TaskManagerProcess};
use millrace_cluster::{JobHandle, Outcome, SlotSource, Start, submit_to};
use millrace_core::{Configuration, ErrorKind};
use millrace_testkit::tls::{Authority, Identity, STORE_PASSWORD, Validity};

use super::model::World;
use super::peers::{base, leading};
use super::stores::{CERTIFICATES, with_identity, with_stores};
use super::tap::Tap;
use super::wait_for;

struct Cluster {
    slots: SlotSource,
    /// It leads as long as it is there.
    _job_manager: JobManager,
    control: Tap,
    /// Before each of the TaskManagers.
    data: [Tap; 2],
}

impl Cluster {
    /// `tls` is put into the configuration of the JobManager (0) and of the TaskManagers (1 and 2).
    fn start(world: &World, tls: impl Fn(usize, &mut Configuration)) -> Cluster {
        let runtime = world.runtime.handle();
        let control = Tap::new();
        let mut config = base();
        tls(0, &mut config);
        let (job_manager, resources) = leading(&config, world.registry(), runtime);
        control.lead_to(job_manager.address);
        let data = [(1, "1"), (2, "15")].map(|(number, slots)| {
            let tap = Tap::new();
            let mut config = base();
            tls(number, &mut config);
            for (key, value) in [
                ("jobmanager.rpc.port", control.address.port().to_string().as_str()),
                ("taskmanager.data.port", tap.address.port().to_string().as_str()),
                ("taskmanager.data.bind-port", "0"),
                ("taskmanager.numberOfTaskSlots", slots),
                ("taskmanager.resource-id", &format!("task-manager-{number}")),
            ] {
                config.set(key, value);
            }
            let process = TaskManagerProcess::new(&config, world.registry(), runtime).unwrap();
            tap.lead_to(process.data_address);
            runtime.spawn(async move { process.run().await });
            tap
        });
        Cluster {
            slots: SlotSource::Shared(resources),
            _job_manager: job_manager,
            control,
            data,
        }
    }

    fn submit(&self, world: &World, settings: &[(&str, &str)]) -> JobHandle {
        let spec = world.spec(Start::Resume, world.config(settings, true));
        submit_to(spec, world.runtime.handle().clone(), self.slots.clone()).unwrap()
    }

    fn has_seen(&self, text: &[u8]) -> [bool; 2] {
        [
            self.control.has_seen(text),
            self.data.iter().any(|tap| tap.has_seen(text)),
        ]
    }
}

/// All rows of a job whose rows change TaskManagers; what could be read of it.
fn rows_once(tls: impl Fn(usize, &mut Configuration)) -> Cluster {
    let world = World::new();
    world.end_after(10_000);
    world.keep_rows_by_key();
    let cluster = Cluster::start(&world, tls);
    let settings = [("parallelism.default", "3")];
    let job = cluster.submit(&world, &settings);
    assert_eq!(job.join().unwrap(), Outcome::Finished);
    let mut visible = world.visible();
    visible.sort_unstable();
    assert_eq!(visible, world.expected(10_000));
    // Rows went over both ports, as they are or not.
    for tap in [&cluster.control, &cluster.data[0], &cluster.data[1]] {
        assert!(tap.count() > 10_000, "{}", tap.count());
    }
    cluster
}

/// What the control connection says of a job in plain text, and how data begins.
const CONTROL: &[u8] = b"GroupAggregate";
const DATA: &[u8] = b"MLRX\x01";

#[test]
fn a_job_runs_the_same_and_nothing_of_it_can_be_read_on_the_way() {
    let plain = rows_once(|_, _| {});
    assert!(plain.has_seen(CONTROL)[0] && plain.has_seen(DATA)[1]);
    // Each process with a certificate and stores of its own.
    let authority = &CERTIFICATES.authority;
    let tls = rows_once(|number, config| {
        let identity = authority
            .issue(&format!("process-{number}"), Validity::Now, &[])
            .unwrap();
        match number {
            0 => with_stores(
                config,
                &identity.encrypted_pem().unwrap(),
                &authority.truststore_pkcs12().unwrap(),
            ),
            1 => with_stores(
                config,
                &identity.jks().unwrap(),
                &authority.truststore_jks().unwrap(),
            ),
            _ => {
                with_stores(config, &identity.pkcs12().unwrap(), &authority.truststore_pem());
                config.set("security.ssl.internal.key-password", STORE_PASSWORD);
            }
        }
    });
    assert_eq!(
        (tls.has_seen(CONTROL), tls.has_seen(DATA)),
        ([false; 2], [false; 2])
    );
    // One of both without.
    let data_only = rows_once(|_, config| {
        with_identity(config, &CERTIFICATES.ours);
        config.set("pekko.ssl.enabled", "false");
    });
    assert!(data_only.has_seen(CONTROL)[0] && !data_only.has_seen(DATA)[1]);
}

#[test]
fn a_job_fails_and_is_restored_over_tls() {
    let world = World::new();
    world.keep_rows_by_key();
    let cluster = Cluster::start(&world, |_, config| with_identity(config, &CERTIFICATES.ours));
    world.fail_after_rows(3000, ErrorKind::External);
    let settings = [
        ("parallelism.default", "2"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.delay", "0 ms"),
    ];
    let job = cluster.submit(&world, &settings);
    wait_for("rows after the failure", || world.visible().len() > 8000);
    assert_eq!(job.status().restarts, 1);
    job.stopper().stop();
    assert_eq!(job.join().unwrap(), Outcome::Stopped);
    world.assert_no_gap_and_no_repetition();
}

#[test]
fn certificates_are_exchanged_under_a_running_job() {
    let folder = CERTIFICATES.folder.join("under-a-job");
    std::fs::create_dir_all(&folder).unwrap();
    let (key, trust) = (folder.join("key.pem"), folder.join("trust.pem"));
    let put = |identity: &Identity, authority: &Authority| {
        std::fs::copy(identity.pem().unwrap(), &key).unwrap();
        std::fs::copy(authority.truststore_pem(), &trust).unwrap();
    };
    put(&CERTIFICATES.ours, &CERTIFICATES.authority);
    let world = World::new();
    world.keep_rows_by_key();
    let cluster = Cluster::start(&world, |_, config| with_stores(config, &key, &trust));
    let settings = [
        ("parallelism.default", "2"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000000"),
        ("restart-strategy.fixed-delay.delay", "10 ms"),
    ];
    let job = cluster.submit(&world, &settings);
    wait_for("rows", || world.visible().len() > 1000);
    // Of another authority: connections that stand stay, and each attempt makes new ones.
    put(&CERTIFICATES.foreign, &CERTIFICATES.other);
    for _ in 0..2 {
        let (restarts, seen) = (job.status().restarts, world.visible().len());
        world.fail_after(|| {});
        wait_for("a restart", || job.status().restarts > restarts);
        wait_for("rows after it", || world.visible().len() > seen + 1000);
    }
    job.stopper().stop();
    assert_eq!(job.join().unwrap(), Outcome::Stopped);
    world.assert_no_gap_and_no_repetition();
}
