//! An S3 server (versitygw over a plain folder).

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::{cache, ports, wait};

const READY: Duration = Duration::from_secs(60);

/// A running server with one bucket. Dropping it ends the server and removes its data.
#[derive(Debug)]
pub struct S3 {
    port: u16,
    process: Option<Process>,
    scratch: Scratch,
}

impl S3 {
    pub const ACCESS_KEY: &'static str = "millrace";
    pub const SECRET_KEY: &'static str = "millrace-secret";
    pub const REGION: &'static str = "us-east-1";
    pub const BUCKET: &'static str = "millrace";

    pub fn start() -> Result<S3> {
        let scratch = Scratch::new("s3")?;
        std::fs::create_dir_all(scratch.join("data").join(Self::BUCKET))?;
        std::fs::create_dir_all(scratch.join("attributes"))?;
        let mut server = S3 {
            port: ports::free()?,
            process: None,
            scratch,
        };
        server.launch()?;
        Ok(server)
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(cache::installed("bin/versitygw-1.8.0", "s3")?);
        command
            .args([
                "--access",
                Self::ACCESS_KEY,
                "--secret",
                Self::SECRET_KEY,
                "--region",
                Self::REGION,
            ])
            .args(["--port", &format!("127.0.0.1:{}", self.port), "--quiet", "posix"])
            // Not every file system has the extended attributes that it would use otherwise.
            .arg("--sidecar")
            .arg(self.scratch.join("attributes"))
            .arg(self.scratch.join("data"));
        let mut process = Process::start(command, &self.scratch.join("server.log"))?;
        let answered = wait::until("the S3 server", READY, || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(status)));
            }
            Ok(TcpStream::connect(("127.0.0.1", self.port)).ok().map(Ok))
        })?;
        if let Err(status) = answered {
            bail!("the S3 server ended ({status}):\n{}", process.log_tail());
        }
        self.process = Some(process);
        Ok(())
    }

    /// `http://127.0.0.1:port`; the bucket goes into the path.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `s3://bucket/path`.
    pub fn url(&self, path: &str) -> String {
        format!("s3://{}/{path}", Self::BUCKET)
    }

    /// Where an object's bytes lie, for tests that alter them behind the server's back.
    pub fn file(&self, path: &str) -> PathBuf {
        self.bucket().join(path)
    }

    /// The folder that is the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.scratch.join("data").join(Self::BUCKET)
    }

    /// The options of `millrace run` that reach this server.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("s3.endpoint", self.endpoint()),
            ("s3.access-key", Self::ACCESS_KEY.to_owned()),
            ("s3.secret-key", Self::SECRET_KEY.to_owned()),
            ("s3.path.style.access", "true".to_owned()),
            ("s3.endpoint.region", Self::REGION.to_owned()),
        ]
    }

    pub fn log(&self) -> Option<&Path> {
        self.process.as_ref().map(Process::log)
    }

    /// `kill -9`; the data stays.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts a killed server again, on its data and its port.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.as_mut().context("the server does not run")?.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.as_mut().context("the server does not run")?.thaw()
    }
}
