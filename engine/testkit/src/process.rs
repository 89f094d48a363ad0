//! Child processes that die with this process, even when it is killed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// A running program with its output in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    frozen: bool,
}

impl Process {
    /// Starts the command in a process group of its own, so that Ctrl-C at a terminal does not
    /// reach it; its output is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Process> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Process {
            child,
            log: log.to_owned(),
            frozen: false,
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal to the process, if it has not ended yet.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            // SAFETY: the child has not been waited for, so its id is still its own.
            if unsafe { libc::kill(self.child.id() as i32, signal) } != 0 {
                return Err(io::Error::last_os_error()).context("sending a signal");
            }
        }
        Ok(())
    }

    /// `kill -9`; returns when the process is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGKILL)?;
        Ok(self.child.wait()?)
    }

    /// SIGTERM, and SIGKILL if it has not ended within the limit.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.thaw()?;
        self.signal(libc::SIGTERM)?;
        match self.wait(limit) {
            Ok(status) => Ok(status),
            Err(_) => self.kill(),
        }
    }

    /// SIGSTOP: the process does nothing more, its sockets stay open.
    pub fn freeze(&mut self) -> Result<()> {
        self.frozen = true;
        self.signal(libc::SIGSTOP)
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        if std::mem::take(&mut self.frozen) {
            self.signal(libc::SIGCONT)?;
        }
        Ok(())
    }

    /// Nothing while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of process {}", self.id());
        wait::until(&what, limit, || self.ended())
    }

    /// The last part of its output.
    pub fn log_tail(&self) -> String {
        tail(&self.log, 4000)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The last bytes of a file, from the start of a line.
pub fn tail(path: &Path, bytes: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(bytes);
        file.seek(SeekFrom::Start(skipped))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        if skipped > 0 {
            let line = text.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1);
            text.drain(..line);
        }
        Ok(text)
    };
    match read() {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) => format!("({}: {e})", path.display()),
    }
}

type Request = (Command, Sender<io::Result<Child>>);

/// Starts a command that the kernel kills when this process ends, in its own process group.
///
/// The kernel means the *thread* that started a child, so one that never ends starts them all:
/// a test's own thread may be gone long before a broker that tests share.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, incoming) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in incoming {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: prctl, getppid and _exit may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() as u32 != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let (reply, answer) = channel();
    let gone = || io::Error::other("the thread that starts processes has ended");
    spawner
        .lock()
        .map_err(|_| gone())?
        .send((command, reply))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
