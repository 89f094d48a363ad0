//! A Kafka client on the raw protocol. For now: connections, and the administration of
//! transactions that recovery stands on; the columnar data path comes behind the same connections.
//!
//! It may depend on `millrace-core` only. It knows no connector, no table and no checkpoint.
//!
//! Layout: `config` addresses and security.

pub mod config;

pub use config::{
    ClientCertificate, ClientConfig, Roots, Sasl, ScramHash, Security, Tls, Token, TokenSource,
};
