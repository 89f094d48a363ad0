//! A schema registry: Apicurio Registry, which speaks Confluent's API below a path.

mod tls;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::{cache, ports, wait};

pub use self::tls::Identity;

const READY: Duration = Duration::from_secs(180);
/// Where Apicurio has Confluent's API.
pub const PATH: &str = "/apis/ccompat/v7";
const STORE_PASSWORD: &str = "testkit-store";
const KEYSTORE: &str = "keystore.p12";
const TRUSTSTORE: &str = "truststore.p12";

/// A running registry that keeps schemas in memory, over HTTP and over HTTPS. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    tls_port: u16,
    process: Option<Process>,
    scratch: Scratch,
}

impl Registry {
    pub fn start() -> Result<Registry> {
        let scratch = Scratch::new("registry")?;
        tls::certificates(scratch.path(), STORE_PASSWORD)?;
        let mut registry = Registry {
            port: ports::free()?,
            tls_port: ports::free()?,
            process: None,
            scratch,
        };
        registry.launch()?;
        Ok(registry)
    }

    /// One for all tests of this process.
    pub fn shared() -> &'static Registry {
        static SHARED: std::sync::OnceLock<Registry> = std::sync::OnceLock::new();
        SHARED.get_or_init(|| match Registry::start() {
            Ok(registry) => registry,
            Err(e) => panic!("no schema registry: {e:?}"),
        })
    }

    fn launch(&mut self) -> Result<()> {
        let home = cache::installed("apicurio/3.3.3", "registry")?;
        let management = ports::free()?;
        let mut command = Command::new(java()?);
        command
            .current_dir(&home)
            .args([
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-jar",
                "quarkus-run.jar",
            ])
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", self.port.to_string())
            .env("QUARKUS_HTTP_SSL_PORT", self.tls_port.to_string())
            .env("QUARKUS_HTTP_INSECURE_REQUESTS", "enabled")
            .env(
                "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_STORE_FILE",
                self.scratch.join(KEYSTORE),
            )
            .env("QUARKUS_HTTP_SSL_CERTIFICATE_KEY_STORE_PASSWORD", STORE_PASSWORD)
            .env("QUARKUS_MANAGEMENT_HOST", "127.0.0.1")
            .env("QUARKUS_MANAGEMENT_PORT", management.to_string());
        let mut process = Process::start(command, &self.scratch.join("registry.log"))?;
        let port = self.port;
        let answered = wait::until("the schema registry", READY, || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(status)));
            }
            Ok(get(port, &format!("{PATH}/subjects"))
                .ok()
                .filter(|answer| answer.starts_with("HTTP/1.1 200"))
                .map(|_| Ok(())))
        })?;
        if let Err(status) = answered {
            bail!("the schema registry ended ({status}):\n{}", process.log_tail());
        }
        self.process = Some(process);
        Ok(())
    }

    /// `http://127.0.0.1:port/apis/ccompat/v7`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// The same over HTTPS, with a certificate that only `truststore` trusts.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}{PATH}", self.tls_port)
    }

    /// A trust store in PKCS12, and its password.
    pub fn truststore(&self) -> (PathBuf, &'static str) {
        (self.scratch.join(TRUSTSTORE), STORE_PASSWORD)
    }

    /// What a GET of a path below Confluent's API answers, headers included.
    pub fn get(&self, path: &str) -> Result<String> {
        get(self.port, &format!("{PATH}{path}"))
    }

    /// A proxy before it that lets only requests with this Authorization header pass.
    pub fn guarded(&self, authorization: &str) -> Result<Guarded> {
        let wanted = authorization.to_owned();
        guarded(self.port, move |client, passed, behind| {
            pass_on(client, Some(&wanted), passed, behind);
        })
    }

    /// A proxy before it over TLS, with the registry's certificate, that lets only those pass who show a
    /// certificate that this PEM file holds.
    pub fn mutual(&self, trusted: &Path) -> Result<Guarded> {
        let acceptor = tls::acceptor(&self.scratch.join(KEYSTORE), STORE_PASSWORD, trusted)?;
        guarded(self.port, move |client, passed, behind| {
            if let Some(client) = tls::accept(&acceptor, client) {
                pass_on(client, None, passed, behind);
            }
        })
    }

    /// Somebody's own certificate and key.
    pub fn identity(&self, name: &str) -> Result<Identity> {
        tls::identity(self.scratch.path(), name, STORE_PASSWORD)
    }
}

/// A listener on a port of its own whose connections are served each by a thread.
fn guarded(
    behind: u16,
    serve: impl Fn(TcpStream, &AtomicUsize, u16) + Send + Sync + 'static,
) -> Result<Guarded> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let passed = Arc::new(AtomicUsize::new(0));
    let (serve, count) = (Arc::new(serve), passed.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (serve, count) = (serve.clone(), count.clone());
            std::thread::spawn(move || serve(client, &count, behind));
        }
    });
    Ok(Guarded { port, passed })
}

/// A proxy that asks for credentials or for a certificate.
pub struct Guarded {
    port: u16,
    passed: Arc<AtomicUsize>,
}

impl Guarded {
    /// `127.0.0.1:port/apis/ccompat/v7`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}{PATH}", self.port)
    }

    /// Requests that had the credentials.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}

/// Passes one request on, with its answer, or refuses it if a header is wanted that it does not have; then
/// the connection is closed.
fn pass_on(
    mut client: impl Read + Write,
    wanted: Option<&str>,
    passed: &AtomicUsize,
    behind: u16,
) -> Option<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let head = loop {
        let read = client.read(&mut chunk).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&chunk[..read]);
        if let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    while request.len() < head + length {
        let read = client.read(&mut chunk).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&chunk[..read]);
    }
    if wanted.is_some() && header("authorization").as_deref() != wanted {
        let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes()).ok();
    }
    passed.fetch_add(1, Ordering::SeqCst);
    let mut server = TcpStream::connect(("127.0.0.1", behind)).ok()?;
    let line_end = text.find("\r\n")? + 2;
    server.write_all(&request[..line_end]).ok()?;
    server.write_all(b"Connection: close\r\n").ok()?;
    server.write_all(&request[line_end..]).ok()?;
    std::io::copy(&mut server, &mut client).ok().map(drop)
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A Java of version 21 or newer: that of the PATH, one beside it, or set-up's.
fn java() -> Result<PathBuf> {
    let mut found = vec![PathBuf::from("java")];
    if let Ok(folders) = std::fs::read_dir("/usr/lib/jvm") {
        found.extend(folders.flatten().map(|f| f.path().join("bin/java")));
    }
    found.push(cache::folder()?.join("java-21/bin/java"));
    let version = |java: &Path| -> Option<u32> {
        let output = Command::new(java).arg("-version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let rest = text.split_once("version \"")?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    found
        .into_iter()
        .find(|java| version(java).is_some_and(|v| v >= 21))
        .context("the schema registry needs Java 21 or newer: run scripts/setup registry")
}
