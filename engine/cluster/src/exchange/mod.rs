//! Edges between TaskManagers: elements as frames over TCP, one connection for all that one deployment sends to one
//! other TaskManager, with credit for each channel.
//!
//! The writer's side connects, and says which channels it will send on. A channel is there once its reader has been
//! deployed: until then the writer has no credit, so the two may be deployed in any order. What the reader takes out of
//! its queue is credit again. A connection that breaks fails what reads from it and what writes to it, and with them
//! the attempt; nothing is sent twice.

mod incoming;
mod outgoing;
mod protocol;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_connector_api::Waker;
use millrace_core::{Error, JobId, Result};
use millrace_runtime::channel::Receiver;
use millrace_runtime::wire::Wire;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::tls::{Connector, Internal, Listener};
use incoming::Directory;
pub use outgoing::Outgoing;

/// One attempt of one job, over all machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptId {
    pub job: JobId,
    pub attempt: u64,
}

/// One channel of an attempt, as both of its ends know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelId {
    pub attempt: AttemptId,
    /// Index among the job graph's edges.
    pub edge: u32,
    /// Subtask that writes.
    pub from: u32,
    /// Subtask that reads.
    pub to: u32,
}

/// A TaskManager's end of all connections with others.
pub struct Exchange {
    directory: Arc<Directory>,
    address: SocketAddr,
    /// None: without TLS.
    tls: Option<Connector>,
    runtime: Handle,
}

impl Exchange {
    /// Listens for other TaskManagers. Port 0: any.
    pub fn listen(address: SocketAddr, tls: Option<Internal>, runtime: &Handle) -> Result<Exchange> {
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(|e| {
            Error::external("the port for data between TaskManagers cannot be listened on")
                .with_detail(address.to_string())
                .with_source(e)
                .with_hint("set taskmanager.data.port to one that is free, and taskmanager.bind-host to an address of this machine")
        })?;
        let address = listener.local_addr().map_err(|e| {
            Error::external("the port for data between TaskManagers is not known").with_source(e)
        })?;
        let directory = Arc::new(Directory::default());
        let (acceptor, connector) = tls.map(|tls| (tls.acceptor, tls.connector)).unzip();
        let listener = Listener::new(listener, acceptor, "data");
        runtime.spawn(incoming::accept(listener, directory.clone()));
        Ok(Exchange {
            directory,
            address,
            tls: connector,
            runtime: runtime.clone(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The reading end of a channel whose writer is on another TaskManager.
    pub fn receiver(&self, channel: ChannelId, capacity: usize, wire: Wire, reader: Waker) -> Receiver {
        self.directory.register(channel, capacity, wire, reader)
    }

    /// A connection to another TaskManager, for what one deployment sends there.
    pub fn connect(&self, peer: &str) -> Outgoing {
        Outgoing::connect(peer, self.tls.clone(), &self.runtime)
    }

    /// The attempt is gone from this TaskManager: what its channels are asked for from now on is not there.
    pub fn forget(&self, attempt: AttemptId) {
        self.directory.forget(attempt);
    }
}
