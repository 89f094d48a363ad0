use std::io::{Read, Write};
use std::net::TcpStream;

use millrace_testkit::s3::S3;

fn status(server: &S3) -> String {
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn it_answers_and_wants_a_key_also_after_a_kill() {
    let mut server = S3::start().unwrap();
    assert!(status(&server).contains("403"), "{}", status(&server));
    server.kill().unwrap();
    server.restart().unwrap();
    assert!(status(&server).contains("403"), "{}", status(&server));
}
