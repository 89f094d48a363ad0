//! A port that takes connections, with TLS where that is configured.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::handshake::{Acceptor, Refused};
use super::redirect;
use super::refusals::Refusals;
use super::stream::Stream;

/// After an error of the system, such as too many open files: they may become fewer.
const PAUSE: Duration = Duration::from_millis(100);

/// Handshakes run beside it: who takes long for one, or says nothing, holds nobody up.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Acceptor>,
    /// Who speaks HTTP without TLS is told where to go.
    redirects: bool,
    refusals: Arc<Refusals>,
    handshakes: JoinSet<Option<(Stream, SocketAddr)>>,
}

impl Listener {
    /// `port` is what it is for, in log lines.
    pub fn new(tcp: TcpListener, tls: Option<Acceptor>, port: &'static str) -> Self {
        Listener {
            tcp,
            tls,
            redirects: false,
            refusals: Arc::new(Refusals::new(port)),
            handshakes: JoinSet::new(),
        }
    }

    /// As Flink's REST port: a request in plain HTTP is answered with where it is served.
    pub fn redirecting(self) -> Self {
        Listener {
            redirects: true,
            ..self
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next connection, after its handshake. May be given up and called again: no connection is lost by that.
    pub async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            let taken = tokio::select! {
                taken = self.tcp.accept() => taken,
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(ready)) => return ready,
                    // Refused, or the runtime ends.
                    Ok(None) | Err(_) => continue,
                },
            };
            let (tcp, peer) = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%peer, %error, "TCP_NODELAY");
            }
            let Some(tls) = self.tls.clone() else {
                return (Stream::Plain(tcp), peer);
            };
            let (redirects, refusals) = (self.redirects, self.refusals.clone());
            self.handshakes
                .spawn(handshake(tls, tcp, peer, redirects, refusals));
        }
    }

    /// As tonic takes connections; it listens for as long as they are taken.
    pub fn incoming(mut self) -> impl tokio_stream::Stream<Item = Result<Stream, Infallible>> + use<> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let taken = tokio::select! {
                    (stream, _) = self.accept() => stream,
                    () = sender.closed() => return,
                };
                if sender.send(taken).await.is_err() {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver).map(Ok)
    }
}

async fn handshake(
    tls: Acceptor,
    tcp: TcpStream,
    peer: SocketAddr,
    redirects: bool,
    refusals: Arc<Refusals>,
) -> Option<(Stream, SocketAddr)> {
    let why = match tls.accept(tcp).await {
        Ok(stream) => return Some((stream, peer)),
        Err(Refused::Silent) => return None,
        Err(Refused::Plain(tcp)) if redirects => {
            redirect::answer(tcp, tls.patience()).await;
            return None;
        }
        Err(Refused::Plain(_)) => "it does not speak TLS".to_owned(),
        Err(Refused::Why(why)) => why,
    };
    refusals.tell(peer, &why);
    None
}
