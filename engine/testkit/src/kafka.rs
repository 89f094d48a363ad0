//! Kafka brokers (KRaft, each broker also a controller) from the jars that set-up fetched.

mod tls;
mod tools;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::{cache, ports, wait};

pub use tools::Transaction;

const READY: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(30);

/// Which Kafka; both are pinned in `nix/java`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Kafka39,
    Kafka41,
}

impl Version {
    pub fn number(self) -> &'static str {
        match self {
            Version::Kafka39 => "3.9.1",
            Version::Kafka41 => "4.1.2",
        }
    }

    fn home(self) -> Result<PathBuf> {
        match self {
            Version::Kafka39 => cache::installed("kafka/3.9.1", "broker"),
            Version::Kafka41 => cache::installed("kafka/4.1.2", "broker-4"),
        }
    }

    /// A JVM with the distribution's classes; a main class and its arguments follow.
    pub(crate) fn java(self, heap_mib: u32) -> Result<Command> {
        let mut command = Command::new("java");
        command
            .arg(format!("-Xmx{heap_mib}m"))
            .arg(format!("-Xms{}m", heap_mib.min(128)))
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .args(self.logging("")?)
            .arg("-cp")
            .arg(self.home()?.join("libs/*"));
        // Set-up's archive of loaded classes: a start takes half the time. A JVM that it does not
        // fit ignores it.
        let archive = self.home()?.join("classes.jsa");
        if archive.exists() {
            let mut option = OsString::from("-XX:SharedArchiveFile=");
            option.push(archive);
            command.arg(option);
        }
        Ok(command)
    }

    /// Options for the configuration of the log that set-up has put there: Kafka 3's and Kafka 4's, one of them unused.
    fn logging(self, of: &str) -> Result<[String; 2]> {
        let config = self.home()?.join("config");
        let file = |name: &str| format!("file:{}", config.join(format!("{of}{name}")).display());
        Ok([
            format!("-Dlog4j.configuration={}", file("log4j.properties")),
            format!("-Dlog4j2.configurationFile={}", file("log4j2.properties")),
        ])
    }
}

/// How a cluster is started; the default is one plain broker on a free port.
#[derive(Debug, Clone)]
pub struct Options {
    pub brokers: usize,
    /// The first broker's port; others, and those of controllers, are free ones.
    pub port: Option<u16>,
    /// Where data, configuration and logs lie; kept at the end. Without it a temporary folder.
    /// A folder that holds a cluster is started with its data, topics and ports.
    pub folder: Option<PathBuf>,
    /// Adds a SASL_SSL listener beside the plain one; see `Kafka::secure`.
    pub secure: bool,
    /// Further lines of server.properties; they win over the testkit's own.
    pub properties: Vec<(String, String)>,
    pub heap_mib: u32,
    /// Further options of the brokers' JVM; they win over the testkit's own.
    pub jvm: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            brokers: 1,
            port: None,
            folder: None,
            secure: false,
            properties: Vec::new(),
            heap_mib: 512,
            jvm: Vec::new(),
        }
    }
}

impl Options {
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// What a client needs to log in to the SASL_SSL listener.
#[derive(Debug, Clone)]
pub struct Secure {
    pub bootstrap: String,
    /// Certificate of the authority that signed the broker's, PEM.
    pub ca_pem: PathBuf,
    /// The same in a PKCS12 trust store, for Java's names of options.
    pub truststore: PathBuf,
    pub truststore_password: &'static str,
    /// Exists for PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER.
    pub user: &'static str,
    pub password: &'static str,
    /// What the claim `scope` of an OAUTHBEARER token must hold; tokens need no signature.
    pub scope: &'static str,
}

impl Secure {
    /// The login module of a SASL mechanism, with what it takes to log in, in JAAS's notation.
    pub fn login(&self, mechanism: &str) -> String {
        let credentials = format!("username=\"{}\" password=\"{}\"", self.user, self.password);
        let module = "org.apache.kafka.common.security";
        match mechanism {
            "PLAIN" => format!("{module}.plain.PlainLoginModule required {credentials};"),
            "OAUTHBEARER" => format!(
                "{module}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"{}\" unsecuredLoginListClaim_scope=\"|{}\";",
                self.user, self.scope
            ),
            _ => format!("{module}.scram.ScramLoginModule required {credentials};"),
        }
    }
}

#[derive(Debug)]
struct Broker {
    port: u16,
    controller_port: u16,
    secure_port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

/// A running cluster. Dropping it kills the brokers.
#[derive(Debug)]
pub struct Kafka {
    version: Version,
    heap_mib: u32,
    jvm: Vec<String>,
    brokers: Vec<Broker>,
    secure: Option<Secure>,
    // Last: removed after the brokers are gone.
    _scratch: Option<Scratch>,
}

impl Kafka {
    /// Starts a cluster and returns when every broker answers.
    pub fn start(version: Version, options: Options) -> Result<Kafka> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(version, &options) {
                // Somebody else may have taken a port between our look and the broker's bind.
                Err(e)
                    if attempts < 3
                        && options.port.is_none()
                        && format!("{e:#}").contains("BindException") => {}
                result => return result,
            }
        }
    }

    /// The one broker that all tests of this process share, started at the first call. Tests use
    /// topics, groups and transactional ids of their own and never stop it.
    ///
    /// # Panics
    /// When it does not start: no test that needs it can go on.
    pub fn shared(version: Version) -> &'static Kafka {
        static KAFKA_39: OnceLock<Kafka> = OnceLock::new();
        static KAFKA_41: OnceLock<Kafka> = OnceLock::new();
        let cell = match version {
            Version::Kafka39 => &KAFKA_39,
            Version::Kafka41 => &KAFKA_41,
        };
        cell.get_or_init(|| match Kafka::start(version, Options::default()) {
            Ok(kafka) => kafka,
            Err(e) => panic!("no shared broker: {e:#}"),
        })
    }

    fn try_start(version: Version, options: &Options) -> Result<Kafka> {
        let scratch = match &options.folder {
            Some(_) => None,
            None => Some(Scratch::new("kafka")?),
        };
        let root = match (&options.folder, &scratch) {
            (Some(folder), _) => folder.clone(),
            (None, Some(scratch)) => scratch.path().to_owned(),
            (None, None) => bail!("no folder for the broker"),
        };
        std::fs::create_dir_all(&root)?;
        // A path in server.properties is read by a process with another working folder.
        let root = root.canonicalize()?;
        let ports_file = root.join("ports.json");
        let ports: Vec<[u16; 3]> = match std::fs::read(&ports_file) {
            Ok(text) => serde_json::from_slice(&text).context("reading ports.json")?,
            Err(_) => {
                let mut ports = Vec::new();
                for i in 0..options.brokers.max(1) {
                    let first = match options.port {
                        Some(port) if i == 0 => port,
                        _ => ports::free()?,
                    };
                    ports.push([first, ports::free()?, ports::free()?]);
                }
                ports
            }
        };
        let is_new = !ports_file.exists();
        let secure = if options.secure {
            Some(tls::prepare(&root, ports.iter().map(|p| p[2]))?)
        } else {
            None
        };
        let mut brokers = Vec::new();
        for (i, [port, controller_port, secure_port]) in ports.iter().copied().enumerate() {
            let folder = root.join(format!("broker-{}", i + 1));
            std::fs::create_dir_all(&folder)?;
            brokers.push(Broker {
                port,
                controller_port,
                secure_port,
                folder,
                process: None,
            });
        }
        let mut kafka = Kafka {
            version,
            heap_mib: options.heap_mib,
            jvm: options.jvm.clone(),
            brokers,
            secure,
            _scratch: scratch,
        };
        for i in 0..kafka.brokers.len() {
            let text = kafka.properties(i, options);
            std::fs::write(kafka.brokers[i].folder.join("server.properties"), text)?;
        }
        if is_new {
            kafka.format()?;
            std::fs::write(&ports_file, serde_json::to_vec(&ports)?)?;
        }
        for i in 0..kafka.brokers.len() {
            kafka.launch(i)?;
        }
        kafka.wait_ready()?;
        Ok(kafka)
    }

    fn properties(&self, i: usize, options: &Options) -> String {
        let broker = &self.brokers[i];
        let replicas = self.brokers.len().min(3);
        let voters: Vec<String> = self
            .brokers
            .iter()
            .enumerate()
            .map(|(n, b)| format!("{}@127.0.0.1:{}", n + 1, b.controller_port))
            .collect();
        let mut listeners = format!(
            "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
            broker.port, broker.controller_port
        );
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{}", broker.port);
        if self.secure.is_some() {
            let _ = write!(listeners, ",SASL_SSL://127.0.0.1:{}", broker.secure_port);
            let _ = write!(advertised, ",SASL_SSL://127.0.0.1:{}", broker.secure_port);
        }
        let mut lines = vec![
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", (i + 1).to_string()),
            ("controller.quorum.voters", voters.join(",")),
            ("listeners", listeners),
            ("advertised.listeners", advertised),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL".to_owned(),
            ),
            ("log.dirs", broker.folder.join("data").display().to_string()),
            ("auto.create.topics.enable", "false".to_owned()),
            ("default.replication.factor", replicas.to_string()),
            ("min.insync.replicas", replicas.min(2).to_string()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("offsets.topic.num.partitions", "3".to_owned()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", replicas.min(2).to_string()),
            ("transaction.state.log.num.partitions", "5".to_owned()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                "500".to_owned(),
            ),
            // Records of a test may be years old, and retention goes by their time.
            ("log.retention.ms", "-1".to_owned()),
            ("log.segment.bytes", "134217728".to_owned()),
            ("controlled.shutdown.enable", (self.brokers.len() > 1).to_string()),
        ];
        if self.secure.is_some() {
            lines.extend(tls::broker_properties(&broker.folder));
        }
        let mut text = String::new();
        let own = lines.iter().map(|(key, value)| (*key, value.as_str()));
        let overridden = |key: &str| options.properties.iter().any(|(k, _)| k == key);
        for (key, value) in own.filter(|(key, _)| !overridden(key)) {
            let _ = writeln!(text, "{key}={value}");
        }
        for (key, value) in &options.properties {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    fn java(&self, heap_mib: u32) -> Result<Command> {
        self.version.java(heap_mib)
    }

    /// Options for the configuration of the log that set-up has put there.
    fn logging(&self, of: &str) -> Result<[String; 2]> {
        self.version.logging(of)
    }

    fn format(&self) -> Result<()> {
        // Any 16 bytes in unpadded URL-safe base64 name a cluster.
        const CLUSTER: &str = "bWlsbHJhY2UtdGVzdGtpdA";
        for broker in &self.brokers {
            let mut command = self.java(128)?;
            command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
            command.arg(broker.folder.join("server.properties"));
            if self.secure.is_some() {
                command.args(tls::format_arguments());
            }
            let mut tool = Process::start(command, &broker.folder.join("format.log"))?;
            let status = tool.wait(READY)?;
            if !status.success() {
                bail!(
                    "formatting the broker's folder failed ({status}):\n{}",
                    tool.log_tail()
                );
            }
        }
        Ok(())
    }

    fn launch(&mut self, i: usize) -> Result<()> {
        // The short compiler tier starts quickly, and does not fill a broker with work for long.
        let mut command = self.java(self.heap_mib)?;
        let broker = &mut self.brokers[i];
        command
            .args(&self.jvm)
            .arg("kafka.Kafka")
            .arg(broker.folder.join("server.properties"));
        broker.process = Some(Process::start(command, &broker.folder.join("server.log"))?);
        Ok(())
    }

    /// Waits until every broker that runs answers and sees all the others that run.
    pub fn wait_ready(&mut self) -> Result<()> {
        let running = self.brokers.iter().filter(|b| b.process.is_some()).count();
        for broker in &mut self.brokers {
            let Some(process) = &mut broker.process else {
                continue;
            };
            let address = format!("127.0.0.1:{}", broker.port);
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &address)
                .set("reconnect.backoff.ms", "20")
                .set("reconnect.backoff.max.ms", "100")
                .set("log_level", "0")
                .create()?;
            let ready = wait::until(&format!("broker {address}"), READY, || {
                if let Some(status) = process.ended()? {
                    return Ok(Some(Err(status)));
                }
                let metadata = client.fetch_metadata(None, Duration::from_millis(500));
                Ok(metadata
                    .ok()
                    .filter(|m| m.brokers().len() >= running)
                    .map(|_| Ok(())))
            });
            match ready {
                Ok(Ok(())) => {}
                Ok(Err(status)) => bail!("the broker ended ({status}):\n{}", process.log_tail()),
                Err(e) => return Err(e.context(process.log_tail())),
            }
        }
        Ok(())
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// `host:port` of every broker's plain listener, with commas.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self
            .brokers
            .iter()
            .map(|b| format!("127.0.0.1:{}", b.port))
            .collect();
        all.join(",")
    }

    /// How to reach the SASL_SSL listener; nothing without `Options::secure`.
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// The broker's log file.
    pub fn log(&self, i: usize) -> PathBuf {
        self.brokers[i].folder.join("server.log")
    }

    /// The process of a broker that runs.
    pub fn process_id(&self, i: usize) -> Option<u32> {
        self.brokers[i].process.as_ref().map(Process::id)
    }

    /// `kill -9`. Brokers are counted from 0; Kafka's own id of the first is 1.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        if let Some(mut process) = self.brokers[i].process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// SIGTERM: the broker moves leaders and coordinators away first, if there are others.
    pub fn stop(&mut self, i: usize) -> Result<()> {
        if let Some(mut process) = self.brokers[i].process.take() {
            process.stop(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Starts a killed or stopped broker again, on its data and its ports, and waits for it.
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.kill(i)?;
        self.launch(i)?;
        self.wait_ready()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self, i: usize) -> Result<()> {
        self.brokers[i]
            .process
            .as_mut()
            .context("the broker does not run")?
            .freeze()
    }

    /// SIGCONT.
    pub fn thaw(&mut self, i: usize) -> Result<()> {
        self.brokers[i]
            .process
            .as_mut()
            .context("the broker does not run")?
            .thaw()
    }

    /// Creates a topic, replicated over up to three brokers, and waits until each partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let replicas = self.brokers.len().min(3) as i32;
        let running = self.brokers.iter().filter(|b| b.process.is_some());
        let addresses: Vec<String> = running.map(|b| format!("127.0.0.1:{}", b.port)).collect();
        create_topic(&self.client(), &addresses, name, partitions, replicas)
    }

    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new()
            .operation_timeout(Some(ANSWER))
            .request_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for result in runtime.block_on(admin.delete_topics(&[name], &options))? {
            if let Err((topic, code)) = result {
                bail!("topic {topic} cannot be deleted: {code}");
            }
        }
        Ok(())
    }

    /// Creates a topic whose name no other test of this cluster has.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn unique_topic(&self, name: &str, partitions: i32) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let topic = format!(
            "{name}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        if let Err(e) = self.create_topic(&topic, partitions) {
            panic!("no topic {topic}: {e:#}");
        }
        topic
    }

    /// A configuration for librdkafka that reaches the plain listener.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }
}

/// A folder's `java` tool runs here too; it shares the brokers' class path.
fn run_tool(command: Command, folder: &std::path::Path) -> Result<String> {
    let out = folder.join(format!("tool-{}.log", ports::free()?));
    let mut tool = Process::start(command, &out)?;
    let status = tool.wait(READY)?;
    let text = String::from_utf8_lossy(&std::fs::read(&out)?).into_owned();
    std::fs::remove_file(&out)?;
    if !status.success() {
        bail!("a tool of Kafka failed ({status}):\n{text}");
    }
    Ok(text)
}

/// Creates a topic on any cluster, and waits until each of these brokers knows a leader of each partition.
pub fn create_topic(
    client: &ClientConfig,
    brokers: &[String],
    name: &str,
    partitions: i32,
    replicas: i32,
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    let options = AdminOptions::new()
        .operation_timeout(Some(ANSWER))
        .request_timeout(Some(ANSWER));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let until = Instant::now() + READY;
    let mut is_repeated = false;
    let results = loop {
        match runtime.block_on(admin.create_topics([&topic], &options)) {
            // The client gave up its bootstrap connection for those to the brokers themselves, or a cluster that has
            // just been started is slow: whether they have heard the request is not known.
            Err(KafkaError::AdminOp(
                RDKafkaErrorCode::DestroyBroker | RDKafkaErrorCode::OperationTimedOut,
            )) if Instant::now() < until => is_repeated = true,
            Ok(results)
                if Instant::now() < until
                    && results
                        .iter()
                        .any(|r| matches!(r, Err((_, RDKafkaErrorCode::RequestTimedOut)))) =>
            {
                is_repeated = true;
            }
            other => break other?,
        }
    };
    for result in results {
        match result {
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) if is_repeated => {}
            Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => bail!("topic {topic} exists already"),
            Err((topic, code)) => bail!("topic {topic} cannot be created: {code}"),
            Ok(_) => {}
        }
    }
    // Each broker by itself: one may know of it before another.
    for broker in brokers {
        let client: BaseConsumer = client.clone().set("bootstrap.servers", broker).create()?;
        wait::until(&format!("leaders of topic {name}"), ANSWER, || {
            let metadata = client.fetch_metadata(Some(name), Duration::from_secs(5))?;
            let ready = metadata.topics().iter().any(|t| {
                t.partitions().len() == partitions as usize
                    && t.partitions()
                        .iter()
                        .all(|p| p.error().is_none() && p.leader() >= 0)
            });
            Ok(ready.then_some(()))
        })?;
    }
    Ok(())
}
