//! `openssl s_client`: a peer that shares no code with the engine.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use millrace_testkit::tls::Identity;

use super::stores::CERTIFICATES;

/// What `input` is answered with, as far as the first bytes; an error is what openssl says of the refusal.
pub fn ask(
    address: SocketAddr,
    identity: Option<&Identity>,
    protocol: &str,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-verify_return_error", protocol, "-connect"])
        .arg(address.to_string())
        .arg("-CAfile")
        .arg(CERTIFICATES.authority.truststore_pem());
    if let Some(identity) = identity {
        command
            .arg("-cert")
            .arg(identity.certificate())
            .arg("-key")
            .arg(identity.key());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    // Who is refused may not be there any more.
    let _ = to.write_all(input);
    let mut from = child.stdout.take().unwrap();
    let (sender, answers) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = vec![0; 1024];
        let read = from.read(&mut answer).unwrap_or(0);
        answer.truncate(read);
        sender.send(answer)
    });
    let answer = answers.recv_timeout(Duration::from_secs(60));
    if answer.as_ref().is_ok_and(|answer| !answer.is_empty()) {
        child.kill().unwrap();
        child.wait().unwrap();
        return Ok(answer.unwrap());
    }
    assert!(answer.is_ok(), "openssl neither answers nor ends");
    drop(to);
    let output = child.wait_with_output().unwrap();
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
