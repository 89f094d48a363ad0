//! A Kafka client on the raw protocol. For now: connections, and the administration of
//! transactions that recovery stands on; the columnar data path comes behind the same connections.
//!
//! It may depend on `millrace-core` only. It knows no connector, no table and no checkpoint.
//!
//! Invariants: every call has a deadline; a response is bounded, and taken only with the
//! correlation id of its request; a connection whose call did not end well is never used again;
//! no secret is logged.
//!
//! Layout: `config` addresses and security, `connection` frames and versions on one connection,
//! `tls` and `sasl` beneath it, `error` why one request failed, `retry` pauses between attempts,
//! `admin` the calls.

pub mod admin;
pub mod config;
mod connection;
pub mod error;
mod retry;
mod sasl;
mod tls;

pub use admin::{
    Admin, Broker, END_TXN_V1, EndTxn, Metadata, Topic, Transaction, TransactionDescription,
    TransactionListing, TransactionState,
};
pub use config::{
    ClientCertificate, ClientConfig, Roots, Sasl, ScramHash, Security, Tls, Token, TokenSource,
};
pub use kafka_protocol::error::ResponseError;
