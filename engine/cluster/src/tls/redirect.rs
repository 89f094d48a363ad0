//! Who speaks plain HTTP to REST's port is told, as by Flink, that it is served there over TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A longer head of a request is not read.
const LONGEST: usize = 8192;

/// Says nothing to who asks for nothing that can be understood.
pub async fn answer(mut tcp: TcpStream, patience: Duration) {
    let answered = tokio::time::timeout(patience, async {
        let head = head(&mut tcp).await?;
        let to = location(&head)?;
        let answer = format!(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        tcp.write_all(answer.as_bytes()).await.ok()?;
        tcp.shutdown().await.ok()
    });
    if !matches!(answered.await, Ok(Some(()))) {
        tracing::debug!("a request without TLS could not be redirected");
    }
}

async fn head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < LONGEST {
        if tcp.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            head.truncate(end);
            return String::from_utf8(head).ok();
        }
    }
    None
}

/// Where the same is served over TLS.
fn location(head: &str) -> Option<String> {
    let mut lines = head.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (_method, target, version) = (request.next()?, request.next()?, request.next()?);
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    })?;
    // Neither may end the header that it is put into.
    let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    (!host.is_empty() && is_clean(host) && is_clean(target)).then(|| format!("https://{host}{target}"))
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn the_same_path_at_the_same_host() {
        let head = "GET /jobs/overview?a=b HTTP/1.1\r\nAccept: */*\r\nhost: jobmanager:8081";
        assert_eq!(
            location(head).as_deref(),
            Some("https://jobmanager:8081/jobs/overview?a=b")
        );
    }

    #[test]
    fn what_is_no_request_leads_nowhere() {
        for head in [
            "",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\nHost: ",
            "GET / SMTP/1.1\r\nHost: a",
            "GET http://other/ HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\nX: y",
        ] {
            assert_eq!(location(head), None, "{head}");
        }
    }
}
