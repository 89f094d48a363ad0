//! A TaskManager's connection to a JobManager, with TLS where that is configured.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use millrace_core::{Error, Result};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::tls::{self, Connector, Stream};

/// To `address` (`host:port`); an error after `patience`.
pub async fn channel(address: &str, patience: Duration, tls: Option<Connector>) -> Result<Channel> {
    let unreachable = |e: tonic::transport::Error| {
        Error::external("the JobManager cannot be reached")
            .with_detail(format!("{address}: {}", tls::causes(&e)))
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(unreachable)?
        .connect_timeout(patience)
        .tcp_nodelay(true);
    let channel = match tls {
        None => endpoint.connect().await,
        Some(tls) => {
            let connect = tower::service_fn(move |to: Uri| {
                let tls = tls.clone();
                async move { over_tls(&to, &tls).await.map(TokioIo::new) }
            });
            endpoint.connect_with_connector(connect).await
        }
    };
    channel.map_err(unreachable)
}

async fn over_tls(to: &Uri, tls: &Connector) -> io::Result<Stream> {
    let authority = to
        .authority()
        .map(|authority| (authority.host(), authority.port_u16()));
    let Some((host, Some(port))) = authority else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no host with a port",
        ));
    };
    // An IPv6 address stands in brackets there.
    let host = host.trim_matches(['[', ']']);
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    tls.connect(host, tcp).await
}
