//! What the images are clusters of: ZooKeeper, and brokers on it or on their own quorum.

use anyhow::Result;
use millrace_testkit::{kafka, ports};
use rdkafka::ClientConfig;
use testcontainers::core::{IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

use crate::{answers, as_anybody, container, limited, without_leftover};

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

    /// To reach them from the host.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        client
    }

    /// On all three.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let addresses: Vec<String> = self.bootstrap.split(',').map(str::to_owned).collect();
        kafka::create_topic(&self.client(), &addresses, name, partitions, 3)
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
