//! The producer that goes on all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::checker::Sent;
use crate::keyed;
use crate::keyed::job::{ORDERS, PAYMENTS};

pub const KEYS: u32 = 48;

/// The record of a number: the same every time, so that the checker needs no list of what was sent.
pub fn record(id: u64) -> Sent {
    Sent {
        id,
        key: (id % u64::from(KEYS)) as u32,
        sequence: id / u64::from(KEYS),
    }
}

/// A record of a step of the input: the number of its topic, its key and its value.
pub struct Message {
    pub topic: usize,
    pub key: String,
    pub value: String,
}

/// The records of a step, by its number.
pub type Steps = fn(u64) -> Vec<Message>;

/// One record a step.
pub fn single(id: u64) -> Vec<Message> {
    let Sent { id, key, sequence } = record(id);
    vec![Message {
        topic: 0,
        key: format!("key-{key}"),
        value: format!("{{\"id\":{id},\"k\":{key},\"seq\":{sequence}}}"),
    }]
}

/// An order a step, and the payments that are due.
pub fn orders_and_payments(step: u64) -> Vec<Message> {
    let message = |topic, (key, value)| Message { topic, key, value };
    let order = message(ORDERS, keyed::input::order(step).record());
    let payments = keyed::input::payments(step).map(|payment| message(PAYMENTS, payment.record()));
    std::iter::once(order).chain(payments).collect()
}

/// A thread that sends numbered records at a bounded rate, with acks=all, through whatever
/// happens to the brokers.
#[derive(Debug)]
pub struct Input {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<u64>>,
}

impl Input {
    pub fn start(
        client: &ClientConfig,
        topics: Vec<String>,
        steps: Steps,
        steps_per_second: u64,
    ) -> Result<Input> {
        let producer: BaseProducer = client
            .clone()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            // A broker that is away for long must not make the producer give up.
            .set("message.timeout.ms", "0")
            .create()?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            move || produce(&producer, &topics, steps, steps_per_second, &stop, &sent)
        });
        Ok(Input { stop, sent, thread })
    }

    /// Steps handed to the client so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and returns how many steps were sent: all of their records are acknowledged.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the producer panicked"))?
    }
}

fn produce(
    producer: &BaseProducer,
    topics: &[String],
    steps: Steps,
    rate: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<u64> {
    let start = Instant::now();
    let mut next = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for message in steps(next) {
            let topic = topics
                .get(message.topic)
                .context("a record of the input has no topic")?;
            let mut record = BaseRecord::to(topic).key(&message.key).payload(&message.value);
            while let Err((e, back)) = producer.send(record) {
                if e.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(e).context("sending the input");
                }
                producer.poll(Duration::from_millis(50));
                record = back;
            }
        }
        next += 1;
        if next.is_multiple_of(16) {
            sent.store(next, Ordering::Relaxed);
            producer.poll(Duration::ZERO);
            let due = Duration::from_secs_f64(next as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
    sent.store(next, Ordering::Relaxed);
    producer
        .flush(Duration::from_secs(120))
        .context("waiting for the input's acknowledgements")?;
    if producer.in_flight_count() > 0 {
        bail!(
            "{} records of the input are not acknowledged",
            producer.in_flight_count()
        );
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_key_follow_one_another() {
        let mut next = vec![0; KEYS as usize];
        for id in 0..1000 {
            let sent = record(id);
            assert_eq!(sent.sequence, next[sent.key as usize]);
            next[sent.key as usize] += 1;
        }
    }
}
