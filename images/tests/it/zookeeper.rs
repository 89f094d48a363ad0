use std::io::{Read, Write};
use std::net::TcpStream;

use millrace_images::{ZooKeeper, answers, ends_cleanly};

#[test]
fn three_servers_are_a_quorum_with_metrics_and_end_at_sigterm() {
    let quorum = ZooKeeper::start("images-quorum");
    let mut roles = quorum.roles();
    roles.sort();
    assert_eq!(roles, ["follower", "follower", "leader"]);
    for server in &quorum.servers {
        let url = |port: u16, path: &str| {
            let port = server.get_host_port_ipv4(port).unwrap();
            format!("http://127.0.0.1:{port}/{path}")
        };
        let text = answers(&url(7000, "metrics"), |text| text.contains("quorum_size")).unwrap();
        assert!(text.contains("quorum_size 3"), "{text}");
        let port = server.get_host_port_ipv4(2181).unwrap();
        assert_eq!(word(port, "ruok"), "imok");
        assert!(
            word(port, "srvr").contains("Zookeeper version: 3.9"),
            "{}",
            word(port, "srvr")
        );
    }
    for server in &quorum.servers {
        ends_cleanly(server);
    }
}

/// The answer to one of ZooKeeper's words of four letters.
fn word(port: u16, word: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
