//! A way to a server that can be cut: what is sent over it then arrives later, or never.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Result;

/// A port that leads to another one. Connections that are open when it is dropped stay.
#[derive(Debug)]
pub struct Link {
    port: u16,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_cut: Mutex<bool>,
    healed: Condvar,
}

impl Link {
    /// To a port of 127.0.0.1.
    pub fn to(server: u16) -> Result<Link> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let gate = Arc::new(Gate::default());
        let shared = gate.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let gate = shared.clone();
                std::thread::spawn(move || connect(client, server, &gate));
            }
        });
        Ok(Link { port, gate })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing gets through from now on, and no connection ends.
    pub fn cut(&self) {
        self.gate.set(true);
    }

    /// What was sent meanwhile arrives.
    pub fn heal(&self) {
        self.gate.set(false);
    }
}

impl Gate {
    fn set(&self, is_cut: bool) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = is_cut;
        self.healed.notify_all();
    }

    fn pass(&self) {
        let is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let _open = self.healed.wait_while(is_cut, |is_cut| *is_cut);
    }
}

fn connect(client: TcpStream, server: u16, gate: &Arc<Gate>) -> Option<()> {
    gate.pass();
    let server = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let (from, to, shared) = (client.try_clone().ok()?, server.try_clone().ok()?, gate.clone());
    std::thread::spawn(move || carry(from, to, &shared));
    carry(server, client, gate);
    Some(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        gate.pass();
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
