//! Partitions read by librdkafka, through its C batch interface.
//!
//! The only queue that is read in batches is one of our own, to which partitions are directed
//! (`rd_kafka_consume_start_queue`). librdkafka 2.12 aborts the process when a batch read meets an
//! operation that is no message; on a queue that partitions alone feed there are only messages
//! and their errors. Everything else (errors of the client, tokens, statistics) goes to the main
//! queue and is served by `rd_kafka_poll`. For the same reason this client is no member of a
//! group and commits nothing.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};
use millrace_kafka_wire::TokenSource;
use rdkafka::types::{
    RDKafka, RDKafkaErrorCode, RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr, RDKafkaTopic, RDKafkaType,
};
use rdkafka_sys as rd;

use super::partition_reader::{Block, PartitionReader, Start, TimestampType};
use crate::client;
use crate::options::Startup;
use crate::properties::{Properties, Role};

/// Messages taken from the queue at once.
const CHUNK: usize = 1024;
/// A block is not filled further when it holds so many bytes.
const BLOCK_BYTES: usize = 8 << 20;
/// How often the client's own events are served while records flow.
const SERVE: Duration = Duration::from_millis(100);
/// A repeated error of a partition is logged so often at most.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Where a partition is read on whose records are gone. Flink always reads on, in silence; here it
/// is a loss that ends the job unless `auto.offset.reset` was given. The place is Flink's: outside
/// of group mode the startup mode overrides the property.
fn reset(properties: &Properties, startup: &Startup) -> Option<&'static str> {
    let given = properties.get("auto.offset.reset")?.trim();
    let given = match given.to_ascii_lowercase().as_str() {
        "earliest" => "earliest",
        "latest" => "latest",
        _ => return None,
    };
    Some(match startup {
        Startup::Group => given,
        Startup::Earliest | Startup::Specific(_) => "earliest",
        Startup::Latest | Startup::Timestamp(_) => "latest",
    })
}

/// What librdkafka's callbacks see. It outlives the client.
struct Shared {
    table: String,
    waker: Waker,
    tokens: Option<Arc<dyn TokenSource>>,
    /// The first error that ends the read.
    refusal: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

struct Assigned {
    topic: String,
    partition: i32,
    stop: Option<i64>,
    /// The next offset, for messages only.
    position: i64,
    handle: NonNull<RDKafkaTopic>,
    stopped: bool,
}

pub struct LibrdkafkaReader {
    client: NonNull<RDKafka>,
    queue: NonNull<RDKafkaQueue>,
    main_queue: NonNull<RDKafkaQueue>,
    shared: ManuallyDrop<Box<Shared>>,
    /// Our handles of topics, by name; freed at the end.
    topics: HashMap<String, (CString, NonNull<RDKafkaTopic>)>,
    partitions: Vec<Option<Assigned>>,
    /// By topic handle, as messages carry it, and partition.
    splits: HashMap<(usize, i32), u32>,
    /// Whether an out-of-range offset moves to the earliest or latest record, by the user's wish.
    resets: bool,
    messages: Vec<*mut RDKafkaMessage>,
    served: Instant,
    logged: HashMap<u32, Instant>,
}

// SAFETY: librdkafka's handles may be used from any thread; this struct is the only holder of the
// message buffer, and is used by one thread at a time.
unsafe impl Send for LibrdkafkaReader {}

impl LibrdkafkaReader {
    pub fn open(properties: &Properties, startup: &Startup, waker: Waker) -> Result<Self> {
        let mut rd = properties.rdkafka(Role::Consumer)?;
        // What waits in the client, all partitions together: some tenths of a second of work.
        rd.default("queued.max.messages.kbytes", "16384");
        rd.default("queued.min.messages", "100000");
        rd.default("max.partition.fetch.bytes", "2097152");
        // Without it a full queue rests for a second.
        rd.default("fetch.queue.backoff.ms", "5");
        rd.default("fetch.error.backoff.ms", "100");
        // Positions at the end of a partition: markers and aborted records are no messages.
        rd.default("enable.partition.eof", "true");
        rd.default("socket.nagle.disable", "true");
        // A lost leader is looked for quickly.
        rd.default("topic.metadata.refresh.fast.interval.ms", "50");
        rd.default("auto.commit.enable", "false");
        let reset = reset(properties, startup);
        rd.set("auto.offset.reset", reset.unwrap_or("error"));

        let shared = Box::new(Shared {
            table: properties.table().to_owned(),
            waker,
            tokens: rd.tokens.clone(),
            refusal: Mutex::new(None),
        });
        let native = rd
            .config()
            .create_native_config()
            .map_err(|e| client::error("cannot make a Kafka client", &e))?;
        let opaque = ptr::from_ref::<Shared>(&shared).cast_mut().cast::<c_void>();
        // SAFETY: the configuration is duplicated, because rd_kafka_new takes its ownership and
        // `native` frees its own. `opaque` points into a box that is dropped after the client.
        let created = unsafe {
            let conf = rd::rd_kafka_conf_dup(native.ptr());
            rd::rd_kafka_conf_set_opaque(conf, opaque);
            rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            if rd.tokens.is_some() {
                rd::rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, Some(on_token));
            }
            let mut message = [0 as c_char; 512];
            let client = rd::rd_kafka_new(
                RDKafkaType::RD_KAFKA_CONSUMER,
                conf,
                message.as_mut_ptr(),
                message.len(),
            );
            NonNull::new(client).ok_or_else(|| {
                // Not taken over when the client was not made.
                rd::rd_kafka_conf_destroy(conf);
                let reason = CStr::from_ptr(message.as_ptr()).to_string_lossy().into_owned();
                Error::user("a Kafka consumer cannot be made of the table's properties")
                    .with_detail(format!("table '{}': {reason}", properties.table()))
            })
        };
        let client = created?;
        // SAFETY: the client lives; both calls give a reference of our own.
        let (queue, main_queue) = unsafe {
            (
                rd::rd_kafka_queue_new(client.as_ptr()),
                rd::rd_kafka_queue_get_main(client.as_ptr()),
            )
        };
        let (Some(queue), Some(main_queue)) = (NonNull::new(queue), NonNull::new(main_queue)) else {
            // SAFETY: no other reference to the client exists.
            unsafe { rd::rd_kafka_destroy(client.as_ptr()) };
            return Err(Error::internal("librdkafka gave no queue"));
        };
        // SAFETY: queues and `opaque` live until the callbacks are taken away in `drop`.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_event), opaque);
            rd::rd_kafka_queue_cb_event_enable(main_queue.as_ptr(), Some(on_event), opaque);
        }
        let reader = LibrdkafkaReader {
            client,
            queue,
            main_queue,
            shared: ManuallyDrop::new(shared),
            topics: HashMap::new(),
            partitions: Vec::new(),
            splits: HashMap::new(),
            resets: reset.is_some(),
            messages: vec![ptr::null_mut(); CHUNK],
            served: Instant::now(),
            logged: HashMap::new(),
        };
        client::set_first_token(client.as_ptr(), rd.tokens.as_ref())?;
        Ok(reader)
    }

    fn topic(&mut self, name: &str) -> Result<NonNull<RDKafkaTopic>> {
        if let Some((_, handle)) = self.topics.get(name) {
            return Ok(*handle);
        }
        let text =
            CString::new(name).map_err(|_| Error::user(format!("topic '{name}' holds a zero byte")))?;
        // SAFETY: the client lives and the name ends in zero; the handle is freed in `drop`.
        let handle = unsafe { rd::rd_kafka_topic_new(self.client.as_ptr(), text.as_ptr(), ptr::null_mut()) };
        let handle =
            NonNull::new(handle).ok_or_else(|| Error::external(format!("cannot use topic '{name}'")))?;
        self.topics.insert(name.to_owned(), (text, handle));
        Ok(handle)
    }

    /// Serves what is not records, and fails if the brokers refuse us.
    fn serve(&mut self) -> Result<()> {
        self.served = Instant::now();
        // SAFETY: the client lives; callbacks only touch `shared`.
        unsafe { rd::rd_kafka_poll(self.client.as_ptr(), 0) };
        let refusal = self
            .shared
            .refusal
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        match refusal {
            Some((code, reason)) => Err(Error::external("the Kafka brokers refuse the connection")
                .with_detail(format!("table '{}': {reason} ({code})", self.shared.table))),
            None => Ok(()),
        }
    }

    /// Takes one message of the batch into the block.
    ///
    /// # Safety
    /// The message came from the batch interface and is not destroyed yet.
    unsafe fn take(
        &mut self,
        message: *mut RDKafkaMessage,
        block: &mut Block,
        last: &mut Option<(usize, i32, u32)>,
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        let m = unsafe { &*message };
        let split = match *last {
            Some((rkt, partition, split)) if rkt == m.rkt as usize && partition == m.partition => split,
            _ => match self.splits.get(&(m.rkt as usize, m.partition)) {
                Some(split) => {
                    *last = Some((m.rkt as usize, m.partition, *split));
                    *split
                }
                None => return self.foreign(m),
            },
        };
        let Some(Some(assigned)) = self.partitions.get_mut(split as usize) else {
            return Ok(());
        };
        if m.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return self.partition_error(split, m, block);
        }
        if assigned.stopped {
            return Ok(());
        }
        assigned.position = m.offset + 1;
        match block.positions.last_mut() {
            Some((s, position)) if *s == split => *position = m.offset + 1,
            _ => block.positions.push((split, m.offset + 1)),
        }
        if assigned.stop.is_some_and(|stop| m.offset >= stop) {
            return Ok(());
        }
        match block.runs.last_mut() {
            Some((s, records)) if *s == split => *records += 1,
            _ => block.runs.push((split, 1)),
        }
        block.offsets.push(m.offset);
        // SAFETY: payload and key are null or point to as many bytes as the message says.
        unsafe {
            block.values.push(bytes(m.payload, m.len));
            if block.wanted.keys {
                block.keys.push(bytes(m.key, m.key_len));
            }
        }
        if block.wanted.timestamps {
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: the message lives.
            block
                .timestamps
                .push(unsafe { rd::rd_kafka_message_timestamp(message, &mut kind) });
            block.timestamp_types.push(match kind {
                rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::Create,
                rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppend,
                _ => TimestampType::None,
            });
        }
        if block.wanted.leader_epochs {
            // SAFETY: the message lives.
            block
                .leader_epochs
                .push(unsafe { rd::rd_kafka_message_leader_epoch(message) });
        }
        if block.wanted.headers {
            // SAFETY: the message lives.
            unsafe { take_headers(message, block) };
        }
        Ok(())
    }

    /// A message of a partition that is not ours: what is left of a stopped one, or an error
    /// without a partition.
    fn foreign(&self, m: &RDKafkaMessage) -> Result<()> {
        if m.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let code = RDKafkaErrorCode::from(m.err);
            if client::is_refusal(code) {
                return Err(Error::external("the Kafka brokers refuse the read")
                    .with_detail(format!("table '{}': {code}", self.shared.table)));
            }
            tracing::debug!(table = %self.shared.table, %code, "the Kafka client reports an error");
        }
        Ok(())
    }

    fn partition_error(&mut self, split: u32, m: &RDKafkaMessage, block: &mut Block) -> Result<()> {
        use RDKafkaErrorCode as C;
        let code = C::from(m.err);
        let Some(Some(assigned)) = self.partitions.get_mut(split as usize) else {
            return Ok(());
        };
        if code == C::PartitionEOF {
            // Everything before the offset is read, also what is not given as messages.
            if m.offset > assigned.position {
                assigned.position = m.offset;
            }
            block.positions.push((split, assigned.position));
            block.at_end.push(split);
            return Ok(());
        }
        if assigned.stopped {
            return Ok(());
        }
        let at = format!("{}-{}-{}", assigned.topic, assigned.partition, assigned.position);
        // SAFETY: the payload of an error is its text, or null.
        let text = unsafe { bytes(m.payload, m.len) }.map(|t| String::from_utf8_lossy(t).into_owned());
        let reason = format!("{at}: {}", text.unwrap_or_else(|| code.to_string()));
        match code {
            C::AutoOffsetReset | C::OffsetOutOfRange if !self.resets => Err(Error::data_loss(format!(
                "records of table '{}' that were not read yet are gone",
                self.shared.table
            ))
            .with_detail(reason)
            .with_hint(
                "the topic was cut by retention, or made anew; with 'properties.auto.offset.reset' the read \
                 goes on: where it says with 'scan.startup.mode' = 'group-offsets', from the first record \
                 that is there with 'earliest-offset' and 'specific-offsets', from the end with \
                 'latest-offset' and 'timestamp'",
            )),
            C::AutoOffsetReset | C::OffsetOutOfRange => {
                tracing::warn!(table = %self.shared.table, reason, "records are gone: going on by auto.offset.reset");
                Ok(())
            }
            C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition => Err(Error::external(
                format!("a partition of table '{}' is gone", self.shared.table),
            )
            .with_detail(reason)),
            C::BadMessage
            | C::InvalidMessage
            | C::InvalidMessageSize
            | C::MessageSizeTooLarge
            | C::BadCompression
            | C::NotImplemented
            | C::InvalidRecord => Err(Error::external(format!(
                "a record of table '{}' cannot be read from Kafka",
                self.shared.table
            ))
            .with_detail(reason)),
            code if client::is_refusal(code) => {
                Err(Error::external("the Kafka brokers refuse the read").with_detail(reason))
            }
            _ => {
                // The client tries again by itself.
                let now = Instant::now();
                if self
                    .logged
                    .get(&split)
                    .is_none_or(|t| now.duration_since(*t) > LOG_PAUSE)
                {
                    self.logged.insert(split, now);
                    tracing::warn!(table = %self.shared.table, reason, "reading a partition is interrupted");
                }
                Ok(())
            }
        }
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that live as long as the caller uses them.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// # Safety
/// The message is not destroyed yet.
unsafe fn take_headers(message: *const RDKafkaMessage, block: &mut Block) {
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives and owns the headers; names end in zero, values have their length.
    unsafe {
        if rd::rd_kafka_message_headers(message, &mut headers) == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            for i in 0.. {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let code = rd::rd_kafka_header_get_all(headers, i, &mut name, &mut value, &mut size);
                if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                block
                    .headers
                    .names
                    .push(CStr::from_ptr(name).to_string_lossy().into_owned());
                block.headers.values.push(bytes(value, size).map(<[u8]>::to_vec));
            }
        }
    }
    block.headers.ends.push(block.headers.names.len() as u32);
}

impl PartitionReader for LibrdkafkaReader {
    fn start(&mut self, partitions: &[Start]) -> Result<()> {
        for start in partitions {
            let handle = self.topic(&start.topic)?;
            let split = start.split as usize;
            if self.partitions.len() <= split {
                self.partitions.resize_with(split + 1, || None);
            }
            self.partitions[split] = Some(Assigned {
                topic: start.topic.clone(),
                partition: start.partition,
                stop: start.stop,
                position: start.offset,
                handle,
                stopped: false,
            });
            self.splits
                .insert((handle.as_ptr() as usize, start.partition), start.split);
            // SAFETY: topic handle and queue live until `drop`.
            let code = unsafe {
                rd::rd_kafka_consume_start_queue(
                    handle.as_ptr(),
                    start.partition,
                    start.offset,
                    self.queue.as_ptr(),
                )
            };
            if code != 0 {
                // SAFETY: reads a thread-local of librdkafka.
                let reason = RDKafkaErrorCode::from(unsafe { rd::rd_kafka_last_error() });
                return Err(Error::external("cannot read a partition")
                    .with_detail(format!("{}-{}: {reason}", start.topic, start.partition)));
            }
        }
        Ok(())
    }

    fn stop(&mut self, split: u32) -> Result<()> {
        let Some(Some(assigned)) = self.partitions.get_mut(split as usize) else {
            return Ok(());
        };
        if !std::mem::replace(&mut assigned.stopped, true) {
            // SAFETY: the handle lives. It waits for the client's own thread, not for a broker.
            unsafe { rd::rd_kafka_consume_stop(assigned.handle.as_ptr(), assigned.partition) };
        }
        Ok(())
    }

    fn poll(&mut self, max_records: usize, block: &mut Block) -> Result<()> {
        if self.served.elapsed() > SERVE {
            self.serve()?;
        }
        let mut last = None;
        loop {
            let want = max_records.saturating_sub(block.records()).min(CHUNK);
            if want == 0 || block.values.data.len() > BLOCK_BYTES {
                return Ok(());
            }
            // SAFETY: the buffer has room for `want` pointers, the queue lives.
            let got = unsafe {
                rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.messages.as_mut_ptr(), want)
            };
            let got = usize::try_from(got).unwrap_or(0);
            let mut result = Ok(());
            if let Some(last) = got.checked_sub(1) {
                let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                // SAFETY: a message of ours that is not destroyed yet.
                let timestamp = unsafe { rd::rd_kafka_message_timestamp(self.messages[last], &mut kind) };
                block.last_timestamp = block.last_timestamp.max(timestamp);
            }
            for i in 0..got {
                let message = self.messages[i];
                // SAFETY: the first `got` pointers are messages of ours, each destroyed once.
                unsafe {
                    if result.is_ok() {
                        result = self.take(message, block, &mut last);
                    }
                    rd::rd_kafka_message_destroy(message);
                }
            }
            result?;
            if got < want {
                if block.records() == 0 {
                    self.serve()?;
                }
                return Ok(());
            }
        }
    }

    fn end_offset(&self, split: u32) -> Option<i64> {
        let assigned = self.partitions.get(split as usize)?.as_ref()?;
        let (name, _) = self.topics.get(&assigned.topic)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client lives; it answers from memory.
        let code = unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.client.as_ptr(),
                name.as_ptr(),
                assigned.partition,
                &mut low,
                &mut high,
            )
        };
        (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for LibrdkafkaReader {
    fn drop(&mut self) {
        // SAFETY: callbacks first, then partitions, handles, queues, the client, and last what the
        // callbacks point to. Destroying the client waits for its threads.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_cb_event_enable(self.main_queue.as_ptr(), None, ptr::null_mut());
            for assigned in self.partitions.iter().flatten().filter(|a| !a.stopped) {
                rd::rd_kafka_consume_stop(assigned.handle.as_ptr(), assigned.partition);
            }
            for (_, handle) in self.topics.values() {
                rd::rd_kafka_topic_destroy(handle.as_ptr());
            }
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_queue_destroy(self.main_queue.as_ptr());
            rd::rd_kafka_destroy(self.client.as_ptr());
            ManuallyDrop::drop(&mut self.shared);
        }
    }
}

// The callbacks. `opaque` is the client's `Shared`.

/// # Safety
/// Called by librdkafka with the opaque pointer that `open` gave.
unsafe fn shared<'a>(opaque: *mut c_void) -> Option<&'a Shared> {
    // SAFETY: `Shared` outlives the client, and with it every callback.
    unsafe { opaque.cast::<Shared>().as_ref() }
}

unsafe extern "C" fn on_event(_client: *mut RDKafka, opaque: *mut c_void) {
    // SAFETY: see `shared`.
    if let Some(shared) = unsafe { shared(opaque) } {
        shared.waker.wake();
    }
}

unsafe extern "C" fn on_log(
    client: *const RDKafka,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: librdkafka gives texts that end in zero, and a live client.
    unsafe {
        let table = shared(rd::rd_kafka_opaque(client)).map_or("", |s| s.table.as_str());
        client::log(
            table,
            level,
            &CStr::from_ptr(facility).to_string_lossy(),
            &CStr::from_ptr(text).to_string_lossy(),
        );
    }
}

unsafe extern "C" fn on_error(
    _client: *mut RDKafka,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: see `shared`; the text ends in zero.
    let (shared, reason) = unsafe {
        (
            shared(opaque),
            CStr::from_ptr(reason).to_string_lossy().into_owned(),
        )
    };
    let Some(shared) = shared else { return };
    // SAFETY: the number is one of the enumeration's: librdkafka passes its own code as an int.
    let code = RDKafkaErrorCode::from(unsafe { std::mem::transmute::<c_int, RDKafkaRespErr>(code) });
    // A handshake can fail because a broker goes away; it is tried again.
    if client::is_refusal(code) && code != RDKafkaErrorCode::SSL {
        shared
            .refusal
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .get_or_insert((code, reason));
        shared.waker.wake();
    } else {
        tracing::debug!(table = %shared.table, %code, reason, "the Kafka client reports an error");
    }
}

unsafe extern "C" fn on_token(client: *mut RDKafka, _config: *const c_char, opaque: *mut c_void) {
    // SAFETY: see `shared`.
    let Some(shared) = (unsafe { shared(opaque) }) else {
        return;
    };
    let Some(tokens) = &shared.tokens else { return };
    let given = tokens.token().and_then(|token| client::set_token(client, &token));
    if let Err(error) = given {
        tracing::warn!(table = %shared.table, %error, "no new token for SASL/OAUTHBEARER");
        // SAFETY: the client lives, the text ends in zero; librdkafka asks again in some seconds.
        unsafe { rd::rd_kafka_oauthbearer_set_token_failure(client, c"no token".as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_connector_api::Options;

    use super::*;

    #[test]
    fn records_that_are_gone_are_a_loss_unless_the_user_says_where_to_go_on() {
        let of = |given: Option<&str>, startup: &Startup| {
            let mut options = BTreeMap::from([("properties.bootstrap.servers".to_owned(), "a:1".to_owned())]);
            options.extend(given.map(|v| ("properties.auto.offset.reset".to_owned(), v.to_owned())));
            reset(&Properties::parse(&Options::new("t", &options)).unwrap(), startup)
        };
        let specific = Startup::Specific(BTreeMap::new());
        for startup in [
            Startup::Earliest,
            Startup::Latest,
            Startup::Group,
            specific.clone(),
        ] {
            assert_eq!(of(None, &startup), None);
            assert_eq!(of(Some("none"), &startup), None);
        }
        assert_eq!(of(Some("Latest"), &Startup::Group), Some("latest"));
        assert_eq!(of(Some("earliest"), &Startup::Group), Some("earliest"));
        // What is there is not skipped.
        assert_eq!(of(Some("latest"), &Startup::Earliest), Some("earliest"));
        assert_eq!(of(Some("latest"), &specific), Some("earliest"));
        assert_eq!(of(Some("earliest"), &Startup::Latest), Some("latest"));
        assert_eq!(of(Some("earliest"), &Startup::Timestamp(5)), Some("latest"));
    }
}
