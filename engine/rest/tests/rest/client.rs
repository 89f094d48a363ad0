//! Requests to a REST server of this machine.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

pub struct Client {
    base: String,
    http: reqwest::Client,
    runtime: Runtime,
}

/// What a server has answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(port: u16) -> Result<Client> {
        Ok(Client {
            base: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build()?,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    pub fn send(&self, method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Result<Answer> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type).body(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
            let content_type = answer.headers().get("Content-Type");
            Ok(Answer {
                status: answer.status().as_u16(),
                content_type: match content_type {
                    Some(value) => value.to_str()?.to_owned(),
                    None => String::new(),
                },
                body: answer.bytes().await?.to_vec(),
            })
        })
    }

    pub fn json(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        match body {
            Value::Null => self.send(method, path, "", Vec::new()),
            body => self.send(method, path, "application/json", body.to_string().into_bytes()),
        }
    }

    /// The body of an answer that must be there.
    pub fn get(&self, path: &str) -> Result<Value> {
        let answer = self.json("GET", path, &Value::Null)?;
        match answer.status {
            200 => answer.value(),
            status => bail!("GET {path}: {status} {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    /// A file as a browser's form sends it.
    pub fn upload(&self, path: &str, file_name: &str, content: &[u8]) -> Result<Answer> {
        const BOUNDARY: &str = "a-boundary-that-no-file-has";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"{file_name}\"\r\n\
             Content-Type: application/x-java-archive\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send("POST", path, &content_type, body)
    }
}

impl Answer {
    pub fn is_json(&self) -> bool {
        self.content_type.starts_with("application/json")
    }

    pub fn value(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}
