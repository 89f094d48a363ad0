//! Requests and answers as the bytes of Kafka's protocol, and which of them in which versions the model knows.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, decode_request_header_from_buffer};

use super::cluster::Cluster;

/// A request as the broker gets it.
pub struct Asked {
    pub key: ApiKey,
    pub version: i16,
    correlation_id: i32,
    body: Bytes,
}

/// The requests that there are, with the first and the last version.
const KNOWN: [(ApiKey, i16, i16); 12] = [
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 1, 12),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 1),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::ApiVersions, 0, 3),
];

/// Why a request was not understood.
pub type Malformed = String;

impl Asked {
    /// Of a frame, without its length.
    pub fn read(frame: Bytes) -> Result<Asked, Malformed> {
        let mut body = frame;
        let header = decode_request_header_from_buffer(&mut body).map_err(|e| e.to_string())?;
        let key = ApiKey::try_from(header.request_api_key)
            .map_err(|()| format!("request {} is unknown", header.request_api_key))?;
        let version = header.request_api_version;
        match KNOWN.iter().find(|(known, ..)| *known == key) {
            Some((_, least, most)) if (*least..=*most).contains(&version) => {}
            _ => return Err(format!("{key:?} of version {version} is not in the model")),
        }
        Ok(Asked {
            key,
            version,
            correlation_id: header.correlation_id,
            body,
        })
    }

    fn body<T: Decodable>(&self) -> Result<T, Malformed> {
        T::decode(&mut self.body.clone(), self.version).map_err(|e| format!("{:?}: {e}", self.key))
    }

    pub fn fetch(&self) -> Result<FetchRequest, Malformed> {
        self.body()
    }

    /// The answer of a broker, with its length.
    pub fn answer(&self, cluster: &mut Cluster, broker: usize, now: i64) -> Result<Bytes, Malformed> {
        match self.key {
            ApiKey::ApiVersions => {
                let versions = KNOWN.iter().map(|(key, least, most)| {
                    ApiVersion::default()
                        .with_api_key(*key as i16)
                        .with_min_version(*least)
                        .with_max_version(*most)
                });
                self.encode(&ApiVersionsResponse::default().with_api_keys(versions.collect()))
            }
            ApiKey::Metadata => self.encode(&cluster.metadata(&self.body()?)),
            ApiKey::Produce => self.encode(&cluster.produce(broker, &self.body()?)),
            ApiKey::Fetch => self.encode(&cluster.fetch(broker, &self.body()?)),
            ApiKey::ListOffsets => self.encode(&cluster.list_offsets(broker, &self.body()?)),
            ApiKey::FindCoordinator => self.encode(&cluster.find_coordinator(&self.body()?, self.version)),
            ApiKey::InitProducerId => self.encode(&cluster.init_producer_id(broker, &self.body()?, now)),
            ApiKey::AddPartitionsToTxn => self.encode(&cluster.add_partitions(broker, &self.body()?, now)),
            ApiKey::EndTxn => self.encode(&cluster.end_txn(broker, &self.body()?, now)),
            ApiKey::DescribeTransactions => {
                self.encode(&cluster.describe_transactions(broker, &self.body()?, now))
            }
            ApiKey::ListTransactions => self.encode(&cluster.list_transactions(broker)),
            ApiKey::DescribeConfigs => self.encode(&cluster.describe_configs(&self.body()?)),
            other => Err(format!("{other:?} is not in the model")),
        }
    }

    pub fn encode(&self, response: &impl Encodable) -> Result<Bytes, Malformed> {
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        let header_version = self.key.response_header_version(self.version);
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header
            .encode(&mut frame, header_version)
            .and_then(|()| response.encode(&mut frame, self.version))
            .map_err(|e| format!("{:?}: {e}", self.key))?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame.freeze())
    }
}
