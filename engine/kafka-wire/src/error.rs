//! Why one request failed, before retries make an error for people of it.

use std::io;

use kafka_protocol::error::ResponseError;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made or broke: another attempt may succeed.
    #[error("{address}: {source}")]
    Connection { address: String, source: io::Error },
    #[error("{address}: no answer within {} ms", .after.as_millis())]
    Timeout {
        address: String,
        after: std::time::Duration,
    },
    /// The broker speaks no version of the request that we do.
    #[error("{address}: the broker does not support {request} in a version that this client speaks")]
    Unsupported { address: String, request: &'static str },
    /// Bytes that are not an answer to what was asked.
    #[error("{address}: malformed response: {reason}")]
    Malformed { address: String, reason: String },
    /// TLS or SASL said no: the same credentials will be refused again.
    #[error("{address}: {reason}")]
    Refused { address: String, reason: String },
    #[error("{0}")]
    Response(ResponseError),
}

impl CallError {
    /// Whether another attempt, maybe at another broker, may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            CallError::Connection { .. } | CallError::Timeout { .. } => true,
            CallError::Response(code) => code.is_retriable(),
            CallError::Unsupported { .. } | CallError::Malformed { .. } | CallError::Refused { .. } => false,
        }
    }
}
