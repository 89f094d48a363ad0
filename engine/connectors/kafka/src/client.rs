//! What all of our librdkafka clients share: logging, errors, tokens.

use std::ffi::{CStr, CString, c_char};
use std::sync::{Arc, Mutex};

use millrace_core::{Error, Result};
use millrace_kafka_wire::{Token, TokenSource};
use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
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
    commit_answer: Mutex<Option<KafkaResult<()>>>,
}

impl Context {
    pub fn new(table: &str, tokens: Option<Arc<dyn TokenSource>>) -> Self {
        Context {
            table: table.to_owned(),
            tokens,
            last_error: Mutex::new(None),
            commit_answer: Mutex::new(None),
        }
    }

    /// The answer to a commit of offsets, once.
    pub fn take_commit_answer(&self) -> Option<KafkaResult<()>> {
        self.commit_answer
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take()
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

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        *self.commit_answer.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
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
