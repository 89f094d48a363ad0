//! The address that the server listens on, and the one that clients are told.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;

use millrace_core::{Configuration, Error, Result, options};
use tokio::net::TcpListener;

/// Takes the first port that is free of those that are configured.
pub async fn bind(config: &Configuration) -> Result<TcpListener> {
    let host = config.get_optional(&options::REST_BIND_ADDRESS)?;
    let address = resolved(host.as_deref().unwrap_or("localhost"))?;
    let ports = match config.get_optional(&options::REST_BIND_PORT)? {
        Some(text) => ports(&text)?,
        None => {
            let port = config.get(&options::REST_PORT)?;
            vec![port..=port]
        }
    };
    let mut last = None;
    for port in ports.iter().cloned().flatten() {
        match TcpListener::bind(SocketAddr::new(address, port)).await {
            Ok(listener) => return Ok(listener),
            Err(e) => last = Some((port, e)),
        }
    }
    let (port, e) = last.ok_or_else(|| Error::user("rest.bind-port names no port"))?;
    Err(Error::external("the port of the REST server cannot be listened on")
        .with_detail(SocketAddr::new(address, port).to_string())
        .with_source(e)
        .with_hint("set rest.port or rest.bind-port to one that is free, and rest.bind-address to an address of this machine"))
}

/// Host and port for clients: what is configured, or where the server listens.
pub fn advertised(config: &Configuration, listening: SocketAddr) -> Result<(String, u16)> {
    let host = match config.get_optional(&options::REST_ADDRESS)? {
        Some(host) => host,
        None => config
            .get_optional(&options::JOB_MANAGER_ADDRESS)?
            .unwrap_or_else(|| listening.ip().to_string()),
    };
    Ok((host, listening.port()))
}

fn resolved(host: &str) -> Result<IpAddr> {
    let found = (host, 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    found
        .map(|address| address.ip())
        .ok_or_else(|| Error::user("rest.bind-address is not one of this machine").with_detail(host))
}

/// Ports and ranges with commas between, such as 8081,8090-8099.
fn ports(text: &str) -> Result<Vec<RangeInclusive<u16>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    text.split(',')
        .map(|part| {
            range(part).ok_or_else(|| {
                Error::user("a configuration value has the wrong type")
                    .with_detail(format!("rest.bind-port: '{text}'"))
                    .with_hint("it takes ports and ranges of ports, such as 8081,8090-8099")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        assert_eq!(ports("8081").unwrap(), [8081..=8081]);
        assert_eq!(
            ports("8081, 8090-8099,0").unwrap(),
            [8081..=8081, 8090..=8099, 0..=0]
        );
        for wrong in ["", "x", "8090-8081", "70000"] {
            assert!(
                ports(wrong).unwrap_err().to_string().contains("rest.bind-port"),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = Configuration::default();
        config.set("rest.bind-address", "127.0.0.1");
        config.set("rest.bind-port", format!("{port},0"));
        let listener = bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), port);
        assert_eq!(
            advertised(&config, address).unwrap(),
            ("127.0.0.1".to_owned(), address.port())
        );
        config.set("rest.address", "rest.example");
        assert_eq!(advertised(&config, address).unwrap().0, "rest.example");
        config.set("rest.bind-port", port.to_string());
        let error = bind(&config).await.unwrap_err().to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("rest.bind-port"),
            "{error}"
        );
    }
}
