//! Chromium without a window, driven over its DevTools protocol.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::process::Process;
use millrace_testkit::scratch::Scratch;
use millrace_testkit::wait;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const LIMIT: Duration = Duration::from_secs(60);
/// Without a network it must not look for one.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1400,1000",
    "--remote-debugging-port=0",
];

/// A browser with one page. What it tells of by itself is kept until somebody asks.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    session: String,
    next: u64,
    events: Vec<Value>,
    _process: Process,
    _folder: Scratch,
}

impl Browser {
    pub fn start() -> Result<Browser> {
        let folder = Scratch::new("browser")?;
        let profile = folder.path().join("profile");
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank");
        let process = Process::start(command, &folder.path().join("log"))
            .context("chromium cannot be started: run scripts/setup browser")?;
        let port_file = profile.join("DevToolsActivePort");
        let (port, path) = wait::until("the browser's port", LIMIT, || {
            let text = fs::read_to_string(&port_file)?;
            let lines = text.trim().split_once('\n');
            Ok(lines.map(|(port, path)| (port.to_owned(), path.to_owned())))
        })?;
        let stream = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let socket = connect(&port, &path, stream)?;
        let mut browser = Browser {
            socket,
            session: String::new(),
            next: 0,
            events: Vec::new(),
            _process: process,
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach)?;
        browser.session = session["sessionId"].as_str().context("no session")?.to_owned();
        for domain in ["Page.enable", "Network.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}))?;
        }
        let size = json!({"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size)?;
        Ok(browser)
    }

    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string()))?;
        let start = Instant::now();
        loop {
            ensure!(start.elapsed() < LIMIT, "{method}: no answer within {LIMIT:?}");
            let Some(answer) = self.receive()? else { continue };
            if answer["id"] != json!(id) {
                self.events.push(answer);
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            }
            return Ok(answer["result"].clone());
        }
    }

    /// None where nothing has come for a moment.
    fn receive(&mut self) -> Result<Option<Value>> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(text.as_str())?)),
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(e))
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub fn open(&mut self, url: &str) -> Result<()> {
        let opened = self.call("Page.navigate", json!({"url": url}))?;
        if let Some(error) = opened.get("errorText") {
            bail!("{url}: {error}");
        }
        Ok(())
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {thrown}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression in the page is true.
    pub fn wait(&mut self, what: &str, expression: &str) -> Result<()> {
        let found = wait::until(what, LIMIT, || {
            Ok(self.value(expression)?.as_bool().unwrap_or(false).then_some(()))
        });
        found.with_context(|| {
            let text = self.value("document.body.innerText").unwrap_or_default();
            format!("the page shows: {}", text.as_str().unwrap_or_default())
        })
    }

    /// Waits until the page shows a text.
    pub fn wait_text(&mut self, text: &str) -> Result<()> {
        let expression = format!("document.body.innerText.includes({})", json!(text));
        self.wait(&format!("the page shows '{text}'"), &expression)
    }

    /// Clicks the first element that a selector finds and whose text begins so.
    pub fn click(&mut self, selector: &str, text: &str) -> Result<()> {
        let find = format!(
            "[...document.querySelectorAll({})].find(e => e.textContent.trim().startsWith({}))",
            json!(selector),
            json!(text)
        );
        self.wait(&format!("{selector} '{text}'"), &format!("!!({find})"))?;
        self.value(&format!("({find}).click()"))?;
        Ok(())
    }

    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}))?;
        let text = picture["data"].as_str().context("no picture")?;
        Ok(fs::write(file, from_base64(text))?)
    }

    /// What has been told since the last time.
    pub fn events(&mut self) -> Result<Vec<Value>> {
        while let Some(event) = self.receive()? {
            self.events.push(event);
        }
        Ok(std::mem::take(&mut self.events))
    }
}

fn connect(port: &str, path: &str, stream: TcpStream) -> Result<WebSocket<TcpStream>> {
    let mut handshake = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream);
    loop {
        match handshake {
            Ok((socket, _)) => return Ok(socket),
            // Its answer is not there yet.
            Err(tungstenite::HandshakeError::Interrupted(begun)) => handshake = begun.handshake(),
            Err(tungstenite::HandshakeError::Failure(e)) => return Err(e.into()),
        }
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => u32::from(b - b'A'),
        b'a'..=b'z' => u32::from(b - b'a') + 26,
        b'0'..=b'9' => u32::from(b - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|b| *b != b'=').map(digit).collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for four in digits.chunks(4) {
        let bits = four
            .iter()
            .enumerate()
            .fold(0, |bits, (n, digit)| bits | digit << (18 - 6 * n));
        let all = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        bytes.extend(&all[..four.len() - 1]);
    }
    bytes
}
