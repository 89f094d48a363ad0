//! `properties.*`: the Java clients' options, for librdkafka and for the engine's own client.
//!
//! Layout: `table` what each property means, `jaas` login modules, `token` OAUTHBEARER tokens,
//! `security` TLS and SASL put together, `stores` trust stores and key stores.

mod jaas;
mod security;
mod table;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_connector_api::Options;
use millrace_core::{Error, Result};
use millrace_kafka_wire as wire;
use rdkafka::ClientConfig;

use crate::nearest::nearest;
use table::{Clients, Meaning, PROPERTIES, Property, Scale};

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Fetches records.
    Consumer,
    Producer,
    /// Asks for metadata and offsets, commits offsets to the group.
    Admin,
}

/// A table's `properties.*`, all of them known; values of secrets are never shown.
#[derive(Clone)]
pub struct Properties {
    table: String,
    /// Without `properties.`.
    given: BTreeMap<String, String>,
    security: security::Settings,
}

/// A configuration of librdkafka, and what gives tokens where SASL asks for them. It holds
/// secrets and is not `Debug`.
pub struct RdConfig {
    /// librdkafka's options by name. (`ClientConfig` gives secrets out as placeholders only.)
    pub options: BTreeMap<String, String>,
    pub tokens: Option<Arc<dyn wire::TokenSource>>,
}

impl RdConfig {
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.options.insert(name.to_owned(), value.into());
    }

    /// Sets what the user did not.
    pub fn default(&mut self, name: &str, value: &str) {
        self.options
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }

    pub fn config(&self) -> ClientConfig {
        let mut config: ClientConfig = self.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Info);
        config
    }
}

impl Properties {
    /// Takes the family `properties.*` of a WITH clause. Reads no file.
    pub fn parse(options: &Options) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (key, value) in options.iter() {
            let Some(name) = key.strip_prefix("properties.") else {
                continue;
            };
            let Some(property) = table::find(name) else {
                let e = Error::user(format!("table '{}' has an unknown option '{key}'", options.table));
                let hint = match nearest(name, PROPERTIES.iter().map(|p| p.name)) {
                    Some(near) => format!("did you mean 'properties.{near}'?"),
                    None => "after 'properties.' stand the names of the Java client's options".to_owned(),
                };
                return Err(e.with_hint(hint));
            };
            if let Meaning::Refused(instead) = property.meaning {
                return Err(
                    Error::unsupported(format!("option '{key}' of table '{}'", options.table))
                        .with_hint(instead),
                );
            }
            given.insert(name.to_owned(), value.to_owned());
        }
        let security = security::Settings::parse(&given).map_err(|e| in_table(e, options.table))?;
        let properties = Properties {
            table: options.table.to_owned(),
            given,
            security,
        };
        properties.check_values()?;
        Ok(properties)
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    /// A property's value by its Java name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    pub fn bootstrap(&self) -> &str {
        self.get("bootstrap.servers").unwrap_or_default()
    }

    pub fn group_id(&self) -> Option<&str> {
        self.get("group.id").filter(|g| !g.is_empty())
    }

    /// Whether offsets are committed to the group when a checkpoint completes.
    pub fn commits_offsets(&self) -> bool {
        self.group_id().is_some()
            && self
                .get("commit.offsets.on.checkpoint")
                .is_none_or(|v| v.trim().eq_ignore_ascii_case("true"))
    }

    /// `default.api.timeout.ms`: how long a call to the cluster is tried.
    pub fn call_timeout(&self) -> Duration {
        self.millis("default.api.timeout.ms")
            .unwrap_or(Duration::from_secs(60))
    }

    /// A duration in milliseconds; checked when the table was read.
    pub fn millis(&self, name: &str) -> Option<Duration> {
        self.get(name)
            .and_then(|v| v.trim().parse().ok())
            .map(Duration::from_millis)
    }

    /// Whether the producer is idempotent. As in Java it is unless a property speaks against it, and
    /// that is an error only where idempotence was asked for.
    pub fn idempotence(&self) -> Result<bool> {
        let is_wanted = self
            .get("enable.idempotence")
            .map(|v| v.trim().eq_ignore_ascii_case("true"));
        match (is_wanted, self.against_idempotence()) {
            (Some(true), Some((name, expected))) => Err(self.wrong(name, expected).with_hint(format!(
                "with 'properties.enable.idempotence' = 'true' it takes {expected}"
            ))),
            (Some(wanted), _) => Ok(wanted),
            (None, against) => Ok(against.is_none()),
        }
    }

    /// The property that no idempotent producer can have as it is, and what it could be.
    pub fn against_idempotence(&self) -> Option<(&'static str, &'static str)> {
        let number = |name: &str| self.get(name).and_then(|v| v.trim().parse::<i64>().ok());
        let in_flight = "max.in.flight.requests.per.connection";
        if self
            .get("acks")
            .is_some_and(|v| !["all", "-1"].contains(&v.trim()))
        {
            return Some(("acks", "'all'"));
        }
        if number("retries") == Some(0) {
            return Some(("retries", "a number from 1"));
        }
        (number(in_flight) > Some(5)).then_some((in_flight, "a number up to 5"))
    }

    /// Says once which properties have no effect.
    pub fn warn(&self, role: Role) {
        for name in self.given.keys() {
            if let Some(Property {
                meaning: Meaning::NoEffect(reason),
                clients,
                ..
            }) = table::find(name)
                && applies(*clients, role)
            {
                tracing::warn!(table = %self.table, property = %name, "property without effect: {reason}");
            }
        }
        if let Some(name) = self.security.without_tls13(&self.given) {
            tracing::warn!(table = %self.table, property = %name, "TLS 1.3 is spoken all the same where a broker does");
        }
        if role == Role::Producer
            && self.get("enable.idempotence").is_none()
            && let Some((name, _)) = self.against_idempotence()
        {
            tracing::warn!(table = %self.table, property = %name, "the producer is not idempotent because of this property: retries can write records twice or out of order");
        }
    }

    /// librdkafka's configuration for a client. Reads trust stores and key stores.
    pub fn rdkafka(&self, role: Role) -> Result<RdConfig> {
        let mut config = RdConfig {
            options: BTreeMap::new(),
            tokens: None,
        };
        for (name, value) in self.defaults(role) {
            config.set(name, value);
        }
        if role == Role::Producer {
            config.set("enable.idempotence", self.idempotence()?.to_string());
        }
        for (name, value) in &self.given {
            let Some(property) = table::find(name) else {
                continue;
            };
            if !applies(property.clients, role) {
                continue;
            }
            match property.meaning {
                Meaning::Option(target) => {
                    config.set(target, value.trim());
                }
                Meaning::Scaled(target, scale) => {
                    config.set(target, self.scaled(name, value, scale)?);
                }
                Meaning::Engine => self.engine_property(&mut config, role, name, value)?,
                Meaning::Security | Meaning::NoEffect(_) | Meaning::Refused(_) => {}
            }
        }
        let security = self.security()?;
        security::configure(&security, &mut config).map_err(|e| in_table(e, &self.table))?;
        if let Some(wire::Sasl::OauthBearer(source)) = security.sasl {
            config.tokens = Some(source);
        }
        Ok(config)
    }

    /// The engine's own client's configuration. Reads trust stores and key stores.
    pub fn wire(&self) -> Result<wire::ClientConfig> {
        let default = wire::ClientConfig::default();
        Ok(wire::ClientConfig {
            bootstrap: self
                .bootstrap()
                .split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            client_id: self
                .get("client.id")
                .map_or(default.client_id.clone(), str::to_owned),
            security: self.security()?,
            request_timeout: self
                .millis("request.timeout.ms")
                .unwrap_or(default.request_timeout),
            call_timeout: self.call_timeout(),
        })
    }

    fn security(&self) -> Result<wire::Security> {
        self.security
            .load(&self.given)
            .map_err(|e| in_table(e, &self.table))
    }

    /// Where librdkafka's defaults are not the Java client's, or not ours.
    fn defaults(&self, role: Role) -> Vec<(&'static str, &'static str)> {
        // A lost connection is tried again quickly at first; the growth is the client's.
        let mut defaults = vec![
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
        ];
        match role {
            Role::Consumer | Role::Admin => {
                defaults.extend([
                    // Java's and Flink's default; librdkafka's is read_committed.
                    ("isolation.level", "read_uncommitted"),
                    ("allow.auto.create.topics", "false"),
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    ("check.crcs", "true"),
                ]);
            }
            Role::Producer => {
                // librdkafka's is a million for a producer that is not idempotent.
                defaults.extend([("acks", "all"), ("max.in.flight.requests.per.connection", "5")]);
            }
        }
        defaults
    }

    fn engine_property(&self, config: &mut RdConfig, role: Role, name: &str, value: &str) -> Result<()> {
        match name {
            "client.id" => {
                config.set("client.id", value);
            }
            "client.id.prefix" if self.get("client.id").is_none() => {
                config.set("client.id", value);
            }
            "request.timeout.ms" => {
                // Checked when the table was read; librdkafka's bounds are narrower than Java's.
                let millis = value.trim().parse::<u32>().unwrap_or(u32::MAX);
                config.set("socket.timeout.ms", millis.clamp(10, 300_000).to_string());
                if role == Role::Producer {
                    config.set("request.timeout.ms", millis.clamp(1, 900_000).to_string());
                }
            }
            "fetch.max.bytes" => {
                // librdkafka wants room for the largest request, which a consumer never sends, and for
                // what stands around a response. A larger batch is fetched whole all the same (KIP-74).
                let bytes = value.trim().parse::<i32>().unwrap_or(i32::MAX);
                let bytes = bytes.clamp(1000, i32::MAX - 512);
                config.set("fetch.max.bytes", bytes.to_string());
                config.set("message.max.bytes", bytes.min(1_000_000).to_string());
            }
            "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => {
                let kind = name.split('.').nth(1).unwrap_or_default();
                if self.get("compression.type").is_some_and(|t| t.trim() == kind) {
                    config.set("compression.level", value.trim());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn scaled(&self, name: &str, value: &str, scale: Scale) -> Result<String> {
        let number: i64 = value
            .trim()
            .parse()
            .map_err(|_| self.wrong(name, "a whole number"))?;
        Ok(match scale {
            Scale::Kibibytes => (number / 1024).clamp(1, i64::from(i32::MAX)),
            Scale::Buffer => number.max(0),
            Scale::AtMost(most) => number.min(most),
        }
        .to_string())
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        let value = match table::find(name) {
            Some(p) if p.secret => "(not shown)",
            _ => self.get(name).unwrap_or_default(),
        };
        Error::user(format!("table '{}' has an option with a wrong value", self.table))
            .with_detail(format!("'properties.{name}' = '{value}'"))
            .with_hint(format!("it takes {expected}"))
    }

    /// Values that librdkafka does not check, and those it does, while no client is open.
    fn check_values(&self) -> Result<()> {
        for name in ["default.api.timeout.ms", "request.timeout.ms", "max.block.ms"] {
            if self.get(name).is_some_and(|v| v.trim().parse::<u32>().is_err()) {
                return Err(self.wrong(name, "milliseconds"));
            }
        }
        let is_size = |v: &str| v.trim().parse::<i32>().is_ok_and(|n| n >= 0);
        if self.get("fetch.max.bytes").is_some_and(|v| !is_size(v)) {
            return Err(self.wrong("fetch.max.bytes", "a number of bytes"));
        }
        for name in [
            "commit.offsets.on.checkpoint",
            "allow.auto.create.topics",
            "enable.idempotence",
            "check.crcs",
        ] {
            let boolean =
                |v: &str| v.trim().eq_ignore_ascii_case("true") || v.trim().eq_ignore_ascii_case("false");
            if self.get(name).is_some_and(|v| !boolean(v)) {
                return Err(self.wrong(name, "'true' or 'false'"));
            }
        }
        if let Some(reset) = self.get("auto.offset.reset")
            && !["earliest", "latest", "none"].contains(&reset.trim().to_ascii_lowercase().as_str())
        {
            return Err(self.wrong("auto.offset.reset", "earliest, latest or none"));
        }
        if self.bootstrap().split(',').all(|s| s.trim().is_empty()) {
            return Err(self.wrong("bootstrap.servers", "host:port, or several with commas"));
        }
        for role in [Role::Consumer, Role::Producer] {
            for (name, value) in &self.given {
                let Some(property) = table::find(name) else {
                    continue;
                };
                let (target, value) = match property.meaning {
                    Meaning::Option(target) => (target, value.trim().to_owned()),
                    Meaning::Scaled(target, scale) => (target, self.scaled(name, value, scale)?),
                    _ => continue,
                };
                if applies(property.clients, role)
                    && ClientConfig::new()
                        .set(target, value)
                        .create_native_config()
                        .is_err()
                {
                    return Err(self.wrong(name, "another value: see the Kafka documentation of this option"));
                }
            }
        }
        Ok(())
    }
}

fn applies(clients: Clients, role: Role) -> bool {
    match clients {
        Clients::Both => true,
        Clients::Consumer => role != Role::Producer,
        Clients::Producer => role == Role::Producer,
    }
}

fn in_table(e: Error, table: &str) -> Error {
    let detail = match e.detail() {
        Some(detail) => format!("table '{table}': {detail}"),
        None => format!("table '{table}'"),
    };
    e.with_detail(detail)
}

#[cfg(test)]
mod tests;
