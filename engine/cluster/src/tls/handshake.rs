//! Both sides of a handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::reasons;
use super::reload::Reloading;
use super::stream::Stream;

/// A handshake's messages begin with it, and no text does.
const HANDSHAKE: u8 = 0x16;
/// What is read from the system at once.
const READ: usize = 1 << 16;

/// The side that takes connections.
#[derive(Clone)]
pub struct Acceptor {
    configs: Arc<Reloading<ServerConfig>>,
    patience: Duration,
}

/// Why there is no connection.
pub enum Refused {
    /// The peer has closed it before it said anything, as those do that only try whether a port is open.
    Silent,
    /// The peer does not speak TLS; nothing of what it says has been read.
    Plain(TcpStream),
    Why(String),
}

impl Acceptor {
    pub(super) fn new(configs: Arc<Reloading<ServerConfig>>, patience: Duration) -> Self {
        Acceptor { configs, patience }
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// For who takes connections in another way; it has the certificates as they are now.
    pub async fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.configs.current().await)
    }

    pub async fn accept(&self, tcp: TcpStream) -> Result<Stream, Refused> {
        let late = || Refused::Why(format!("its handshake was not done within {:?}", self.patience));
        let handshake = timeout(self.patience, self.handshake(tcp));
        handshake.await.unwrap_or_else(|_| Err(late()))
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<Stream, Refused> {
        let broke = |error: io::Error| Refused::Why(in_a_handshake(&error));
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(0) => return Err(Refused::Silent),
            Ok(_) if first[0] == HANDSHAKE => {}
            Ok(_) => return Err(Refused::Plain(tcp)),
            Err(error) => return Err(broke(error)),
        }
        let acceptor = self.acceptor().await;
        let stream = acceptor.accept(BufReader::with_capacity(READ, tcp)).await;
        Ok(Stream::Tls(Box::new(stream.map_err(broke)?.into())))
    }
}

fn in_a_handshake(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "it has closed the connection in the middle of the handshake".to_owned()
        }
        _ => reasons::why(error),
    }
}

/// The side that makes connections.
#[derive(Clone)]
pub struct Connector {
    configs: Arc<Reloading<ClientConfig>>,
    patience: Duration,
}

impl Connector {
    pub(super) fn new(configs: Arc<Reloading<ClientConfig>>, patience: Duration) -> Self {
        Connector { configs, patience }
    }

    /// What a peer refuses is learned with the first thing that is read, not here.
    pub async fn connect(&self, host: &str, tcp: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned())
            .or_else(|_| Ok::<_, io::Error>(ServerName::IpAddress(tcp.peer_addr()?.ip().into())))?;
        let connector = TlsConnector::from(self.configs.current().await);
        let connecting = connector.connect(name, BufReader::with_capacity(READ, tcp));
        match timeout(self.patience, connecting).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream.into()))),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), in_a_handshake(&error))),
            Err(_) => {
                let late = format!("its handshake was not done within {:?}", self.patience);
                Err(io::Error::new(io::ErrorKind::TimedOut, late))
            }
        }
    }
}
