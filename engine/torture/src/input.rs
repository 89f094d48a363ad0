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

pub const KEYS: u32 = 48;

/// The record of a number: the same every time, so that the checker needs no list of what was sent.
pub fn record(id: u64) -> Sent {
    Sent {
        id,
        key: (id % u64::from(KEYS)) as u32,
        sequence: id / u64::from(KEYS),
    }
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
    pub fn start(client: &ClientConfig, topic: &str, records_per_second: u64) -> Result<Input> {
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
            let (stop, sent, topic) = (stop.clone(), sent.clone(), topic.to_owned());
            move || produce(&producer, &topic, records_per_second, &stop, &sent)
        });
        Ok(Input { stop, sent, thread })
    }

    /// Records handed to the client so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and returns how many records were sent: all of them are acknowledged.
    pub fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the producer panicked"))?
    }
}

fn produce(
    producer: &BaseProducer,
    topic: &str,
    rate: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<u64> {
    let start = Instant::now();
    let mut next = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let Sent { id, key, sequence } = record(next);
        let key_text = format!("key-{key}");
        let value = format!("{{\"id\":{id},\"k\":{key},\"seq\":{sequence}}}");
        match producer.send(BaseRecord::to(topic).key(&key_text).payload(&value)) {
            Ok(()) => next += 1,
            Err((e, _)) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(50));
                continue;
            }
            Err((e, _)) => return Err(e).context("sending the input"),
        }
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
