//! Brokers as processes: each listens, and has a thread a connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::cluster::Cluster;
use super::wire::Asked;
use crate::kernel;

/// How often a fetch that finds nothing looks again.
const LOOK: Duration = Duration::from_millis(50);
/// How often coordinators see to their transactions, if nobody asks for anything.
const TICK: Duration = Duration::from_millis(50);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// The connection breaks, and nothing was done.
    Lost,
    /// It was done; then the connection breaks.
    AnswerLost,
    /// It takes so long.
    Slow(Duration),
}

/// Told of each request, and says what becomes of it.
pub type Judge = Arc<dyn Fn(ApiKey) -> Fate + Send + Sync>;

#[derive(Clone)]
pub struct Brokers {
    cluster: Arc<Mutex<Cluster>>,
    judge: Judge,
}

impl Brokers {
    pub fn new(cluster: Cluster, judge: Judge) -> Brokers {
        Brokers {
            cluster: Arc::new(Mutex::new(cluster)),
            judge,
        }
    }

    /// Works on the cluster, in one piece.
    pub fn with<T>(&self, work: impl FnOnce(&mut Cluster) -> T) -> T {
        kernel::steadily(|| work(&mut self.lock()))
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The broker of a number, as its process's first thread runs it.
    pub fn serve(&self, broker: usize, port: u16) {
        let address = match kernel::Process::current().and_then(kernel::Process::host) {
            Some(host) => format!("{host}:{port}"),
            None => format!("127.0.0.1:{port}"),
        };
        let listener = TcpListener::bind(&address).expect("a broker's port is free");
        let this = self.clone();
        spawn("coordinator", move || {
            loop {
                std::thread::sleep(TICK);
                this.with(|cluster| cluster.tick(millis()));
            }
        });
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let this = self.clone();
            spawn("connection", move || {
                // Whoever it was is gone, or was sent away.
                let _ = this.converse(broker, stream);
            });
        }
    }

    fn converse(&self, broker: usize, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let frame = read_frame(&mut stream)?;
            let asked = Asked::read(frame).map_err(io::Error::other)?;
            let fate = (self.judge)(asked.key);
            match fate {
                Fate::Lost => return Ok(()),
                Fate::Slow(time) => std::thread::sleep(time),
                Fate::Answered | Fate::AnswerLost => {}
            }
            if asked.key == ApiKey::Fetch {
                self.await_records(&asked)?;
            }
            let answer = self
                .with(|cluster| {
                    cluster.tick(millis());
                    asked.answer(cluster, broker, millis())
                })
                .map_err(io::Error::other)?;
            if fate == Fate::AnswerLost {
                return Ok(());
            }
            stream.write_all(&answer)?;
        }
    }

    /// Until there is something, or the reader does not want to wait any longer.
    fn await_records(&self, asked: &Asked) -> io::Result<()> {
        let request = asked.fetch().map_err(io::Error::other)?;
        let is_committed = request.isolation_level == 1;
        let rounds = request.max_wait_ms.max(0) as u32 / LOOK.as_millis() as u32;
        for _ in 0..rounds {
            let is_there = self.with(|cluster| {
                request.topics.iter().any(|topic| {
                    topic.partitions.iter().any(|asked| {
                        let partition = cluster.partition(&topic.topic, asked.partition);
                        // What fails is told at once.
                        partition.is_none_or(|partition| match is_committed {
                            true => partition.last_stable() != asked.fetch_offset,
                            false => partition.end() != asked.fetch_offset,
                        })
                    })
                })
            });
            if is_there {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    drop(spawned.expect("a thread can be started"));
}

/// Milliseconds since 1970, by the clock of this process.
pub fn millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Without its length.
pub fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}
