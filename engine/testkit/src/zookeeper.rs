//! ZooKeeper servers, from the jars of Kafka 3.9, the last one that has them.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::kafka::Version;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::{ports, wait};

const READY: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(1);

/// The unit of the servers' own times: a session lasts two of them at least, and one server gives another up after
/// four.
const TICK_MILLIS: u32 = 500;

#[derive(Debug)]
struct Server {
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

/// A running quorum, or a single server. Dropping it kills the servers.
#[derive(Debug)]
pub struct ZooKeeper {
    servers: Vec<Server>,
    // Last: removed after the servers are gone.
    _scratch: Scratch,
}

impl ZooKeeper {
    /// Starts so many servers and returns when one leads and all others follow it.
    pub fn start(servers: usize) -> Result<ZooKeeper> {
        let scratch = Scratch::in_memory("zookeeper")?;
        let ports: Vec<[u16; 3]> = (0..servers)
            .map(|_| Ok([ports::free()?, ports::free()?, ports::free()?]))
            .collect::<Result<_>>()?;
        let mut zookeeper = ZooKeeper {
            servers: Vec::new(),
            _scratch: scratch,
        };
        for (i, [port, _, _]) in ports.iter().enumerate() {
            let folder = zookeeper._scratch.join(format!("server-{}", i + 1));
            std::fs::create_dir_all(folder.join("data"))?;
            std::fs::write(folder.join("data/myid"), (i + 1).to_string())?;
            let mut config = format!(
                "tickTime={TICK_MILLIS}\ninitLimit=20\nsyncLimit=4\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n\
                 clientPortAddress=127.0.0.1\nclientPort={port}\ndataDir={}\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=srvr\n",
                folder.join("data").display()
            );
            if servers > 1 {
                for (n, [_, quorum, election]) in ports.iter().enumerate() {
                    let _ = writeln!(config, "server.{}=127.0.0.1:{quorum}:{election}", n + 1);
                }
            }
            std::fs::write(folder.join("zoo.cfg"), config)?;
            zookeeper.servers.push(Server {
                port: *port,
                folder,
                process: None,
            });
        }
        for i in 0..servers {
            zookeeper.launch(i)?;
        }
        zookeeper.wait_ready()?;
        Ok(zookeeper)
    }

    fn launch(&mut self, i: usize) -> Result<()> {
        let server = &mut self.servers[i];
        let mut command = Version::Kafka39.java(128)?;
        command
            // The machine stays up: what the page cache has is safe.
            .arg("-Dzookeeper.forceSync=no")
            // A frozen server takes connections and does not answer: an election shall not wait long for it.
            .args([
                "-Dzookeeper.cnxTimeout=1000",
                "-Dzookeeper.fastleader.maxNotificationInterval=1000",
            ])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(server.folder.join("zoo.cfg"));
        server.process = Some(Process::start(command, &server.folder.join("server.log"))?);
        Ok(())
    }

    /// Waits until one of the servers that run leads and all others of them follow. Frozen ones are not waited for.
    pub fn wait_ready(&mut self) -> Result<()> {
        for i in 0..self.servers.len() {
            let port = self.servers[i].port;
            let Some(process) = &mut self.servers[i].process else {
                continue;
            };
            if process.is_frozen() {
                continue;
            }
            let answered = wait::until(&format!("ZooKeeper server {}", i + 1), READY, || {
                if let Some(status) = process.ended()? {
                    return Ok(Some(Err(status)));
                }
                Ok(mode(port).map(Ok))
            });
            match answered {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => bail!("the ZooKeeper server ended ({status}):\n{}", process.log_tail()),
                Err(e) => return Err(e.context(process.log_tail())),
            }
        }
        Ok(())
    }

    /// `host:port` of all servers, with commas.
    pub fn quorum(&self) -> String {
        let servers = self.servers.iter().map(|s| format!("127.0.0.1:{}", s.port));
        servers.collect::<Vec<_>>().join(",")
    }

    /// The ports for clients.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
    }

    /// Which server leads, from 0; none during an election.
    pub fn leader(&self) -> Option<usize> {
        self.servers.iter().position(|server| {
            let runs = server
                .process
                .as_ref()
                .is_some_and(|process| !process.is_frozen());
            runs && matches!(mode(server.port).as_deref(), Some("leader" | "standalone"))
        })
    }

    /// Waits until a server leads.
    pub fn wait_leader(&self) -> Result<usize> {
        wait::until("a leading ZooKeeper server", READY, || Ok(self.leader()))
    }

    /// `kill -9`.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        if let Some(mut process) = self.servers[i].process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts a killed server again, on its data and its ports, and waits for it.
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.kill(i)?;
        self.launch(i)?;
        self.wait_ready()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self, i: usize) -> Result<()> {
        self.process(i)?.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&mut self, i: usize) -> Result<()> {
        self.process(i)?.thaw()
    }

    fn process(&mut self, i: usize) -> Result<&mut Process> {
        self.servers[i]
            .process
            .as_mut()
            .context("the ZooKeeper server does not run")
    }
}

/// `leader`, `follower` or `standalone`; none while it serves no clients.
fn mode(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
    Some(line.to_owned())
}
