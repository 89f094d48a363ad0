//! What the sink makes of a table's options for its client.

use std::time::Duration;

use millrace_core::{Error, Result};
use millrace_kafka_wire::Admin;

use crate::options::{DeliveryGuarantee, TableOptions};
use crate::properties::Role;
use crate::topics::Topics;

/// Flink's: long enough for a job that is down for a while.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// Java's `delivery.timeout.ms`.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// The one topic that a table writes to.
pub fn topic<'a>(table: &str, topics: &'a Topics) -> Result<&'a str> {
    match topics {
        Topics::List(names) if names.len() == 1 => Ok(&names[0]),
        Topics::List(_) => Err(
            Error::unsupported(format!("writing to several topics (table '{table}')"))
                .with_hint("a table that is written needs 'topic' with exactly one topic"),
        ),
        Topics::Pattern(_) => Err(Error::unsupported(format!(
            "writing to topics of a 'topic-pattern' (table '{table}')"
        ))
        .with_hint("a table that is written needs 'topic' with exactly one topic")),
    }
}

pub fn transaction_timeout(options: &TableOptions) -> Result<Duration> {
    let Some(text) = options.properties.get("transaction.timeout.ms") else {
        return Ok(TRANSACTION_TIMEOUT);
    };
    match text.trim().parse::<i32>() {
        Ok(millis) if millis >= 1000 => Ok(Duration::from_millis(millis as u64)),
        _ => Err(Error::user(format!(
            "table '{}' has an option with a wrong value",
            options.properties.table()
        ))
        .with_detail(format!("'properties.transaction.timeout.ms' = '{text}'"))
        .with_hint("it takes milliseconds, at least 1000")),
    }
}

/// Transactions need an idempotent producer.
pub fn check_idempotence(options: &TableOptions) -> Result<()> {
    let properties = &options.properties;
    let is_idempotent = properties.idempotence()?;
    if options.guarantee != DeliveryGuarantee::ExactlyOnce || is_idempotent {
        return Ok(());
    }
    let name = properties
        .against_idempotence()
        .map_or("enable.idempotence", |(name, _)| name);
    Err(Error::user(format!(
        "table '{}' cannot be exactly-once with a producer that is not idempotent",
        properties.table()
    ))
    .with_detail(format!(
        "'properties.{name}' = '{}'",
        properties.get(name).unwrap_or_default()
    ))
    .with_hint(format!("take 'properties.{name}' away")))
}

/// librdkafka's properties, without ids: the user's, then ours where the user gave none.
pub fn properties(options: &TableOptions) -> Result<ClientProperties> {
    let given = options.properties.rdkafka(Role::Producer)?;
    let mut properties: Vec<(String, String)> = given
        .options
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    properties.retain(|(key, _)| key != "transactional.id" && key != "transaction.timeout.ms");
    let is_transactional = options.guarantee == DeliveryGuarantee::ExactlyOnce;
    let mut delivery_timeout = DELIVERY_TIMEOUT;
    if is_transactional {
        check_idempotence(options)?;
        // librdkafka refuses to wait for a record, or an answer, for longer than its transaction can
        // be open; a longer wait could only end in an aborted transaction.
        let most = transaction_timeout(options)?;
        delivery_timeout = delivery_timeout.min(most);
        for (_, value) in properties
            .iter_mut()
            .filter(|(key, _)| ["delivery.timeout.ms", "socket.timeout.ms"].contains(&key.as_str()))
        {
            // 0 is "for ever" to librdkafka.
            match value.parse::<u64>() {
                Ok(millis) if millis > 0 && u128::from(millis) <= most.as_millis() => {}
                _ => *value = most.as_millis().to_string(),
            }
        }
    }
    let delivery_timeout = delivery_timeout.as_millis().to_string();
    let own = [
        // Our partitioner is asked for records without keys too.
        ("sticky.partitioning.linger.ms", "0"),
        ("message.timeout.ms", delivery_timeout.as_str()),
        // Visible only with a checkpoint, so a few milliseconds buy full batches for nothing.
        ("linger.ms", if is_transactional { "10" } else { "1" }),
        ("batch.num.messages", "100000"),
        // Each record costs librdkafka some 200 bytes beside its payload.
        ("queue.buffering.max.messages", "100000"),
        ("queue.buffering.max.kbytes", "32768"),
        ("socket.nagle.disable", "true"),
    ];
    for (key, value) in own {
        let aliases: &[&str] = match key {
            "message.timeout.ms" => &["message.timeout.ms", "delivery.timeout.ms"],
            "linger.ms" => &["linger.ms", "queue.buffering.max.ms"],
            _ => &[key],
        };
        if !properties
            .iter()
            .any(|(given, _)| aliases.contains(&given.as_str()))
        {
            properties.push((key.to_owned(), value.to_owned()));
        }
    }
    Ok(ClientProperties {
        properties,
        tokens: given.tokens,
    })
}

pub struct ClientProperties {
    pub properties: Vec<(String, String)>,
    pub tokens: Option<std::sync::Arc<dyn millrace_kafka_wire::TokenSource>>,
}

/// Refuses a transaction timeout that the brokers refuse, before anything is started.
pub async fn check_transaction_timeout(admin: &Admin, options: &TableOptions) -> Result<()> {
    let timeout = transaction_timeout(options)?;
    // Whoever may not see the configuration meets the same error when the sink is opened.
    let Ok(Some(text)) = admin.broker_config("transaction.max.timeout.ms").await else {
        return Ok(());
    };
    match text.parse::<u64>() {
        Ok(most) if timeout.as_millis() > u128::from(most) => {
            let table = options.properties.table();
            Err(timeout_too_long(Some(most)).with_detail(format!(
                "table '{table}': 'properties.transaction.timeout.ms' is {} (without it, as in Flink, {}), \
                 the brokers' transaction.max.timeout.ms is {most}",
                timeout.as_millis(),
                TRANSACTION_TIMEOUT.as_millis(),
            )))
        }
        _ => Ok(()),
    }
}

pub fn timeout_too_long(most: Option<u64>) -> Error {
    let most = most.map_or("900000".to_owned(), |most| most.to_string());
    Error::user("the transaction timeout is longer than the Kafka brokers allow").with_hint(format!(
        "add 'properties.transaction.timeout.ms' = '{most}' to the table's WITH clause, \
         or raise the brokers' transaction.max.timeout.ms; a job that is down for longer than the timeout loses data"
    ))
}
