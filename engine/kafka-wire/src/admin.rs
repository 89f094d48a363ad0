//! Questions to a cluster and administration of its transactions.
//!
//! Every call looks up whom to ask, follows coordinators that move, reconnects, retries what can
//! pass (with growing pauses, up to `ClientConfig::call_timeout`), and reports what cannot.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListTransactionsRequest, MetadataRequest, ProducerId, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Request, StrBytes};
use millrace_core::{Error, Result};
use tokio_rustls::TlsConnector;

use crate::config::ClientConfig;
use crate::connection::{Connection, within};
use crate::error::CallError;
use crate::retry::Retry;
use crate::tls;

/// A connection that takes longer is given up and another broker or attempt gets its turn.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to one broker that are kept for the next call.
const IDLE_CONNECTIONS: usize = 2;
/// `FindCoordinator`'s key type of transactional ids.
const TRANSACTION: i8 = 1;
/// `DescribeConfigs`' resource type of brokers.
const BROKER: i8 = 4;

// The newest version of each request that this client speaks. InitProducerId beyond 4 and EndTxn
// beyond 4 belong to transactions of version 2 (KIP-890), whose epochs change with each commit.
const FIND_COORDINATOR: i16 = 4;
const INIT_PRODUCER_ID: i16 = 4;
const DESCRIBE_TRANSACTIONS: i16 = 0;
const LIST_TRANSACTIONS: i16 = 1;
const METADATA: i16 = 12;
const DESCRIBE_CONFIGS: i16 = 4;
/// The last version of EndTxn that leaves the epoch as it is.
pub const END_TXN_V1: i16 = 4;

/// Cheap to clone; calls may run at the same time.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    tls: Option<TlsConnector>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<String, Vec<Connection>>,
    /// Brokers as the cluster names them, for when no bootstrap address answers.
    brokers: Vec<Broker>,
    /// Transactional id to its coordinator's address, until it proves wrong.
    coordinators: HashMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
}

impl Broker {
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub brokers: Vec<Broker>,
    pub topics: Vec<Topic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Why the cluster says nothing about it.
    pub error: Option<ResponseError>,
    /// Number and leader of each partition.
    pub partitions: Vec<(i32, i32)>,
}

/// Which transaction is meant: a producer's present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub epoch: i16,
}

/// What a coordinator made of EndTxn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndTxn {
    /// Ended as asked, now or before.
    Done,
    /// PRODUCER_FENCED, INVALID_PRODUCER_EPOCH: the id has a newer epoch, by another producer or by a
    /// transaction that timed out.
    Fenced,
    /// INVALID_TXN_STATE: no transaction is open, or it ended the other way.
    InvalidState,
    /// INVALID_PRODUCER_ID_MAPPING, TRANSACTIONAL_ID_NOT_FOUND: the id is unknown or expired.
    UnknownProducer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    PrepareEpochFence,
    Dead,
    Unknown,
}

impl TransactionState {
    fn parse(name: &str) -> Self {
        match name {
            "Empty" => TransactionState::Empty,
            "Ongoing" => TransactionState::Ongoing,
            "PrepareCommit" => TransactionState::PrepareCommit,
            "PrepareAbort" => TransactionState::PrepareAbort,
            "CompleteCommit" => TransactionState::CompleteCommit,
            "CompleteAbort" => TransactionState::CompleteAbort,
            "PrepareEpochFence" => TransactionState::PrepareEpochFence,
            "Dead" => TransactionState::Dead,
            _ => TransactionState::Unknown,
        }
    }
}

/// What a coordinator knows of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    pub state: TransactionState,
    pub producer_id: i64,
    pub epoch: i16,
    pub timeout: Duration,
    /// When the present or last transaction began, milliseconds by the coordinator's clock.
    pub start_time: i64,
    /// Partitions that the open transaction has written.
    pub partitions: Vec<(String, i32)>,
}

/// One entry of ListTransactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: TransactionState,
}

impl Admin {
    /// Connects to nothing yet.
    pub fn new(config: ClientConfig) -> Result<Admin> {
        if config.bootstrap.is_empty() {
            return Err(
                Error::user("no Kafka broker is given").with_hint("set 'properties.bootstrap.servers'")
            );
        }
        let tls = config.security.tls.as_ref().map(tls::connector).transpose()?;
        Ok(Admin(Arc::new(Inner {
            config,
            tls,
            state: Mutex::default(),
        })))
    }

    /// Brokers, and the named topics (all if `None`). Creates no topic.
    pub async fn metadata(&self, topics: Option<&[String]>) -> Result<Metadata> {
        let mut retry = self.retry("tell its metadata");
        loop {
            match self.ask_metadata(topics).await {
                Ok(metadata) => return Ok(metadata),
                Err(e) => self.pause(&mut retry, e).await?,
            }
        }
    }

    /// The value of a broker's configuration entry; `None` if it does not tell.
    pub async fn broker_config(&self, key: &str) -> Result<Option<String>> {
        let mut retry = self.retry("describe a broker's configuration");
        loop {
            match self.ask_broker_config(key).await {
                Ok(value) => return Ok(value),
                Err(e) => self.pause(&mut retry, e).await?,
            }
        }
    }

    /// Ends a transaction, in a protocol version of at most `newest`: a handle is ended in the
    /// versions in which it was begun (`END_TXN_V1` for librdkafka's).
    pub async fn end_txn(&self, transaction: &Transaction, newest: i16, commit: bool) -> Result<EndTxn> {
        let id = &transaction.transactional_id;
        let verb = if commit { "commit" } else { "abort" };
        let mut retry = self.retry(&format!("{verb} transaction '{id}'"));
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional_id(id))
            .with_producer_id(ProducerId(transaction.producer_id))
            .with_producer_epoch(transaction.epoch)
            .with_committed(commit);
        loop {
            let code = match self.call_coordinator(id, &request, newest, &retry).await {
                Ok(response) => response.error_code.err(),
                Err(e) => {
                    self.moved(id);
                    self.pause(&mut retry, e).await?;
                    continue;
                }
            };
            match code {
                None => return Ok(EndTxn::Done),
                Some(ResponseError::ProducerFenced | ResponseError::InvalidProducerEpoch) => {
                    return Ok(EndTxn::Fenced);
                }
                Some(ResponseError::InvalidTxnState) => return Ok(EndTxn::InvalidState),
                Some(ResponseError::InvalidProducerIdMapping | ResponseError::TransactionalIdNotFound) => {
                    return Ok(EndTxn::UnknownProducer);
                }
                Some(error) => self.coordinator_error(id, &mut retry, error).await?,
            }
        }
    }

    /// Takes an id over: aborts its open transaction, raises its epoch, so fences whoever had it.
    pub async fn init_producer_id(&self, id: &str, transaction_timeout: Duration) -> Result<(i64, i16)> {
        let mut retry = self.retry(&format!("fence transactional id '{id}'"));
        let timeout = i32::try_from(transaction_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id(id)))
            .with_transaction_timeout_ms(timeout)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        loop {
            match self
                .call_coordinator(id, &request, INIT_PRODUCER_ID, &retry)
                .await
            {
                Ok(response) => match response.error_code.err() {
                    None => return Ok((response.producer_id.0, response.producer_epoch)),
                    Some(error) => self.coordinator_error(id, &mut retry, error).await?,
                },
                Err(e) => {
                    self.moved(id);
                    self.pause(&mut retry, e).await?;
                }
            }
        }
    }

    /// What coordinators know of these ids. Ids that they do not know are left out.
    pub async fn describe_transactions(
        &self,
        ids: &[String],
    ) -> Result<BTreeMap<String, TransactionDescription>> {
        let mut retry = self.retry("describe transactions");
        let mut known = BTreeMap::new();
        let mut left: Vec<String> = ids.to_vec();
        while !left.is_empty() {
            let (rest, trouble) = self.describe_once(&left, &retry, &mut known).await?;
            if let Some(trouble) = trouble {
                self.pause(&mut retry, trouble).await?;
            }
            left = rest;
        }
        Ok(known)
    }

    /// Waits until the ends of these ids' transactions are written to all of their partitions: EndTxn
    /// answers once the decision is logged, and readers of committed records see it a moment later.
    pub async fn await_markers(&self, ids: &[String]) -> Result<()> {
        let mut retry = self.retry("wait for transaction markers");
        let mut left = ids.to_vec();
        loop {
            let known = self.describe_transactions(&left).await?;
            left.retain(|id| {
                known.get(id).is_some_and(|t| {
                    matches!(
                        t.state,
                        TransactionState::PrepareCommit | TransactionState::PrepareAbort
                    )
                })
            });
            if left.is_empty() {
                return Ok(());
            }
            retry
                .after(&format!("{} ids are not decided everywhere", left.len()))
                .await?;
        }
    }

    /// All transactions of all brokers whose id begins with `prefix`.
    pub async fn list_transactions(&self, prefix: &str) -> Result<Vec<TransactionListing>> {
        let mut retry = self.retry("list transactions");
        loop {
            match self.list_once(prefix).await {
                Ok(found) => return Ok(found),
                Err(e) => self.pause(&mut retry, e).await?,
            }
        }
    }

    fn retry(&self, what: &str) -> Retry {
        Retry::new(what, self.0.config.call_timeout)
    }

    async fn pause(&self, retry: &mut Retry, error: CallError) -> Result<()> {
        if error.is_retriable() {
            retry.after(&error).await
        } else {
            Err(retry.hopeless(&error))
        }
    }

    /// Waits if the error passes by itself or with another coordinator, else gives it back.
    async fn coordinator_error(&self, id: &str, retry: &mut Retry, error: ResponseError) -> Result<()> {
        match error {
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                self.moved(id);
                retry.after(&error).await
            }
            // The markers of the last transaction are being written, or the log is being read.
            ResponseError::ConcurrentTransactions | ResponseError::CoordinatorLoadInProgress => {
                retry.after(&error).await
            }
            error if error.is_retriable() => {
                self.moved(id);
                retry.after(&error).await
            }
            error => Err(retry.hopeless(&error)),
        }
    }

    async fn call_coordinator<R: Request>(
        &self,
        id: &str,
        request: &R,
        newest: i16,
        retry: &Retry,
    ) -> Result<R::Response, CallError> {
        let id = id.to_owned();
        let (mut found, trouble) = self.coordinators(std::slice::from_ref(&id)).await?;
        match (found.remove(&id), trouble) {
            (Some(address), _) => self.call(&address, request, newest, retry.left()).await,
            (None, Some(trouble)) => Err(trouble),
            (None, None) => Err(CallError::Response(ResponseError::CoordinatorNotAvailable)),
        }
    }

    /// One round: what is left to ask again, and why.
    async fn describe_once(
        &self,
        ids: &[String],
        retry: &Retry,
        known: &mut BTreeMap<String, TransactionDescription>,
    ) -> Result<(Vec<String>, Option<CallError>)> {
        let (found, mut trouble) = match self.coordinators(ids).await {
            Ok(found) => found,
            Err(e) => return Ok((ids.to_vec(), Some(e))),
        };
        let mut left: Vec<String> = ids
            .iter()
            .filter(|id| !found.contains_key(*id))
            .cloned()
            .collect();
        let mut by_address: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, address) in found {
            by_address.entry(address).or_default().push(id);
        }
        for (address, ids) in by_address {
            let request = DescribeTransactionsRequest::default()
                .with_transactional_ids(ids.iter().map(|id| transactional_id(id)).collect());
            let response = match self
                .call(&address, &request, DESCRIBE_TRANSACTIONS, retry.left())
                .await
            {
                Ok(response) => response,
                Err(e) => {
                    ids.iter().for_each(|id| self.moved(id));
                    left.extend(ids);
                    trouble = Some(e);
                    continue;
                }
            };
            let mut answers: HashMap<String, _> = response
                .transaction_states
                .into_iter()
                .map(|state| (state.transactional_id.to_string(), state))
                .collect();
            for id in ids {
                let Some(state) = answers.remove(&id) else {
                    let reason = format!("no word about '{id}'");
                    return Err(retry.hopeless(&CallError::Malformed { address, reason }));
                };
                match state.error_code.err() {
                    None => {
                        known.insert(id, description(state));
                    }
                    Some(ResponseError::TransactionalIdNotFound) => {}
                    Some(error) if error.is_retriable() => {
                        self.moved(&id);
                        left.push(id);
                        trouble = Some(CallError::Response(error));
                    }
                    Some(error) => return Err(retry.hopeless(&format!("'{id}': {error}"))),
                }
            }
        }
        Ok((left, trouble))
    }

    /// Addresses of the coordinators of ids; some may be missing, then there is trouble.
    async fn coordinators(
        &self,
        ids: &[String],
    ) -> Result<(HashMap<String, String>, Option<CallError>), CallError> {
        let mut found: HashMap<String, String> = {
            let state = self.state();
            ids.iter()
                .filter_map(|id| Some((id.clone(), state.coordinators.get(id)?.clone())))
                .collect()
        };
        let missing: Vec<&String> = ids.iter().filter(|id| !found.contains_key(*id)).collect();
        if missing.is_empty() {
            return Ok((found, None));
        }
        let mut trouble = None;
        let keys = missing
            .iter()
            .map(|id| StrBytes::from_string((*id).clone()))
            .collect();
        let batched = FindCoordinatorRequest::default()
            .with_key_type(TRANSACTION)
            .with_coordinator_keys(keys);
        match self
            .call_any_from(&batched, FIND_COORDINATOR, FIND_COORDINATOR)
            .await
        {
            Ok(response) => {
                for coordinator in response.coordinators {
                    match coordinator.error_code.err() {
                        None => {
                            let address = address(&coordinator.host, coordinator.port);
                            found.insert(coordinator.key.to_string(), address);
                        }
                        Some(error) => trouble = Some(CallError::Response(error)),
                    }
                }
            }
            // Brokers before 3.0 take one key a request.
            Err(CallError::Unsupported { .. }) => {
                for id in missing {
                    let request = FindCoordinatorRequest::default()
                        .with_key_type(TRANSACTION)
                        .with_key(StrBytes::from_string(id.clone()));
                    let response = self.call_any(&request, FIND_COORDINATOR - 1).await?;
                    match response.error_code.err() {
                        None => {
                            found.insert(id.clone(), address(&response.host, response.port));
                        }
                        Some(error) => trouble = Some(CallError::Response(error)),
                    }
                }
            }
            Err(e) => return Err(e),
        }
        let mut state = self.state();
        for (id, address) in &found {
            state.coordinators.insert(id.clone(), address.clone());
        }
        Ok((found, trouble))
    }

    /// Forgets where an id's coordinator is.
    fn moved(&self, id: &str) {
        self.state().coordinators.remove(id);
    }

    async fn ask_metadata(&self, topics: Option<&[String]>) -> Result<Metadata, CallError> {
        let topics = topics.map(|names| {
            let name = |n: &String| Some(TopicName(StrBytes::from_string(n.clone())));
            names
                .iter()
                .map(|n| MetadataRequestTopic::default().with_name(name(n)))
                .collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        let response = self.call_any(&request, METADATA).await?;
        let brokers: Vec<Broker> = response
            .brokers
            .iter()
            .map(|b| Broker {
                id: b.node_id.0,
                host: b.host.to_string(),
                port: b.port,
            })
            .collect();
        self.state().brokers.clone_from(&brokers);
        let topics = response
            .topics
            .iter()
            .map(|t| Topic {
                name: t.name.as_ref().map(|n| n.to_string()).unwrap_or_default(),
                error: t.error_code.err(),
                partitions: t
                    .partitions
                    .iter()
                    .map(|p| (p.partition_index, p.leader_id.0))
                    .collect(),
            })
            .collect();
        Ok(Metadata { brokers, topics })
    }

    async fn ask_broker_config(&self, key: &str) -> Result<Option<String>, CallError> {
        let metadata = self.ask_metadata(Some(&[])).await?;
        let Some(broker) = metadata.brokers.first() else {
            return Ok(None);
        };
        let resource = DescribeConfigsResource::default()
            .with_resource_type(BROKER)
            .with_resource_name(StrBytes::from_string(broker.id.to_string()))
            .with_configuration_keys(Some(vec![StrBytes::from_string(key.to_owned())]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let limit = self.0.config.request_timeout;
        let response = self
            .call(&broker.address(), &request, DESCRIBE_CONFIGS, limit)
            .await?;
        let Some(result) = response.results.into_iter().next() else {
            return Ok(None);
        };
        match result.error_code.err() {
            None => {
                let entry = result.configs.into_iter().find(|c| &*c.name == key);
                Ok(entry.and_then(|c| c.value).map(|v| v.to_string()))
            }
            Some(error) => Err(CallError::Response(error)),
        }
    }

    async fn list_once(&self, prefix: &str) -> Result<Vec<TransactionListing>, CallError> {
        let mut found = Vec::new();
        for broker in self.ask_metadata(Some(&[])).await?.brokers {
            let request = ListTransactionsRequest::default();
            let limit = self.0.config.request_timeout;
            let response = self
                .call(&broker.address(), &request, LIST_TRANSACTIONS, limit)
                .await?;
            if let Some(error) = response.error_code.err() {
                return Err(CallError::Response(error));
            }
            found.extend(
                response
                    .transaction_states
                    .into_iter()
                    .filter(|t| t.transactional_id.starts_with(prefix))
                    .map(|t| TransactionListing {
                        transactional_id: t.transactional_id.to_string(),
                        producer_id: t.producer_id.0,
                        state: TransactionState::parse(&t.transaction_state),
                    }),
            );
        }
        Ok(found)
    }

    async fn call_any<R: Request>(&self, request: &R, newest: i16) -> Result<R::Response, CallError> {
        self.call_any_from(request, R::VERSIONS.min, newest).await
    }

    /// Asks the brokers one after the other until one answers, in a version of at least `oldest`.
    async fn call_any_from<R: Request>(
        &self,
        request: &R,
        oldest: i16,
        newest: i16,
    ) -> Result<R::Response, CallError> {
        let mut addresses: Vec<String> = self.state().brokers.iter().map(Broker::address).collect();
        for address in &self.0.config.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let mut last = CallError::Response(ResponseError::NetworkException);
        for address in addresses {
            match self
                .call_from(&address, request, oldest, newest, self.0.config.request_timeout)
                .await
            {
                Err(e) if e.is_retriable() => last = e,
                other => return other,
            }
        }
        Err(last)
    }

    async fn call<R: Request>(
        &self,
        address: &str,
        request: &R,
        newest: i16,
        limit: Duration,
    ) -> Result<R::Response, CallError> {
        self.call_from(address, request, R::VERSIONS.min, newest, limit)
            .await
    }

    /// One request to one broker, on a kept connection or a new one.
    async fn call_from<R: Request>(
        &self,
        address: &str,
        request: &R,
        oldest: i16,
        newest: i16,
        limit: Duration,
    ) -> Result<R::Response, CallError> {
        let limit = limit.min(self.0.config.request_timeout);
        loop {
            let kept = self.state().idle.get_mut(address).and_then(Vec::pop);
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => {
                    let open = Connection::open(address, &self.0.config, self.0.tls.as_ref());
                    within(address, limit.min(CONNECT_TIMEOUT), open).await?
                }
            };
            match within(address, limit, connection.call(request, oldest, newest)).await {
                // Brokers close connections that were idle for long: not a failure of this call.
                Err(CallError::Connection { .. }) if is_kept => continue,
                // The connection is as good as before: nothing was sent.
                Err(e @ CallError::Unsupported { .. }) => {
                    self.keep(address, connection);
                    return Err(e);
                }
                Err(e) => return Err(e),
                Ok(response) => {
                    self.keep(address, connection);
                    return Ok(response);
                }
            }
        }
    }

    fn keep(&self, address: &str, connection: Connection) {
        let mut state = self.state();
        let idle = state.idle.entry(address.to_owned()).or_default();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

fn description(
    state: kafka_protocol::messages::describe_transactions_response::TransactionState,
) -> TransactionDescription {
    let partitions = state
        .topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(|&p| (t.topic.to_string(), p)))
        .collect();
    TransactionDescription {
        state: TransactionState::parse(&state.transaction_state),
        producer_id: state.producer_id.0,
        epoch: state.producer_epoch,
        timeout: Duration::from_millis(u64::try_from(state.transaction_timeout_ms).unwrap_or(0)),
        start_time: state.transaction_start_time_ms,
        partitions,
    }
}
