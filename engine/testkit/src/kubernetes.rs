//! Kubernetes' API server with its etcd, without nodes: objects, watches, accounts and their rights are real, nothing
//! runs in it.

mod certificates;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use openssl::ssl::{SslConnector, SslMethod};
use serde_json::{Value, json};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::{cache, ports, wait};

const READY: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(10);
const ETCD: &str = "bin/etcd-3.6.5";
const API_SERVER: &str = "bin/kube-apiserver-1.34.2";
const ADMIN: &str = "testkit-admin";

/// A running API server. Dropping it ends it, its etcd and their data.
#[derive(Debug)]
pub struct Kubernetes {
    port: u16,
    etcd: Process,
    etcd_port: u16,
    api_server: Option<Process>,
    // Last: removed after the servers are gone.
    scratch: Scratch,
}

/// What an account may do: verbs on kinds of objects of one API group (the core group is empty).
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub group: &'a str,
    pub resources: &'a [&'a str],
    pub verbs: &'a [&'a str],
}

impl Kubernetes {
    /// Starts both servers and returns when the API server says that it is ready.
    pub fn start() -> Result<Kubernetes> {
        let scratch = Scratch::in_memory("kubernetes")?;
        certificates::write(scratch.path())?;
        std::fs::write(
            scratch.join("tokens.csv"),
            format!("{ADMIN},admin,admin,system:masters\n"),
        )?;
        let (port, etcd_port) = (ports::free()?, ports::free()?);
        let etcd = start_etcd(&scratch, etcd_port)?;
        let mut kubernetes = Kubernetes {
            port,
            etcd,
            etcd_port,
            api_server: None,
            scratch,
        };
        kubernetes.launch()?;
        Ok(kubernetes)
    }

    fn launch(&mut self) -> Result<()> {
        let file = |name: &str| self.scratch.join(name).display().to_string();
        let mut command = Command::new(cache::installed(API_SERVER, "kubernetes")?);
        for (flag, value) in [
            ("etcd-servers", format!("http://127.0.0.1:{}", self.etcd_port)),
            ("bind-address", "127.0.0.1".to_owned()),
            // Else it looks for a default route, which a network namespace may not have. (Of a net for examples.)
            ("advertise-address", "192.0.2.1".to_owned()),
            ("secure-port", self.port.to_string()),
            ("tls-cert-file", file("server.pem")),
            ("tls-private-key-file", file("server.key")),
            ("token-auth-file", file("tokens.csv")),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc".to_owned(),
            ),
            ("service-account-key-file", file("accounts.pub")),
            ("service-account-signing-key-file", file("accounts.key")),
            ("authorization-mode", "RBAC".to_owned()),
            ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
            // Its own address is a loopback one, which may be nobody's endpoint.
            ("endpoint-reconciler-type", "none".to_owned()),
            ("anonymous-auth", "false".to_owned()),
            ("profiling", "false".to_owned()),
            // A stop need not wait for load balancers.
            ("shutdown-delay-duration", "0s".to_owned()),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        let mut process = Process::start(command, &self.scratch.join("kube-apiserver.log"))?;
        let ready = wait::until("the API server", READY, || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(status)));
            }
            let answer = self.ask("GET", "/readyz", None);
            Ok(answer.ok().filter(|(code, _)| *code == 200).map(|_| Ok(())))
        });
        match ready {
            Ok(Ok(())) => {}
            Ok(Err(status)) => bail!("the API server ended ({status}):\n{}", process.log_tail()),
            Err(e) => return Err(e.context(process.log_tail())),
        }
        self.api_server = Some(process);
        Ok(())
    }

    /// The API server's port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig of somebody who may do everything.
    pub fn admin(&self) -> Result<PathBuf> {
        self.kubeconfig("admin", "default", ADMIN, self.port)
    }

    pub fn create_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({"metadata": {"name": name}});
        self.create("/api/v1/namespaces", &namespace).map(drop)
    }

    /// Makes a service account that may do what the rules say in its namespace, and gives a token of it.
    pub fn create_account(&self, namespace: &str, name: &str, rules: &[Rule]) -> Result<String> {
        let core = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        let metadata = json!({"name": name});
        self.create(&core, &json!({"metadata": metadata}))?;
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs}))
            .collect();
        self.create(
            &format!("{rbac}/roles"),
            &json!({"metadata": metadata, "rules": rules}),
        )?;
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        });
        self.create(&format!("{rbac}/rolebindings"), &binding)?;
        let token = self.create(&format!("{core}/{name}/token"), &json!({"spec": {}}))?;
        let token = token["status"]["token"].as_str().context("there is no token")?;
        Ok(token.to_owned())
    }

    /// A kubeconfig of an account, by its token, at another port if there is something before the server.
    pub fn kubeconfig(&self, name: &str, namespace: &str, token: &str, port: u16) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testkit", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": self.scratch.join("ca.pem"),
            }}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {
                "cluster": "testkit", "user": name, "namespace": namespace,
            }}],
            "current-context": name,
        });
        // A file of its own: tests that ask for the same at one time would read what another is writing.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(format!("kubeconfig-{name}-{number}"));
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }

    /// Makes an object, as an administrator.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let (code, answer) = self.ask("POST", path, Some(object))?;
        ensure!(matches!(code, 200..=202), "POST {path}: {code} {answer}");
        Ok(serde_json::from_str(&answer)?)
    }

    /// A request of an administrator; its answer's code and body.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, String)> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_ca_file(self.scratch.join("ca.pem"))?;
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut stream = connector.build().connect("127.0.0.1", stream)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        // In HTTP/1.0 an answer ends with its connection.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer in HTTP")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((code.context("an answer without a code")?, body.to_owned()))
    }

    /// `kill -9` of the API server; what it knows is in etcd.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.api_server.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts a killed API server again, and waits for it.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// SIGSTOP of the API server: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process()?.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.process()?.thaw()
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.api_server.as_mut().context("the API server does not run")
    }

    /// The log of the API server.
    pub fn log(&self) -> PathBuf {
        self.scratch.join("kube-apiserver.log")
    }

    /// The process of etcd.
    pub fn etcd(&self) -> u32 {
        self.etcd.id()
    }
}

fn start_etcd(scratch: &Scratch, port: u16) -> Result<Process> {
    let (clients, peers) = (url(port), url(ports::free()?));
    let mut command = Command::new(cache::installed(ETCD, "kubernetes")?);
    for (flag, value) in [
        ("data-dir", scratch.join("etcd").display().to_string()),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("default={peers}")),
        ("log-level", "warn".to_owned()),
        // The machine stays up: what the page cache has is safe.
        ("unsafe-no-fsync", "true".to_owned()),
    ] {
        command.arg(format!("--{flag}={value}"));
    }
    let mut process = Process::start(command, &scratch.join("etcd.log"))?;
    let answered = wait::until("etcd", READY, || {
        if let Some(status) = process.ended()? {
            return Ok(Some(Err(status)));
        }
        Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(Ok))
    })?;
    match answered {
        Ok(_) => Ok(process),
        Err(status) => bail!("etcd ended ({status}):\n{}", process.log_tail()),
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
