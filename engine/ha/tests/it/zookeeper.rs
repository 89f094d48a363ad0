//! A quorum of three servers.

use std::sync::OnceLock;

use millrace_core::Configuration;
use millrace_core::ids::{CheckpointId, JobId};
use millrace_testkit::link::Link;
use millrace_testkit::zookeeper::ZooKeeper;
use tokio::runtime::Runtime;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use crate::contender::{Contender, Process, Record, wait_one};
use crate::scenarios;
use crate::site::{Site, cluster, configuration};

struct Quorum {
    ports: Vec<u16>,
    runtime: Runtime,
}

impl Quorum {
    /// Three servers that all tests share which do not harm them.
    fn shared() -> &'static Quorum {
        static SHARED: OnceLock<(ZooKeeper, Quorum)> = OnceLock::new();
        let start = || {
            let servers = ZooKeeper::start(3).unwrap();
            let quorum = Quorum::of(&servers);
            (servers, quorum)
        };
        &SHARED.get_or_init(start).1
    }

    fn of(servers: &ZooKeeper) -> Quorum {
        Quorum {
            ports: servers.ports(),
            runtime: Runtime::new().unwrap(),
        }
    }

    /// Does something as a client of no cluster.
    fn with<T>(&self, task: impl AsyncFnOnce(Client) -> T) -> T {
        self.runtime.block_on(async {
            let servers = addresses(&self.ports);
            task(Client::connect(&servers.replace(' ', "")).await.unwrap()).await
        })
    }
}

fn addresses(ports: &[u16]) -> String {
    let servers = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    servers.collect::<Vec<_>>().join(", ")
}

impl Site for Quorum {
    fn config(&self, cluster: &str, links: &[Link]) -> Configuration {
        let ports = match links {
            [] => self.ports.clone(),
            links => links.iter().map(Link::port).collect(),
        };
        configuration(&[
            ("high-availability.type", "ZooKeeper"),
            ("high-availability.zookeeper.quorum", &addresses(&ports)),
            ("high-availability.zookeeper.path.root", "/millrace/test"),
            ("high-availability.cluster-id", cluster),
            ("high-availability.zookeeper.client.session-timeout", "4 s"),
            ("high-availability.zookeeper.client.retry-wait", "1 s"),
        ])
    }

    fn links(&self) -> Vec<Link> {
        self.ports.iter().map(|port| Link::to(*port).unwrap()).collect()
    }

    fn contents(&self, cluster: &str) -> Vec<String> {
        self.with(async |client| tree(&client, &format!("/millrace/test/{cluster}")).await)
    }

    fn delete(&self, cluster: &str) {
        self.with(async |client| {
            let root = format!("/millrace/test/{cluster}");
            // What goes on there makes nodes at the same time.
            for path in tree(&client, &root).await.into_iter().rev() {
                match client.delete(&path, None).await {
                    Ok(()) | Err(Error::NoNode | Error::NotEmpty) => {}
                    Err(e) => panic!("{path}: {e}"),
                }
            }
        });
    }
}

/// The node and all below it, parents first; nothing when it is not there.
async fn tree(client: &Client, root: &str) -> Vec<String> {
    client.sync("/").await.unwrap();
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        match client.list_children(&path).await {
            Ok(names) => {
                open.extend(names.iter().map(|name| format!("{path}/{name}")));
                found.push(path);
            }
            Err(Error::NoNode) => {}
            Err(e) => panic!("{path}: {e}"),
        }
    }
    found
}

#[test]
fn a_close_hands_over() {
    scenarios::a_close_hands_over(Quorum::shared());
}

#[test]
fn a_drop_hands_over() {
    scenarios::a_drop_hands_over(Quorum::shared());
}

#[test]
fn a_death_hands_over() {
    scenarios::a_death_hands_over(Quorum::shared());
}

#[test]
fn a_leader_that_is_cut_off_is_deposed() {
    scenarios::a_leader_that_is_cut_off_is_deposed(Quorum::shared());
}

#[test]
fn a_new_leader_finds_the_entries() {
    scenarios::a_new_leader_finds_the_entries(Quorum::shared());
}

#[test]
fn a_grant_that_is_over_writes_nothing() {
    scenarios::a_grant_that_is_over_writes_nothing(Quorum::shared());
}

#[test]
fn data_deleted_by_hand_is_not_there() {
    scenarios::data_deleted_by_hand_is_not_there(Quorum::shared());
}

#[test]
fn a_clean_up_leaves_nothing() {
    scenarios::a_clean_up_leaves_nothing(Quorum::shared());
}

#[test]
fn nodes_are_where_flink_has_them() {
    let quorum = Quorum::shared();
    let cluster = cluster("layout");
    let leader = Contender::start(&quorum.config(&cluster, &[]), "a", &Record::default());
    let leadership = leader.wait_leading();
    let job = JobId::from_name("j");
    leader.process.run(async {
        leadership.put_job(job, b"entry").await.unwrap();
        leadership
            .put_checkpoint(job, CheckpointId(7), b"pointer", 1)
            .await
            .unwrap();
    });
    let root = format!("/millrace/test/{cluster}");
    let nodes = quorum.contents(&cluster);
    let latch = nodes.iter().find(|path| path.contains("-latch-")).unwrap();
    assert!(latch.starts_with(&format!("{root}/leader/latch/_c_")), "{latch}");
    let data = |path: String| quorum.with(async |client| client.get_data(&path).await.unwrap());
    for component in ["dispatcher", "resource_manager", "rest_server"] {
        let (bytes, stat) = data(format!("{root}/leader/{component}/connection_info"));
        assert_ne!(stat.ephemeral_owner, 0);
        // An object stream of Java.
        assert_eq!(bytes[..4], [0xac, 0xed, 0, 5]);
    }
    assert_eq!(data(format!("{root}/execution-plans/{job}")).0, b"entry");
    let jobs = format!("{root}/jobs/{job}");
    let (pointer, counter) = (
        format!("{jobs}/checkpoints/0000000000000000007"),
        format!("{jobs}/checkpoint_id_counter"),
    );
    assert_eq!(data(pointer).0, b"pointer");
    assert_eq!(data(counter).0, 8_i32.to_be_bytes());
}

/// Addresses that somebody deletes are written again, by the same grant.
#[test]
fn addresses_deleted_by_hand_come_back() {
    let quorum = Quorum::shared();
    let cluster = cluster("address");
    let leader = Contender::start(&quorum.config(&cluster, &[]), "a", &Record::default());
    let leadership = leader.wait_leading();
    let path = format!("/millrace/test/{cluster}/leader/rest_server/connection_info");
    quorum.with(async |client| client.delete(&path, None).await.unwrap());
    let looking = Process::start(&quorum.config(&cluster, &[]));
    let session = leadership.session();
    looking.wait_leader("the same leader", |told| {
        told.filter(|told| told.session == session).map(drop)
    });
    assert_eq!(leader.leadership(), Some(leadership));
}

/// Who does not log in cannot see, take or delete what belongs to somebody who does.
#[test]
fn nodes_of_a_creator_are_its_own() {
    let quorum = Quorum::shared();
    let cluster = cluster("acl");
    let mut config = quorum.config(&cluster, &[]);
    config.set("high-availability.zookeeper.client.acl", "creator");
    config.set(
        "high-availability.zookeeper.client.authorization",
        "digest:me:secret",
    );
    // The nodes above belong to everybody.
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    quorum.with(async |client| client.mkdir("/millrace/test", &open).await.unwrap());
    let leader = Contender::start(&config, "a", &Record::default());
    let leadership = leader.wait_leading();
    let job = JobId::from_name("j");
    leader.process.run(leadership.put_job(job, b"x")).unwrap();
    let stranger = Process::start(&quorum.config(&cluster, &[]));
    let e = stranger.run(stranger.ha.jobs()).unwrap_err().to_string();
    assert!(e.contains("high-availability.zookeeper.client.acl"), "{e}");
    let path = format!("/millrace/test/{cluster}/execution-plans/{job}");
    let refused = quorum.with(async |client| client.delete(&path, None).await);
    assert_eq!(refused, Err(Error::NoAuth));
}

/// The server that leads the quorum is killed, then frozen. The sessions live through it, and so do the contenders.
#[test]
fn the_servers_survive_their_leader() {
    let mut servers = ZooKeeper::start(3).unwrap();
    let quorum = Quorum::of(&servers);
    let cluster = cluster("quorum");
    let mut config = quorum.config(&cluster, &[]);
    config.set("high-availability.zookeeper.client.session-timeout", "30 s");
    config.set("high-availability.zookeeper.client.connection-timeout", "2 s");
    let mut tolerant = config.clone();
    let key = "high-availability.zookeeper.client.tolerate-suspended-connections";
    tolerant.set(key, "true");
    tolerant.set("high-availability.cluster-id", "tolerant");
    let (record, tolerated) = (Record::default(), Record::default());
    let contenders: Vec<Contender> = ["a", "b", "c"]
        .iter()
        .map(|name| Contender::start(&config, name, &record))
        .collect();
    let steady = Contender::start(&tolerant, "d", &tolerated);
    let grant = steady.wait_leading();
    let first = wait_one(&contenders);
    let job = JobId::from_name("j");
    contenders[first].write(job, "before");

    let killed = servers.wait_leader().unwrap();
    servers.kill(killed).unwrap();
    servers.wait_leader().unwrap();
    contenders[wait_one(&contenders)].write(job, "after the death");
    steady.write(job, "after the death");
    servers.restart(killed).unwrap();

    let frozen = servers.wait_leader().unwrap();
    servers.freeze(frozen).unwrap();
    servers.wait_leader().unwrap();
    contenders[wait_one(&contenders)].write(job, "after the frost");
    steady.write(job, "after the frost");
    servers.thaw(frozen).unwrap();
    servers.wait_ready().unwrap();

    // With its session a contender keeps its place: the same one leads, though not all the time. Who tolerates the
    // loss of connections has not noticed.
    assert_eq!(wait_one(&contenders), first);
    assert_eq!(steady.leadership(), Some(grant));
    assert_eq!(tolerated.check().len(), 1);
    record.check();
    let leader = &contenders[first];
    let jobs = leader.process.run(leader.process.ha.jobs()).unwrap();
    assert_eq!(jobs, [(job, b"after the frost".to_vec())]);
}
