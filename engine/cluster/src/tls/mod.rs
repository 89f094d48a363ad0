//! TLS by Flink's keys: `security.ssl.internal.*` for what JobManagers and TaskManagers say to one another,
//! `security.ssl.rest.*` for REST and its clients.
//!
//! Within the cluster both sides show a certificate, and each checks the other's against its trust store; the host's name
//! does not count, so that one certificate may serve all processes. A client of REST checks the server's name, and shows a
//! certificate only where `security.ssl.rest.authentication-enabled` asks for it.
//!
//! Invariants:
//! - Every connection within the cluster is checked anew: none takes up an earlier session.
//! - A handshake never holds up who comes after it.
//! - No error and no log line holds a password.
//!
//! Layout: `settings` what the configuration says, `suites` protocols and cipher suites by Java's names, `configs` rustls
//! configurations made of both, `verify` who is trusted, `reload` files that are read anew when they change, `stream` a
//! connection with or without TLS, `handshake` both sides of one, `listener` a port, `redirect` who speaks plain HTTP to
//! REST, `reasons` why a peer was refused, `refusals` few log lines about it.

mod configs;
mod handshake;
mod listener;
mod reasons;
mod redirect;
mod refusals;
mod reload;
mod settings;
mod stream;
mod suites;
mod verify;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use millrace_core::options::ssl;
use millrace_core::{Configuration, Error, Result};
use tokio_rustls::rustls::ClientConfig;

pub use handshake::{Acceptor, Connector, Refused};
pub use listener::Listener;
pub use reasons::causes;
pub use stream::Stream;

use reload::Reloading;
use settings::Settings;

/// A peer that takes longer for its handshake is refused.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Both sides of connections within the cluster.
#[derive(Clone)]
pub struct Internal {
    pub acceptor: Acceptor,
    pub connector: Connector,
}

/// TLS within the cluster as configured; none where it is off.
#[derive(Clone, Default)]
pub struct Cluster {
    /// Between JobManagers and TaskManagers.
    pub rpc: Option<Internal>,
    /// Among TaskManagers.
    pub data: Option<Internal>,
}

impl Cluster {
    /// Reads the stores. An error names the key that is wrong.
    pub fn from_config(config: &Configuration) -> Result<Cluster> {
        if !config.get(&ssl::INTERNAL_ENABLED)? {
            return Ok(Cluster::default());
        }
        let settings = Arc::new(Settings::internal(config)?);
        let timeout = match config.get(&ssl::INTERNAL_HANDSHAKE_TIMEOUT)? {
            -1 => HANDSHAKE_TIMEOUT,
            millis => u64::try_from(millis).map(Duration::from_millis).map_err(|_| {
                Error::user("a timeout must not be negative")
                    .with_detail(format!("{}: '{millis}'", ssl::INTERNAL_HANDSHAKE_TIMEOUT.key))
                    .with_hint("it takes milliseconds, or -1 for the default")
            })?,
        };
        let internal = Internal {
            acceptor: acceptor(&settings, timeout)?,
            connector: connector(&settings, timeout)?,
        };
        Ok(Cluster {
            rpc: config.get(&ssl::RPC_ENABLED)?.then(|| internal.clone()),
            data: config.get(&ssl::DATA_ENABLED)?.then_some(internal),
        })
    }
}

/// REST's server as configured; none where it speaks without TLS.
pub fn rest_server(config: &Configuration) -> Result<Option<Acceptor>> {
    if !config.get(&ssl::REST_ENABLED)? {
        return Ok(None);
    }
    let settings = Arc::new(Settings::rest_server(config)?);
    acceptor(&settings, HANDSHAKE_TIMEOUT).map(Some)
}

/// What a client of REST has to take for its connections; none where REST is without TLS.
pub fn rest_client(config: &Configuration) -> Result<Option<ClientConfig>> {
    if !config.get(&ssl::REST_ENABLED)? {
        return Ok(None);
    }
    configs::client(&Settings::rest_client(config)?).map(Some)
}

fn acceptor(settings: &Arc<Settings>, timeout: Duration) -> Result<Acceptor> {
    let build = settings.clone();
    let configs = Reloading::new(settings.files(), move || configs::server(&build))?;
    Ok(Acceptor::new(configs, timeout))
}

fn connector(settings: &Arc<Settings>, timeout: Duration) -> Result<Connector> {
    let build = settings.clone();
    let configs = Reloading::new(settings.files(), move || configs::client(&build))?;
    Ok(Connector::new(configs, timeout))
}
