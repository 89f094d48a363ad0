//! A TCP server that speaks Kafka's frames; what it answers is the test's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const API_VERSIONS: i16 = 18;

/// What a broker of today offers of what we ask.
const VERSIONS: &[(i16, i16, i16)] = &[
    (3, 0, 12),
    (10, 0, 6),
    (17, 0, 1),
    (18, 0, 4),
    (22, 0, 5),
    (26, 0, 5),
    (32, 1, 4),
    (36, 0, 2),
    (65, 0, 0),
    (66, 0, 1),
];

/// A request as it came.
pub struct Asked {
    pub key: i16,
    pub version: i16,
    correlation_id: i32,
    body: Bytes,
}

impl Asked {
    pub fn decode<R: Decodable>(&self) -> R {
        R::decode(&mut self.body.clone(), self.version).unwrap()
    }

    pub fn reply<R: Encodable + HeaderVersion>(&self, response: &R) -> Answer {
        self.reply_in(response, self.version)
    }

    fn reply_in<R: Encodable + HeaderVersion>(&self, response: &R, version: i16) -> Answer {
        let mut frame = BytesMut::zeroed(4);
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        response.encode(&mut frame, version).unwrap();
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Answer::Frame(frame)
    }
}

pub enum Answer {
    Frame(BytesMut),
    Close,
    /// The connection stays open.
    Never,
}

type Script = dyn Fn(&Asked, i32) -> Answer + Send + Sync;

#[derive(Default)]
struct Seen {
    asked: BTreeMap<i16, usize>,
    connections: usize,
}

pub struct Broker {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Broker {
    /// The script gets each request and the broker's own port; ApiVersions it need not know.
    pub async fn start(script: impl Fn(&Asked, i32) -> Answer + Send + Sync + 'static) -> Broker {
        Self::start_with(VERSIONS, script).await
    }

    pub async fn start_with(
        versions: &'static [(i16, i16, i16)],
        script: impl Fn(&Asked, i32) -> Answer + Send + Sync + 'static,
    ) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let script: Arc<Script> = Arc::new(script);
        let broker = Broker {
            port,
            seen: seen.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, port, versions, seen.clone(), script.clone()));
            }
        });
        broker
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> i32 {
        i32::from(self.port)
    }

    /// How often a request of this kind came.
    pub fn asked(&self, key: i16) -> usize {
        self.seen.lock().unwrap().asked.get(&key).copied().unwrap_or(0)
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

async fn serve(
    mut stream: TcpStream,
    port: u16,
    versions: &'static [(i16, i16, i16)],
    seen: Arc<Mutex<Seen>>,
    script: Arc<Script>,
) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let key = i16::from_be_bytes([frame[0], frame[1]]);
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let mut body = Bytes::from(frame);
        let header_version = ApiKey::try_from(key).unwrap().request_header_version(version);
        let header = RequestHeader::decode(&mut body, header_version).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("test"));
        let asked = Asked {
            key,
            version,
            correlation_id: header.correlation_id,
            body,
        };
        *seen.lock().unwrap().asked.entry(key).or_default() += 1;
        let offered = versions.iter().find(|(k, ..)| *k == key).copied();
        let answer = match offered {
            Some((API_VERSIONS, _, newest)) if version > newest => {
                asked.reply_in(&ApiVersionsResponse::default().with_error_code(35), 0)
            }
            Some((API_VERSIONS, ..)) => {
                let keys = versions.iter().map(|&(key, min, max)| {
                    ApiVersion::default()
                        .with_api_key(key)
                        .with_min_version(min)
                        .with_max_version(max)
                });
                asked.reply(&ApiVersionsResponse::default().with_api_keys(keys.collect()))
            }
            Some((_, oldest, newest)) => {
                assert!(
                    (oldest..=newest).contains(&version),
                    "request {key} in version {version}"
                );
                script(&asked, i32::from(port))
            }
            None => panic!("asked for {key}, which was not offered"),
        };
        match answer {
            Answer::Frame(frame) => {
                if stream.write_all(&frame).await.is_err() {
                    return;
                }
            }
            Answer::Close => return,
            Answer::Never => std::future::pending().await,
        }
    }
}
