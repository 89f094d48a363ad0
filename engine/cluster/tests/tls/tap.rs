//! A TCP proxy that keeps all that goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};

/// It takes connections from the start, and forwards them once it knows where to.
pub struct Tap {
    pub address: SocketAddr,
    target: Arc<OnceLock<SocketAddr>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub fn new() -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Tap {
            address: listener.local_addr().unwrap(),
            target: Arc::default(),
            seen: Arc::default(),
        };
        let (target, seen) = (tap.target.clone(), tap.seen.clone());
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(target.wait()) else {
                    continue;
                };
                for (from, to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                    let seen = seen.clone();
                    std::thread::spawn(move || forward(from, to, &seen));
                }
            }
        });
        tap
    }

    pub fn lead_to(&self, target: SocketAddr) {
        self.target.set(target).unwrap();
    }

    /// How many bytes went through it, both ways together.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn has_seen(&self, text: &[u8]) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.windows(text.len()).any(|bytes| bytes == text)
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
