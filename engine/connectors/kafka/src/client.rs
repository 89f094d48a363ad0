//! What all of our librdkafka clients share: logging, errors, tokens.

use std::ffi::{CStr, CString, c_char};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_core::{Error, Result};
use millrace_kafka_wire::{Token, TokenSource};
use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafka, RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka_sys as rd;

/// Logs through tracing, remembers the last error, gives tokens.
pub struct Context {
    pub table: String,
    pub tokens: Option<Arc<dyn TokenSource>>,
    pub last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Context {
    pub fn new(table: &str, tokens: Option<Arc<dyn TokenSource>>) -> Self {
        Context {
            table: table.to_owned(),
            tokens,
            last_error: Mutex::new(None),
        }
    }

    /// The newest error that librdkafka told of, and forgets it.
    pub fn take_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last_error.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(&self.table, level as i32, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(table = %self.table, %error, reason, "the Kafka client reports an error");
        if let Some(code) = error.rdkafka_error_code() {
            let mut last = self.last_error.lock().unwrap_or_else(|e| e.into_inner());
            // After a refusal comes "all brokers are down", which says less.
            if !last.as_ref().is_some_and(|(code, _)| is_refusal(*code)) {
                *last = Some((code, reason.to_owned()));
            }
        }
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        let Some(tokens) = &self.tokens else {
            return Err("no source of tokens".into());
        };
        let token = tokens.token()?;
        Ok(OAuthToken {
            token: token.value,
            principal_name: token.principal,
            lifetime_ms: token.expires_at,
        })
    }
}

impl ConsumerContext for Context {}

/// A queue of a client on which it answers to commits of offsets.
pub struct Answers<'a> {
    client: &'a Client<Context>,
    queue: *mut rd::rd_kafka_queue_t,
}

impl<'a> Answers<'a> {
    pub fn new(client: &'a Client<Context>) -> Self {
        // SAFETY: the client lives as long as the queue, by the reference to it.
        let queue = unsafe { rd::rd_kafka_queue_new(client.native_ptr()) };
        Answers { client, queue }
    }

    /// Sends a commit; its answer comes later.
    pub fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        // SAFETY: client and queue are alive; librdkafka copies the list. Without a callback it passes nothing to one.
        let code = unsafe {
            rd::rd_kafka_commit_queue(
                self.client.native_ptr(),
                offsets.ptr(),
                self.queue,
                None,
                std::ptr::null_mut(),
            )
        };
        done(code)
    }

    /// The next answer, waited for so long.
    pub fn next(&self, time: Duration) -> Option<KafkaResult<()>> {
        let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; the event is ours, is looked at before it is destroyed, and that once.
        let code = unsafe {
            let event = rd::rd_kafka_queue_poll(self.queue, millis);
            if event.is_null() {
                return None;
            }
            let code = rd::rd_kafka_event_error(event);
            rd::rd_kafka_event_destroy(event);
            code
        };
        Some(done(code))
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it afterwards; an answer that still comes is dropped by librdkafka.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) }
    }
}

fn done(code: RDKafkaRespErr) -> KafkaResult<()> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::ConsumerCommit(code.into())),
    }
}

/// A log line of librdkafka; levels are syslog's. Lost connections are its everyday life.
pub fn log(table: &str, level: i32, facility: &str, message: &str) {
    match level {
        0..=3 => tracing::warn!(target: "librdkafka", table, facility, "{message}"),
        4..=5 => tracing::info!(target: "librdkafka", table, facility, "{message}"),
        _ => tracing::debug!(target: "librdkafka", table, facility, "{message}"),
    }
}

/// Gives a new client its first token at once: it asks for one only when it is polled.
pub fn set_first_token(rk: *mut RDKafka, tokens: Option<&Arc<dyn TokenSource>>) -> Result<()> {
    match tokens {
        Some(tokens) => set_token(rk, &tokens.token()?),
        None => Ok(()),
    }
}

pub fn set_token(rk: *mut RDKafka, token: &Token) -> Result<()> {
    let nul = |_| Error::external("a token for SASL/OAUTHBEARER holds a zero byte");
    let value = CString::new(token.value.as_str()).map_err(nul)?;
    let principal = CString::new(token.principal.as_str()).map_err(nul)?;
    let mut message = [0 as c_char; 512];
    // SAFETY: both strings end in zero and live over the call; librdkafka copies them, and writes
    // at most `message.len()` bytes with a zero at the end. `rk` is a live client of the caller.
    let code = unsafe {
        rd::rd_kafka_oauthbearer_set_token(
            rk,
            value.as_ptr(),
            token.expires_at,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            message.as_mut_ptr(),
            message.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: as above.
    let reason = unsafe { CStr::from_ptr(message.as_ptr()) }
        .to_string_lossy()
        .into_owned();
    Err(Error::external("the Kafka client does not take the token").with_detail(reason))
}

/// An error of the client in our words. A wrong value of the configuration is left out of it: it
/// could be a secret.
pub fn error(what: &str, e: &KafkaError) -> Error {
    match e {
        KafkaError::ClientConfig(_, description, key, _) => {
            Error::user(what.to_owned()).with_detail(format!("librdkafka's option '{key}': {description}"))
        }
        other => Error::external(what.to_owned()).with_detail(other.to_string()),
    }
}

/// Errors that end only when somebody changes something.
pub fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        code,
        C::Authentication
            | C::SaslAuthenticationFailed
            | C::TopicAuthorizationFailed
            | C::GroupAuthorizationFailed
            | C::ClusterAuthorizationFailed
            | C::UnsupportedSASLMechanism
            | C::SSL
            | C::UnsupportedFeature
            | C::Fatal
    )
}
