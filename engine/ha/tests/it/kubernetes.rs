//! An API server that takes tokens of service accounts and grants what their Roles say.

use std::sync::OnceLock;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use millrace_core::ids::{CheckpointId, JobId};
use millrace_core::{Configuration, ErrorKind};
use millrace_testkit::kubernetes::{Kubernetes, Rule};
use millrace_testkit::link::Link;
use millrace_testkit::wait;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::contender::{Contender, LIMIT, Process, Record, wait_one};
use crate::scenarios;
use crate::site::{Site, cluster, configuration};

const NAMESPACE: &str = "millrace";
/// What the crate says that a JobManager and a TaskManager need.
const JOB_MANAGER: &[&str] = &["get", "watch", "create", "patch", "delete"];
const TASK_MANAGER: &[&str] = &["get", "watch"];

struct Server {
    kubernetes: Kubernetes,
    tokens: Tokens,
    runtime: Runtime,
    maps: Api<ConfigMap>,
}

struct Tokens {
    job_manager: String,
    task_manager: String,
    nobody: String,
}

impl Server {
    /// One that all tests share which do not harm it.
    fn shared() -> &'static Server {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Server::start)
    }

    fn start() -> Server {
        let kubernetes = Kubernetes::start().unwrap();
        kubernetes.create_namespace(NAMESPACE).unwrap();
        let account = |name, verbs| {
            let rule = Rule {
                group: "",
                resources: &["configmaps"],
                verbs,
            };
            kubernetes.create_account(NAMESPACE, name, &[rule]).unwrap()
        };
        let tokens = Tokens {
            job_manager: account("jobmanager", JOB_MANAGER),
            task_manager: account("taskmanager", TASK_MANAGER),
            nobody: account("nobody", &["list"]),
        };
        let runtime = Runtime::new().unwrap();
        let maps = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubernetes.admin().unwrap()).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap();
            Api::namespaced(Client::try_from(config).unwrap(), NAMESPACE)
        });
        Server {
            kubernetes,
            tokens,
            runtime,
            maps,
        }
    }

    fn config_of(&self, account: &str, token: &str, cluster: &str, port: u16) -> Configuration {
        let kubeconfig = self
            .kubernetes
            .kubeconfig(account, NAMESPACE, token, port)
            .unwrap();
        configuration(&[
            ("high-availability", "kubernetes"),
            ("kubernetes.cluster-id", cluster),
            ("kubernetes.namespace", NAMESPACE),
            ("kubernetes.config.file", kubeconfig.to_str().unwrap()),
            (
                "high-availability.kubernetes.leader-election.lease-duration",
                "3 s",
            ),
            (
                "high-availability.kubernetes.leader-election.renew-deadline",
                "2 s",
            ),
            (
                "high-availability.kubernetes.leader-election.retry-period",
                "500 ms",
            ),
        ])
    }

    fn map(&self, name: &str) -> Option<ConfigMap> {
        self.runtime.block_on(self.maps.get_opt(name)).unwrap()
    }

    fn patch(&self, name: &str, patch: Value) {
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let request = self.maps.patch(name, &parameters, &patch);
        self.runtime.block_on(request).unwrap();
    }

    fn names(&self, labels: &str) -> Vec<String> {
        let parameters = ListParams::default().labels(labels);
        let maps = self.runtime.block_on(self.maps.list(&parameters)).unwrap();
        maps.into_iter().filter_map(|map| map.metadata.name).collect()
    }
}

impl Site for Server {
    fn config(&self, cluster: &str, links: &[Link]) -> Configuration {
        let port = links.first().map_or(self.kubernetes.port(), Link::port);
        self.config_of("jobmanager", &self.tokens.job_manager, cluster, port)
    }

    fn links(&self) -> Vec<Link> {
        vec![Link::to(self.kubernetes.port()).unwrap()]
    }

    fn contents(&self, cluster: &str) -> Vec<String> {
        // As the operator looks for them.
        let names = self.names(&format!("app={cluster},type=flink-native-kubernetes"));
        let keys = names.into_iter().flat_map(|name| {
            let data = self.map(&name).and_then(|map| map.data).unwrap_or_default();
            let keys: Vec<String> = data.into_keys().map(|key| format!("{name}: {key}")).collect();
            [vec![name], keys].concat()
        });
        keys.collect()
    }

    fn delete(&self, cluster: &str) {
        for name in self.names(&format!("app={cluster}")) {
            let parameters = DeleteParams::default();
            let delete = self.maps.delete(&name, &parameters);
            self.runtime.block_on(delete).unwrap();
        }
    }
}

#[test]
fn a_close_hands_over() {
    scenarios::a_close_hands_over(Server::shared());
}

#[test]
fn a_drop_hands_over() {
    scenarios::a_drop_hands_over(Server::shared());
}

#[test]
fn a_death_hands_over() {
    scenarios::a_death_hands_over(Server::shared());
}

#[test]
fn a_leader_that_is_cut_off_is_deposed() {
    scenarios::a_leader_that_is_cut_off_is_deposed(Server::shared());
}

#[test]
fn a_new_leader_finds_the_entries() {
    scenarios::a_new_leader_finds_the_entries(Server::shared());
}

#[test]
fn a_grant_that_is_over_writes_nothing() {
    scenarios::a_grant_that_is_over_writes_nothing(Server::shared());
}

#[test]
fn data_deleted_by_hand_is_not_there() {
    scenarios::data_deleted_by_hand_is_not_there(Server::shared());
}

#[test]
fn a_clean_up_leaves_nothing() {
    scenarios::a_clean_up_leaves_nothing(Server::shared());
}

#[test]
fn config_maps_are_as_flinks() {
    let server = Server::shared();
    let cluster = cluster("layout");
    let leader = Contender::start(&server.config(&cluster, &[]), "a", &Record::default());
    let leadership = leader.wait_leading();
    let job = JobId::from_name("j");
    leader.process.run(async {
        leadership.put_job(job, b"entry").await.unwrap();
        leadership
            .put_checkpoint(job, CheckpointId(7), b"pointer", 1)
            .await
            .unwrap();
    });
    let map = server.map(&format!("{cluster}-cluster-config-map")).unwrap();
    let annotations = map.metadata.annotations.unwrap();
    let lease: Value =
        serde_json::from_str(&annotations["control-plane.alpha.kubernetes.io/leader"]).unwrap();
    assert_eq!(lease["holderIdentity"], leadership.session().to_string());
    assert_eq!(lease["leaseDuration"], "PT3S");
    assert_eq!(lease["leaderTransitions"], 0);
    let data = map.data.unwrap();
    for (component, address) in [
        ("dispatcher", "a:6123"),
        ("resourcemanager", "a:6123"),
        ("restserver", "http://a:8081"),
    ] {
        let told = &data[&format!("org.apache.flink.k8s.leader.{component}")];
        assert_eq!(told, &format!("{},{address}", leadership.session()));
    }
    // "entry" and "pointer" in base64.
    assert_eq!(data[&format!("executionPlan-{job}")], "ZW50cnk=");
    let map = server.map(&format!("{cluster}-{job}-config-map")).unwrap();
    assert_eq!(map.metadata.labels.unwrap()["app"], cluster);
    let data: Vec<(String, String)> = map.data.unwrap().into_iter().collect();
    let expected = [
        ("checkpointID-0000000000000000007", "cG9pbnRlcg=="),
        ("counter", "8"),
    ];
    assert_eq!(
        data,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

/// A TaskManager may look and not touch; who may not look is told what is missing.
#[test]
fn an_account_needs_no_more_than_is_said() {
    let server = Server::shared();
    let cluster = cluster("rights");
    let port = server.kubernetes.port();
    let config = |account, token: &str| server.config_of(account, token, &cluster, port);
    let looking = Process::start(&config("taskmanager", &server.tokens.task_manager));
    let leader = Contender::start(&server.config(&cluster, &[]), "a", &Record::default());
    let leadership = leader.wait_leading();
    looking.wait_leader("the leader", |told| {
        told.filter(|told| told.session == leadership.session()).map(drop)
    });
    let nobody = Process::start(&config("nobody", &server.tokens.nobody));
    let e = nobody.run(nobody.ha.jobs()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::User);
    assert!(
        e.to_string().contains("get, watch, create, patch and delete"),
        "{e}"
    );
}

/// A lease that says another holder is another's, though its former holder has heard nothing of it yet.
#[test]
fn a_lease_altered_by_hand_deposes_and_is_waited_for() {
    let server = Server::shared();
    let cluster = cluster("altered");
    let record = Record::default();
    let leader = Contender::start(&server.config(&cluster, &[]), "a", &record);
    let leadership = leader.wait_leading();
    let name = format!("{cluster}-cluster-config-map");
    let lease = json!({
        "holderIdentity": "somebody",
        "leaseDuration": "PT1S",
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaderTransitions": 4,
    });
    let key = "control-plane.alpha.kubernetes.io/leader";
    server.patch(
        &name,
        json!({"metadata": {"annotations": {key: lease.to_string()}}}),
    );
    let job = JobId::from_name("j");
    for write in [
        leader.process.run(leadership.put_job(job, b"x")),
        leader
            .process
            .run(leadership.put_checkpoint(job, CheckpointId(1), b"x", 1)),
        leader.process.run(leadership.remove_job(job)),
    ] {
        let e = write.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Fenced, "{e}");
    }
    assert!(server.map(&format!("{cluster}-{job}-config-map")).is_none());
    let again = || Ok(leader.leadership().filter(|now| *now != leadership).map(drop));
    wait::until("it leads again, by another grant", LIMIT, again).unwrap();
    assert_eq!(record.check().len(), 2);
}

/// The API server is killed and started again, then frozen: with a long lease nobody notices, with a short one
/// somebody leads again.
#[test]
fn contenders_survive_the_api_server() {
    let mut server = Server::start();
    let (brief, long) = (cluster("brief"), cluster("long"));
    let (record, lasting) = (Record::default(), Record::default());
    let config = server.config(&brief, &[]);
    let contenders: Vec<Contender> = ["a", "b", "c"]
        .iter()
        .map(|name| Contender::start(&config, name, &record))
        .collect();
    let mut config = server.config(&long, &[]);
    for (key, value) in [("lease-duration", "10 min"), ("renew-deadline", "5 min")] {
        let family = "high-availability.kubernetes.leader-election";
        config.set(format!("{family}.{key}"), value);
    }
    let steady = Contender::start(&config, "d", &lasting);
    let grant = steady.wait_leading();
    let _standby = Contender::start(&config, "e", &lasting);
    let job = JobId::from_name("j");
    contenders[wait_one(&contenders)].write(job, "before");

    server.kubernetes.kill().unwrap();
    contenders.iter().for_each(Contender::wait_not_leading);
    server.kubernetes.restart().unwrap();
    let leader = &contenders[wait_one(&contenders)];
    let jobs = leader.process.run(leader.process.ha.jobs()).unwrap();
    assert_eq!(jobs, [(job, b"before".to_vec())]);
    leader.write(job, "after the death");
    steady.write(job, "after the death");

    server.kubernetes.freeze().unwrap();
    contenders.iter().for_each(Contender::wait_not_leading);
    server.kubernetes.thaw().unwrap();
    contenders[wait_one(&contenders)].write(job, "after the frost");
    steady.write(job, "after the frost");

    assert_eq!(steady.leadership(), Some(grant));
    assert_eq!(lasting.check().len(), 1);
    record.check();
}
