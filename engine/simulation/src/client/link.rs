//! Connections to brokers, one question at a time each, and who is to be asked.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use crate::kafka::broker::read_frame;

/// How long an answer is waited for, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(5);
const METADATA: i16 = 9;
const FIND_COORDINATOR: i16 = 3;
/// `FindCoordinator`'s key type of transactional ids.
const TRANSACTION: i8 = 1;

/// Why a question has no answer.
#[derive(Debug)]
pub enum Failed {
    /// Nobody knows whether it was done.
    Lost(io::Error),
    Refused(ResponseError),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Lost(error) => write!(f, "{error}"),
            Failed::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Lost(error)
    }
}

/// One connection.
pub struct Link {
    stream: TcpStream,
    asked: i32,
}

impl Link {
    pub fn open(address: &str) -> io::Result<Link> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Link { stream, asked: 0 })
    }

    /// After an error it is of no use any more.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        self.asked += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.asked)
            .with_client_id(Some(StrBytes::from_static_str("simulation")));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(io::Error::other)?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame)?;
        let mut answer = read_frame(&mut self.stream)?;
        use kafka_protocol::protocol::HeaderVersion;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(io::Error::other)?;
        if header.correlation_id != self.asked {
            return Err(io::Error::other("an answer to another question"));
        }
        R::Response::decode(&mut answer, version).map_err(io::Error::other)
    }
}

/// Connections to all brokers of a cluster, made when they are needed. Each thread has its own.
pub struct Links {
    bootstrap: Vec<String>,
    open: BTreeMap<String, Link>,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<(String, i32), i32>,
    coordinators: BTreeMap<String, String>,
}

impl Links {
    /// `bootstrap`: addresses divided by commas.
    pub fn new(bootstrap: &str) -> Links {
        Links {
            bootstrap: bootstrap.split(',').map(|a| a.trim().to_owned()).collect(),
            open: BTreeMap::new(),
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            coordinators: BTreeMap::new(),
        }
    }

    pub fn ask<R: Request>(
        &mut self,
        address: &str,
        request: &R,
        version: i16,
    ) -> Result<R::Response, Failed> {
        let mut link = match self.open.remove(address) {
            Some(link) => link,
            None => Link::open(address)?,
        };
        let answer = link.ask(request, version)?;
        self.open.insert(address.to_owned(), link);
        Ok(answer)
    }

    /// Of the first broker that answers.
    pub fn ask_any<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Failed> {
        let known: Vec<String> = self.brokers.values().chain(&self.bootstrap).cloned().collect();
        let mut last = Failed::Refused(ResponseError::BrokerNotAvailable);
        for address in known {
            match self.ask(&address, request, version) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// How many partitions a topic has. Learns who leads them.
    pub fn partitions(&mut self, topic: &str) -> Result<i32, Failed> {
        let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request, METADATA)?;
        self.brokers = answer
            .brokers
            .iter()
            .map(|b| (b.node_id.0, format!("{}:{}", b.host.as_str(), b.port)))
            .collect();
        let described = answer
            .topics
            .first()
            .ok_or(Failed::Refused(ResponseError::UnknownTopicOrPartition))?;
        if let Some(error) = described.error_code.err() {
            return Err(Failed::Refused(error));
        }
        for partition in &described.partitions {
            let place = (topic.to_owned(), partition.partition_index);
            self.leaders.insert(place, partition.leader_id.0);
        }
        Ok(described.partitions.len() as i32)
    }

    /// The address of who leads a partition.
    pub fn leader(&mut self, topic: &str, partition: i32) -> Result<String, Failed> {
        let place = (topic.to_owned(), partition);
        if !self.leaders.contains_key(&place) {
            self.partitions(topic)?;
        }
        let leader = self
            .leaders
            .get(&place)
            .and_then(|leader| self.brokers.get(leader));
        leader
            .cloned()
            .ok_or(Failed::Refused(ResponseError::LeaderNotAvailable))
    }

    /// The address of who coordinates a transactional id.
    pub fn coordinator(&mut self, id: &str) -> Result<String, Failed> {
        if let Some(known) = self.coordinators.get(id) {
            return Ok(known.clone());
        }
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(id.to_owned()))
            .with_key_type(TRANSACTION);
        let answer = self.ask_any(&request, FIND_COORDINATOR)?;
        if let Some(error) = answer.error_code.err() {
            return Err(Failed::Refused(error));
        }
        let address = format!("{}:{}", answer.host.as_str(), answer.port);
        self.coordinators.insert(id.to_owned(), address.clone());
        Ok(address)
    }

    /// What was known of leaders and coordinators proved wrong.
    pub fn forget(&mut self) {
        self.leaders.clear();
        self.coordinators.clear();
    }
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}
