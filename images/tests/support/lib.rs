//! The images as their users run them: on a Docker engine, with a read-only root and memory limits.
//!
//! Which images there are stands in images/manifest.json, which `make images` writes. It may depend on
//! testcontainers and the test kit, and on nothing of the engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_testkit::{ports, wait};
use serde::Deserialize;
use testcontainers::core::{IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

/// How long a server may take until it answers.
pub const READY: Duration = Duration::from_secs(120);

/// An image as the manifest has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    pub name: String,
    pub tag: String,
    /// Docker's id: the digest of the image's configuration.
    pub id: String,
    #[serde(rename = "compressedBytes")]
    pub compressed_bytes: u64,
}

impl Image {
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// All images, by the names of their files.
pub fn all() -> &'static BTreeMap<String, Image> {
    static ALL: OnceLock<BTreeMap<String, Image>> = OnceLock::new();
    ALL.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}; run `make images`", path.display()));
        let all: BTreeMap<String, Image> = serde_json::from_str(&text).unwrap();
        for image in all.values() {
            let loaded = docker(&["image", "inspect", "--format", "{{.Id}}", &image.reference()])
                .unwrap_or_else(|e| panic!("{}: {e:#}; run `make images`", image.reference()));
            assert_eq!(
                loaded.trim(),
                image.id,
                "{}: what is loaded is not what was built; run `make images`",
                image.reference()
            );
        }
        all
    })
}

pub fn named(name: &str) -> &'static Image {
    all()
        .get(name)
        .unwrap_or_else(|| panic!("there is no image {name} in images/manifest.json"))
}

/// A container of an image, with a root that cannot be written and `/tmp` in memory, as the manifests run it.
pub fn container(name: &str) -> ContainerRequest<GenericImage> {
    let image = named(name);
    ContainerRequest::from(GenericImage::new(&image.name, &image.tag))
        .with_readonly_rootfs(true)
        .with_mount(Mount::tmpfs_mount("/tmp"))
        .with_cap_drop("ALL")
        .with_security_opt("no-new-privileges")
        .with_startup_timeout(READY)
}

/// Takes away what a run that was killed has left under that name.
pub fn without_leftover(name: String) -> String {
    docker(&["rm", "--force", "--volumes", &name]).ok();
    name
}

/// With so much memory, and a swap of none.
pub fn limited(request: ContainerRequest<GenericImage>, mebibytes: i64) -> ContainerRequest<GenericImage> {
    request.with_host_config_modifier(move |host| {
        host.memory = Some(mebibytes << 20);
        host.memory_swap = Some(mebibytes << 20);
    })
}

/// As a user that the image does not know: a platform may choose one (OpenShift does).
pub fn as_anybody(request: ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage> {
    request.with_user("54321:54321")
}

/// A program of the flake's (`nix run`), and how it went.
pub fn app(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(top().join("scripts/nix"))
        .current_dir(top())
        .args(["run", &format!(".#{name}"), "--"])
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// The checkout.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The docker command; its standard output.
pub fn docker(arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .context("docker")?;
    if !output.status.success() {
        bail!(
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// GET, until the answer is one that `accept` takes.
pub fn answers(url: &str, accept: impl Fn(&str) -> bool) -> Result<String> {
    wait::until(url, READY, || Ok(get(url).ok().filter(|text| accept(text))))
}

pub fn get(url: &str) -> Result<String> {
    match request("GET", url, "")? {
        (200, text) => Ok(text),
        (status, text) => bail!("{url}: {status}: {text}"),
    }
}

/// Status and text of an answer to JSON.
pub fn request(method: &str, url: &str, body: &str) -> Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let request = reqwest::Client::new()
            .request(method.parse()?, url)
            .header("Content-Type", "application/vnd.schemaregistry.v1+json")
            .body(body.to_owned());
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    })
}

/// Ends a container as Kubernetes does: SIGTERM, and SIGKILL after ten seconds. It must not come to the second.
pub fn ends_cleanly(container: &Container<GenericImage>) {
    container.stop_with_timeout(Some(10)).unwrap();
    let code: i64 = docker(&["inspect", "--format", "{{.State.ExitCode}}", container.id()])
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // 143: the JVM's own answer to SIGTERM, once its shutdown hooks are done.
    assert!(code == 0 || code == 143, "exit code {code}");
    let killed = docker(&["inspect", "--format", "{{.State.OOMKilled}}", container.id()]).unwrap();
    assert_eq!(killed.trim(), "false", "it needed more memory than it has");
}

/// A ZooKeeper quorum of three on a network of its own name.
pub struct ZooKeeper {
    pub servers: Vec<Container<GenericImage>>,
    network: String,
}

impl ZooKeeper {
    pub fn start(network: &str) -> ZooKeeper {
        let host = |i: usize| format!("{network}-zookeeper-{i}");
        let list = (0..3)
            .map(|i| format!("server.{}={}:2888:3888;2181", i + 1, host(i)))
            .collect::<Vec<_>>()
            .join(" ");
        let start = |i| {
            let image = container("zookeeper");
            limited(if i == 2 { as_anybody(image) } else { image }, 512)
                .with_mount(Mount::tmpfs_mount("/var/lib/zookeeper").with_mode(0o1777))
                .with_network(network)
                .with_container_name(without_leftover(host(i)))
                .with_hostname(host(i))
                .with_env_var("ZOO_SERVERS", &list)
                .with_mapped_port(ports::free().unwrap(), 2181.tcp())
                .with_mapped_port(ports::free().unwrap(), 8080.tcp())
                .with_mapped_port(ports::free().unwrap(), 7000.tcp())
                .start()
                .unwrap()
        };
        ZooKeeper {
            servers: (0..3).map(start).collect(),
            network: network.to_owned(),
        }
    }

    /// What each server says it is, once all say so.
    pub fn roles(&self) -> Vec<String> {
        self.servers
            .iter()
            .map(|server| {
                let port = server.get_host_port_ipv4(8080).unwrap();
                let url = format!("http://127.0.0.1:{port}/commands/srvr");
                let text = answers(&url, |text| role(text).is_some_and(|role| role != "looking")).unwrap();
                role(&text).unwrap()
            })
            .collect()
    }

    /// As brokers take it.
    pub fn connect(&self) -> String {
        (0..3)
            .map(|i| format!("{}-zookeeper-{i}:2181", self.network))
            .collect::<Vec<_>>()
            .join(",")
    }
}

fn role(text: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(
        answer
            .get("server_stats")?
            .get("server_state")?
            .as_str()?
            .to_owned(),
    )
}

/// Three brokers, reached from the host by a port each and from containers by their names.
pub struct Brokers {
    pub brokers: Vec<Container<GenericImage>>,
    pub bootstrap: String,
    /// For clients in containers of the same network.
    pub inside: String,
}

impl Brokers {
    /// On ZooKeeper; the last of them is of the patch level before, as within an upgrade.
    pub fn on(zookeeper: &ZooKeeper) -> Brokers {
        let connect = zookeeper.connect();
        Brokers::start(
            ["kafka", "kafka", "kafka-previous"],
            &zookeeper.network,
            |request| {
                request
                    .with_env_var("KAFKA_ZOOKEEPER_CONNECT", &connect)
                    .with_env_var("KAFKA_LISTENERS", "INTERNAL://:9092,HOST://:9094")
            },
        )
    }

    /// Each a controller too.
    pub fn kraft(network: &str) -> Brokers {
        let voters = (0..3)
            .map(|i| format!("{i}@{network}-kafka-{i}:9093"))
            .collect::<Vec<_>>()
            .join(",");
        Brokers::start(["kafka-kraft"; 3], network, |request| {
            request
                .with_env_var("KAFKA_PROCESS_ROLES", "broker,controller")
                .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", &voters)
                .with_env_var("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
                .with_env_var("CLUSTER_ID", "bWlsbHJhY2UtaW1hZ2VzXw")
                .with_env_var(
                    "KAFKA_LISTENERS",
                    "INTERNAL://:9092,HOST://:9094,CONTROLLER://:9093",
                )
        })
    }

    fn start(
        images: [&str; 3],
        network: &str,
        more: impl Fn(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> Brokers {
        let host = |i: usize| format!("{network}-kafka-{i}");
        let ports: Vec<u16> = (0..3).map(|_| ports::free().unwrap()).collect();
        let start = |i: usize| {
            let image = container(images[i]);
            let request = limited(if i == 2 { as_anybody(image) } else { image }, 1024)
                .with_ready_conditions(vec![WaitFor::message_on_stdout("started (kafka.server.Kafka")])
                .with_network(network)
                .with_container_name(without_leftover(host(i)))
                .with_hostname(host(i))
                .with_mapped_port(ports[i], 9094.tcp())
                .with_mapped_port(ports::free().unwrap(), 9308.tcp())
                .with_env_var(
                    "KAFKA_ADVERTISED_LISTENERS",
                    format!("INTERNAL://${{HOSTNAME}}:9092,HOST://127.0.0.1:{}", ports[i]),
                )
                .with_env_var(
                    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                    "INTERNAL:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
                )
                .with_env_var("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL")
                .with_env_var("KAFKA_DEFAULT_REPLICATION_FACTOR", "3")
                .with_env_var("KAFKA_MIN_INSYNC_REPLICAS", "2")
                // The flights are of 2013.
                .with_env_var("KAFKA_LOG_RETENTION_MS", "-1")
                .with_env_var("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "3")
                .with_env_var("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "3")
                .with_env_var("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "2");
            more(request)
        };
        // Controllers wait for each other: all at once.
        let brokers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|i| {
                    let request = start(i);
                    scope.spawn(move || request.start().unwrap())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let list = |at: &dyn Fn(usize) -> String| (0..3).map(at).collect::<Vec<_>>().join(",");
        Brokers {
            brokers,
            bootstrap: list(&|i| format!("127.0.0.1:{}", ports[i])),
            inside: list(&|i| format!("{}:9092", host(i))),
        }
    }
}
