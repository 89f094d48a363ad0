//! librdkafka's producer. `native` is the C client; `partitions` chooses where records go.

mod native;
mod partitions;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_connector_api::Waker;
use millrace_core::Result;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

use self::native::{Failure, Native};
use self::partitions::Spread;
use super::options::ClientProperties;
use crate::writer::{self, Block, Producer, ProducerSettings, Reason};

/// Whether librdkafka makes a producer of these properties. Takes no transactional id over.
pub fn check(client: &ClientProperties, topic: &str, transaction_timeout: Option<Duration>) -> Result<()> {
    let mut properties = client.properties.clone();
    if let Some(timeout) = transaction_timeout {
        let timeout = timeout.as_millis().to_string();
        properties.push(("transactional.id".to_owned(), "check".to_owned()));
        properties.push(("transaction.timeout.ms".to_owned(), timeout));
    }
    let native = Native::new(&properties, topic, client.tokens.clone(), Waker::default())?;
    // It joins threads, for which nobody has to wait.
    std::thread::spawn(move || drop(native));
    Ok(())
}

pub struct LibrdkafkaProducer {
    native: Native,
    /// Of the thread that produces.
    spread: Mutex<Spread>,
}

impl LibrdkafkaProducer {
    pub fn open(settings: &ProducerSettings, waker: Waker) -> Result<Self> {
        let mut properties = settings.properties.clone();
        if let Some((id, timeout)) = &settings.transactional {
            let timeout = timeout.as_millis().to_string();
            properties.push(("transactional.id".to_owned(), id.clone()));
            properties.push(("transaction.timeout.ms".to_owned(), timeout));
        }
        Ok(LibrdkafkaProducer {
            native: Native::new(&properties, &settings.topic, settings.tokens.clone(), waker)?,
            spread: Mutex::new(Spread::new(settings.partition)),
        })
    }
}

impl From<Failure> for writer::Failure {
    fn from(failure: Failure) -> Self {
        writer::Failure {
            reason: match failure.code {
                Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT => Reason::TimeoutTooLong,
                _ if failure.is_fenced() => Reason::Fenced,
                _ => Reason::Other,
            },
            text: failure.to_string(),
            is_fatal: failure.is_fatal,
            is_retriable: failure.is_retriable,
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

impl Producer for LibrdkafkaProducer {
    fn poll(&self) {
        self.native.poll();
    }

    fn flush(&self, at_most: Duration) {
        self.native.flush(millis(at_most));
    }

    fn await_events(&self) {
        self.native.await_events();
    }

    fn stop_awaiting(&self) {
        self.native.stop_awaiting();
    }

    fn produce(&self, block: &Block, from: usize) -> Result<usize, writer::Failure> {
        let mut spread = self.spread.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(spread.produce(&self.native, block, from)?)
    }

    fn produced(&self) -> u64 {
        self.native.produced()
    }

    fn in_flight(&self) -> u64 {
        self.native.in_flight()
    }

    fn failure(&self) -> Option<writer::Failure> {
        self.native.failure().map(Into::into)
    }

    fn fatal(&self) -> Option<writer::Failure> {
        self.native.fatal().map(Into::into)
    }

    fn await_broker(&self, at_most: Duration) {
        self.native.await_broker(millis(at_most));
    }

    fn init_transactions(&self, at_most: Duration) -> Result<(), writer::Failure> {
        Ok(self.native.init_transactions(millis(at_most))?)
    }

    fn begin_transaction(&self) -> Result<(), writer::Failure> {
        Ok(self.native.begin_transaction()?)
    }

    fn commit_transaction(&self, at_most: Duration) -> Result<(), writer::Failure> {
        Ok(self.native.commit_transaction(millis(at_most))?)
    }
}
