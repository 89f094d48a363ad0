//! One table of what the Java clients' properties mean here. Everything else reads it.

use Clients::{Both, Consumer, Producer};
use Meaning::{Engine, NoEffect, Option, Refused, Scaled, Security};

/// Whose property it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Consumer,
    Producer,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// librdkafka's option of this name takes the value as it is.
    Option(&'static str),
    /// librdkafka's option takes it in another unit or notation.
    Scaled(&'static str, Scale),
    /// Read with the other properties of TLS and SASL.
    Security,
    /// Read by the connector itself.
    Engine,
    /// Valid, and nothing here depends on it: a warning with the reason.
    NoEffect(&'static str),
    /// Valid in Java, impossible here: an error with what to do.
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Bytes to KiB, at least one.
    Kibibytes,
    /// A socket buffer: -1 (the system's default) is 0.
    Buffer,
    /// A whole number that librdkafka bounds lower than Java does.
    AtMost(i64),
}

#[derive(Debug)]
pub struct Property {
    /// The Java client's name; may end in `*`.
    pub name: &'static str,
    pub clients: Clients,
    pub meaning: Meaning,
    /// Never shown, in no log and no error.
    pub secret: bool,
}

const fn p(name: &'static str, clients: Clients, meaning: Meaning) -> Property {
    Property {
        name,
        clients,
        meaning,
        secret: false,
    }
}

const fn secret(name: &'static str) -> Property {
    Property {
        name,
        clients: Both,
        meaning: Security,
        secret: true,
    }
}

const ASSIGNED: &str = "the engine assigns partitions to its subtasks itself";
const BATCHES: &str = "the engine takes whole batches";
const BYTES: &str = "the table's formats read and write the bytes";
const JAVA_CLASS: &str = "a Java class cannot be loaded";
const KERBEROS: &str = "Kerberos is not built in: use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
const METRICS: &str = "metrics are the engine's own";
const TOKEN_LOGIN: &str = "a token is read again before it expires";
const BROKER_SIDE: &str = "brokers check tokens, not clients";
/// In milliseconds.
const AN_HOUR: Scale = Scale::AtMost(3_600_000);

/// In the order of names.
pub const PROPERTIES: &[Property] = &[
    p("acks", Producer, Option("acks")),
    p(
        "allow.auto.create.topics",
        Consumer,
        Option("allow.auto.create.topics"),
    ),
    p(
        "auto.commit.interval.ms",
        Consumer,
        NoEffect("offsets are committed when a checkpoint completes"),
    ),
    p("auto.include.jmx.reporter", Both, NoEffect(METRICS)),
    p("auto.offset.reset", Consumer, Engine),
    p("batch.size", Producer, Option("batch.size")),
    p("bootstrap.servers", Both, Option("bootstrap.servers")),
    p(
        "buffer.memory",
        Producer,
        Scaled("queue.buffering.max.kbytes", Scale::Kibibytes),
    ),
    p("check.crcs", Consumer, Option("check.crcs")),
    p("client.dns.lookup", Both, Option("client.dns.lookup")),
    p("client.id", Both, Engine),
    p("client.id.prefix", Consumer, Engine),
    p("client.rack", Both, Option("client.rack")),
    p("commit.offsets.on.checkpoint", Consumer, Engine),
    p("compression.gzip.level", Producer, Engine),
    p("compression.lz4.level", Producer, Engine),
    p("compression.type", Producer, Option("compression.type")),
    p("compression.zstd.level", Producer, Engine),
    p(
        "config.providers",
        Both,
        Refused("write the values themselves into the WITH clause"),
    ),
    p(
        "config.providers.*",
        Both,
        Refused("write the values themselves into the WITH clause"),
    ),
    p("connections.max.idle.ms", Both, Option("connections.max.idle.ms")),
    p("default.api.timeout.ms", Both, Engine),
    p("delivery.timeout.ms", Producer, Option("delivery.timeout.ms")),
    p(
        "enable.auto.commit",
        Consumer,
        NoEffect("offsets are committed when a checkpoint completes"),
    ),
    p("enable.idempotence", Producer, Engine),
    p("enable.metrics.push", Both, Option("enable.metrics.push")),
    p(
        "exclude.internal.topics",
        Consumer,
        NoEffect("a topic pattern never takes internal topics"),
    ),
    p("fetch.max.bytes", Consumer, Engine),
    p("fetch.max.wait.ms", Consumer, Option("fetch.wait.max.ms")),
    p("fetch.min.bytes", Consumer, Option("fetch.min.bytes")),
    p("flink.disable-metrics", Both, NoEffect(METRICS)),
    p(
        "flink.partition-discovery.interval-millis",
        Consumer,
        Refused("use the table option 'scan.topic-partition-discovery.interval'"),
    ),
    p("group.id", Consumer, Engine),
    p("group.instance.id", Consumer, NoEffect(ASSIGNED)),
    p("group.protocol", Consumer, NoEffect(ASSIGNED)),
    p("group.remote.assignor", Consumer, NoEffect(ASSIGNED)),
    p("heartbeat.interval.ms", Consumer, NoEffect(ASSIGNED)),
    p("interceptor.classes", Both, Refused(JAVA_CLASS)),
    p("isolation.level", Consumer, Option("isolation.level")),
    p("key.deserializer", Consumer, NoEffect(BYTES)),
    p("key.serializer", Producer, NoEffect(BYTES)),
    p("linger.ms", Producer, Option("linger.ms")),
    p(
        "max.block.ms",
        Producer,
        NoEffect("a sink whose client is full holds its input back for as long as it takes"),
    ),
    p(
        "max.in.flight.requests.per.connection",
        Producer,
        Option("max.in.flight.requests.per.connection"),
    ),
    p(
        "max.partition.fetch.bytes",
        Consumer,
        Option("max.partition.fetch.bytes"),
    ),
    p("max.poll.interval.ms", Consumer, NoEffect(ASSIGNED)),
    p("max.poll.records", Consumer, NoEffect(BATCHES)),
    p("max.request.size", Producer, Option("message.max.bytes")),
    p(
        "metadata.max.age.ms",
        Both,
        Scaled("topic.metadata.refresh.interval.ms", AN_HOUR),
    ),
    p(
        "metadata.max.idle.ms",
        Producer,
        NoEffect("metadata of the table's topics is always kept"),
    ),
    p(
        "metadata.recovery.rebootstrap.trigger.ms",
        Both,
        Option("metadata.recovery.rebootstrap.trigger.ms"),
    ),
    p(
        "metadata.recovery.strategy",
        Both,
        Option("metadata.recovery.strategy"),
    ),
    p("metric.reporters", Both, NoEffect(METRICS)),
    p("metrics.num.samples", Both, NoEffect(METRICS)),
    p("metrics.recording.level", Both, NoEffect(METRICS)),
    p("metrics.sample.window.ms", Both, NoEffect(METRICS)),
    p("partition.assignment.strategy", Consumer, NoEffect(ASSIGNED)),
    p(
        "partition.discovery.interval.ms",
        Consumer,
        Refused("use the table option 'scan.topic-partition-discovery.interval'"),
    ),
    p(
        "partitioner.adaptive.partitioning.enable",
        Producer,
        NoEffect("partitions are chosen batch by batch"),
    ),
    p(
        "partitioner.availability.timeout.ms",
        Producer,
        NoEffect("partitions are chosen batch by batch"),
    ),
    p(
        "partitioner.class",
        Producer,
        Refused("use the table option 'sink.partitioner'"),
    ),
    p(
        "partitioner.ignore.keys",
        Producer,
        Refused("use the table option 'sink.partitioner'"),
    ),
    p(
        "receive.buffer.bytes",
        Both,
        Scaled("socket.receive.buffer.bytes", Scale::Buffer),
    ),
    p(
        "reconnect.backoff.max.ms",
        Both,
        Option("reconnect.backoff.max.ms"),
    ),
    p("reconnect.backoff.ms", Both, Option("reconnect.backoff.ms")),
    p("register.consumer.metrics", Consumer, NoEffect(METRICS)),
    p("register.producer.metrics", Producer, NoEffect(METRICS)),
    p("request.timeout.ms", Both, Engine),
    p("retries", Producer, Option("retries")),
    p("retry.backoff.max.ms", Both, Option("retry.backoff.max.ms")),
    p("retry.backoff.ms", Both, Option("retry.backoff.ms")),
    p("sasl.client.callback.handler.class", Both, Refused(JAVA_CLASS)),
    secret("sasl.jaas.config"),
    p("sasl.kerberos.*", Both, Refused(KERBEROS)),
    p("sasl.login.callback.handler.class", Both, Security),
    p("sasl.login.class", Both, Refused(JAVA_CLASS)),
    p("sasl.login.connect.timeout.ms", Both, NoEffect(TOKEN_LOGIN)),
    p("sasl.login.read.timeout.ms", Both, NoEffect(TOKEN_LOGIN)),
    p("sasl.login.refresh.*", Both, NoEffect(TOKEN_LOGIN)),
    p("sasl.login.retry.*", Both, NoEffect(TOKEN_LOGIN)),
    p("sasl.mechanism", Both, Security),
    p(
        "sasl.oauthbearer.assertion.*",
        Both,
        Refused("give a token in a file: 'sasl.oauthbearer.token.endpoint.url' = 'file:///...'"),
    ),
    p(
        "sasl.oauthbearer.client.credentials.*",
        Both,
        Refused("give a token in a file: 'sasl.oauthbearer.token.endpoint.url' = 'file:///...'"),
    ),
    p("sasl.oauthbearer.clock.skew.seconds", Both, NoEffect(BROKER_SIDE)),
    p("sasl.oauthbearer.expected.*", Both, NoEffect(BROKER_SIDE)),
    p("sasl.oauthbearer.header.urlencode", Both, NoEffect(TOKEN_LOGIN)),
    p("sasl.oauthbearer.jwks.*", Both, NoEffect(BROKER_SIDE)),
    p("sasl.oauthbearer.jwt.*", Both, Refused(JAVA_CLASS)),
    p("sasl.oauthbearer.scope.claim.name", Both, NoEffect(BROKER_SIDE)),
    p("sasl.oauthbearer.sub.claim.name", Both, Security),
    p("sasl.oauthbearer.token.endpoint.url", Both, Security),
    p("security.protocol", Both, Security),
    p("security.providers", Both, Refused(JAVA_CLASS)),
    p(
        "send.buffer.bytes",
        Both,
        Scaled("socket.send.buffer.bytes", Scale::Buffer),
    ),
    p("session.timeout.ms", Consumer, NoEffect(ASSIGNED)),
    p(
        "socket.connection.setup.timeout.max.ms",
        Both,
        NoEffect("the time to connect does not grow"),
    ),
    p(
        "socket.connection.setup.timeout.ms",
        Both,
        Option("socket.connection.setup.timeout.ms"),
    ),
    p(
        "ssl.cipher.suites",
        Both,
        Refused("OpenSSL's and the brokers' own order of ciphers holds"),
    ),
    p("ssl.enabled.protocols", Both, Security),
    p("ssl.endpoint.identification.algorithm", Both, Security),
    p("ssl.engine.factory.class", Both, Refused(JAVA_CLASS)),
    secret("ssl.key.password"),
    p(
        "ssl.keymanager.algorithm",
        Both,
        NoEffect("certificates are read without Java's key managers"),
    ),
    p("ssl.keystore.certificate.chain", Both, Security),
    secret("ssl.keystore.key"),
    p("ssl.keystore.location", Both, Security),
    secret("ssl.keystore.password"),
    p("ssl.keystore.type", Both, Security),
    p("ssl.protocol", Both, Security),
    p("ssl.provider", Both, NoEffect("TLS is OpenSSL's and rustls's")),
    p(
        "ssl.secure.random.implementation",
        Both,
        NoEffect("TLS is OpenSSL's and rustls's"),
    ),
    p(
        "ssl.trustmanager.algorithm",
        Both,
        NoEffect("certificates are read without Java's trust managers"),
    ),
    p("ssl.truststore.certificates", Both, Security),
    p("ssl.truststore.location", Both, Security),
    secret("ssl.truststore.password"),
    p("ssl.truststore.type", Both, Security),
    p(
        "transaction.timeout.ms",
        Producer,
        Option("transaction.timeout.ms"),
    ),
    p(
        "transaction.two.phase.commit.enable",
        Producer,
        Refused("exactly-once does not need it: 'sink.delivery-guarantee' = 'exactly-once'"),
    ),
    p(
        "transactional.id",
        Producer,
        Refused("use the table option 'sink.transactional-id-prefix'"),
    ),
    p("value.deserializer", Consumer, NoEffect(BYTES)),
    p("value.serializer", Producer, NoEffect(BYTES)),
];

/// The property of this name, of the families too.
pub fn find(name: &str) -> std::option::Option<&'static Property> {
    PROPERTIES.iter().find(|p| p.name == name).or_else(|| {
        PROPERTIES.iter().find(|p| {
            p.name
                .strip_suffix('*')
                .is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
        })
    })
}
