//! As much of HTTP as Flink's REST needs: one request, one JSON answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const ANSWER: Duration = Duration::from_secs(30);

/// Sends a request without a body to a port of this machine and gives the body of a 2xx answer.
pub fn request(method: &str, port: u16, path: &str) -> Result<serde_json::Value> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).with_context(|| format!("{method} {path}"))
}

fn parse(answer: &[u8]) -> Result<serde_json::Value> {
    const END: &[u8] = b"\r\n\r\n";
    let split = answer.windows(END.len()).position(|window| window == END);
    let split = split.context("the answer has no end of its headers")?;
    let head = String::from_utf8_lossy(&answer[..split]).to_lowercase();
    let body = &answer[split + END.len()..];
    if head
        .lines()
        .any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"))
    {
        bail!("the answer comes in chunks, which are not read");
    }
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("status {status}: {}", String::from_utf8_lossy(body));
    }
    serde_json::from_slice(body).context("the answer is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let ok = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!(ok["a"], 1);
        let error = parse(b"HTTP/1.1 404 Not Found\r\n\r\n{\"errors\":[]}").unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        assert!(parse(b"HTTP/1.1 200 OK").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}").is_err());
    }
}
