//! librdkafka's batch calls of C: what the copy loop, the load and the readers of results use.
//!
//! The client's callbacks and events stay off, and a consumer reads single partitions into a queue
//! of its own: a batch call on the queue of a whole client aborts the process when an operation
//! that is no message comes along (a rebalance, statistics, an event). Into a partition queue come
//! messages and consumer errors only.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

const ANSWER: Duration = Duration::from_secs(60);

/// The version of librdkafka that is linked in.
pub fn version() -> String {
    // SAFETY: returns a static string.
    unsafe { CStr::from_ptr(sys::rd_kafka_version_str()) }
        .to_string_lossy()
        .into_owned()
}

/// A handle of librdkafka.
struct Handle {
    rk: NonNull<sys::rd_kafka_t>,
    /// Counted by the delivery callback, which has a pointer to it for as long as the handle lives.
    deliveries: Arc<Deliveries>,
}

#[derive(Default)]
struct Deliveries {
    reported: AtomicU64,
    failed: AtomicU64,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Handle {}

unsafe extern "C" fn delivered(
    _: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka gives a live message, and as opaque what `Handle::new` set: counters
    // that live until the handle is destroyed.
    unsafe {
        let deliveries = &*opaque.cast::<Deliveries>();
        deliveries.reported.fetch_add(1, Ordering::Relaxed);
        if (*message).err != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            deliveries.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Handle {
    fn new(kind: sys::rd_kafka_type_t, settings: &[(&str, &str)]) -> Result<Handle> {
        let deliveries = Arc::new(Deliveries::default());
        let mut reason = [0 as c_char; 512];
        // SAFETY: the configuration is live until rd_kafka_new takes it or it is destroyed here;
        // all strings are terminated and copied by librdkafka.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            for (key, value) in settings {
                let (k, v) = (CString::new(*key)?, CString::new(*value)?);
                let set =
                    sys::rd_kafka_conf_set(conf, k.as_ptr(), v.as_ptr(), reason.as_mut_ptr(), reason.len());
                if set != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                    sys::rd_kafka_conf_destroy(conf);
                    bail!("librdkafka refuses {key}={value}: {}", text(&reason));
                }
            }
            if kind == sys::rd_kafka_type_t::RD_KAFKA_PRODUCER {
                sys::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(&deliveries).cast_mut().cast());
                sys::rd_kafka_conf_set_dr_msg_cb(conf, Some(delivered));
            }
            let rk = sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
            let Some(rk) = NonNull::new(rk) else {
                sys::rd_kafka_conf_destroy(conf);
                bail!("librdkafka does not start: {}", text(&reason));
            };
            Ok(Handle { rk, deliveries })
        }
    }

    fn serve(&self, timeout: Duration) {
        // SAFETY: the handle is live.
        unsafe { sys::rd_kafka_poll(self.rk.as_ptr(), millis(timeout)) };
    }

    fn topic(&self, name: &str) -> Result<Topic> {
        let c_name = CString::new(name)?;
        // SAFETY: the handle is live; a null configuration means the defaults.
        let rkt = unsafe { sys::rd_kafka_topic_new(self.rk.as_ptr(), c_name.as_ptr(), ptr::null_mut()) };
        NonNull::new(rkt)
            .map(Topic)
            .with_context(|| format!("librdkafka refuses the topic '{name}'"))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the owner's topics and queues are dropped before (field order).
        unsafe { sys::rd_kafka_destroy(self.rk.as_ptr()) }
    }
}

struct Topic(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: as for `Handle`.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: live, and its handle is destroyed later.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

fn text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn describe(code: Code) -> String {
    // SAFETY: returns a static string for every code.
    unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) }
        .to_string_lossy()
        .into_owned()
}

fn check(code: Code, what: &str) -> Result<()> {
    match code {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => bail!("{what}: {}", describe(code)),
    }
}

/// Takes over librdkafka's error object.
fn check_error(error: *mut sys::rd_kafka_error_t, what: &str) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the object is ours to read and to destroy, once.
    unsafe {
        let reason = CStr::from_ptr(sys::rd_kafka_error_string(error))
            .to_string_lossy()
            .into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(anyhow!("{what}: {reason}"))
    }
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// Asks for the ends of a topic's partitions.
pub struct Offsets {
    handle: Handle,
    topic: CString,
    partitions: i32,
}

impl Offsets {
    /// Ends as a reader with isolation read_uncommitted sees them.
    pub fn new(bootstrap: &str, topic: &str, partitions: i32) -> Result<Offsets> {
        let handle = Handle::new(
            sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            &[
                ("bootstrap.servers", bootstrap),
                ("isolation.level", "read_uncommitted"),
            ],
        )?;
        Ok(Offsets {
            handle,
            topic: CString::new(topic)?,
            partitions,
        })
    }

    /// The offset after the last record of each partition.
    pub fn ends(&self) -> Result<Vec<i64>> {
        let mut ends = Vec::new();
        for partition in 0..self.partitions {
            let (mut low, mut high) = (0, 0);
            // SAFETY: the handle is live, the string is terminated, and both results outlive the call.
            let code = unsafe {
                sys::rd_kafka_query_watermark_offsets(
                    self.handle.rk.as_ptr(),
                    self.topic.as_ptr(),
                    partition,
                    &mut low,
                    &mut high,
                    millis(ANSWER),
                )
            };
            check(code, &format!("asking for the end of partition {partition}"))?;
            ends.push(high);
        }
        Ok(ends)
    }
}

/// Reads some partitions of one topic, in batches. (Fields are dropped in this order.)
pub struct Consumer {
    partitions: Vec<i32>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: Topic,
    _handle: Handle,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
}

impl Consumer {
    /// Begins to fetch each partition from its given offset; `size` bounds a batch.
    pub fn new(
        bootstrap: &str,
        topic: &str,
        from: &[(i32, i64)],
        size: usize,
        settings: &[(&str, &str)],
    ) -> Result<Consumer> {
        let mut all = vec![
            ("bootstrap.servers", bootstrap),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "false"),
        ];
        all.extend_from_slice(settings);
        let handle = Handle::new(sys::rd_kafka_type_t::RD_KAFKA_CONSUMER, &all)?;
        let topic = handle.topic(topic)?;
        // SAFETY: the handle is live.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(handle.rk.as_ptr()) })
            .context("librdkafka has no queue")?;
        let buffer = vec![ptr::null_mut(); size.max(1)];
        let mut consumer = Consumer {
            partitions: Vec::new(),
            queue,
            topic,
            _handle: handle,
            buffer,
        };
        for (partition, offset) in from {
            // SAFETY: topic and queue are live until the partition is stopped in `drop`.
            let started = unsafe {
                sys::rd_kafka_consume_start_queue(
                    consumer.topic.0.as_ptr(),
                    *partition,
                    *offset,
                    consumer.queue.as_ptr(),
                )
            };
            if started != 0 {
                // SAFETY: reads this thread's last error.
                let code = unsafe { sys::rd_kafka_last_error() };
                bail!("cannot read partition {partition}: {}", describe(code));
            }
            consumer.partitions.push(*partition);
        }
        Ok(consumer)
    }

    /// Up to a full batch; waits until it is full or the time is up.
    pub fn poll(&mut self, timeout: Duration) -> Result<Batch<'_>> {
        self.poll_some(self.buffer.len(), timeout)
    }

    /// As `poll`, but returns as soon as there is one message, with those that are there too.
    pub fn poll_first(&mut self, timeout: Duration) -> Result<Batch<'_>> {
        let first = self.fill(0, 1, timeout)?;
        let more = if first == 0 {
            0
        } else {
            self.fill(1, self.buffer.len() - 1, Duration::ZERO)?
        };
        Batch::new(&mut self.buffer[..first + more])
    }

    fn poll_some(&mut self, most: usize, timeout: Duration) -> Result<Batch<'_>> {
        let count = self.fill(0, most, timeout)?;
        Batch::new(&mut self.buffer[..count])
    }

    fn fill(&mut self, at: usize, most: usize, timeout: Duration) -> Result<usize> {
        let space = &mut self.buffer[at..at + most];
        // SAFETY: the queue is live and `space` has room for the number of pointers that is given.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                millis(timeout),
                space.as_mut_ptr(),
                space.len(),
            )
        };
        usize::try_from(count).map_err(|_| anyhow!("reading a batch failed"))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: each partition was started on this topic, and the queue is destroyed once.
        unsafe {
            for partition in &self.partitions {
                sys::rd_kafka_consume_stop(self.topic.0.as_ptr(), *partition);
            }
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Messages that were read; dropping it gives them back.
pub struct Batch<'a> {
    messages: &'a mut [*mut sys::rd_kafka_message_t],
}

impl<'a> Batch<'a> {
    fn new(messages: &'a mut [*mut sys::rd_kafka_message_t]) -> Result<Batch<'a>> {
        let batch = Batch { messages };
        for message in &*batch.messages {
            // SAFETY: the batch owns its messages until it is dropped.
            let message = unsafe { &**message };
            check(message.err, "reading")?;
        }
        Ok(batch)
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the batch owns its messages until it is dropped.
        self.messages.iter().map(|message| Message(unsafe { &**message }))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in &*self.messages {
            // SAFETY: each message is destroyed once, here.
            unsafe { sys::rd_kafka_message_destroy(*message) }
        }
    }
}

/// One message of a batch.
pub struct Message<'a>(&'a sys::rd_kafka_message_t);

impl Message<'_> {
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    pub fn value(&self) -> &[u8] {
        if self.0.payload.is_null() {
            return &[];
        }
        // SAFETY: librdkafka's message holds this many bytes for as long as it lives.
        unsafe { std::slice::from_raw_parts(self.0.payload.cast(), self.0.len) }
    }
}

/// A record for `rd_kafka_produce_batch`.
fn record(partition: i32, payload: *mut c_void, len: usize) -> sys::rd_kafka_message_t {
    sys::rd_kafka_message_t {
        err: Code::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition,
        payload,
        len,
        key: ptr::null_mut(),
        key_len: 0,
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// Writes into one topic, in batches; every record is copied into librdkafka's own memory.
pub struct Producer {
    topic: Topic,
    handle: Handle,
    outgoing: Vec<sys::rd_kafka_message_t>,
}

impl Producer {
    pub fn new(bootstrap: &str, topic: &str, settings: &[(&str, &str)]) -> Result<Producer> {
        let mut all = vec![("bootstrap.servers", bootstrap)];
        all.extend_from_slice(settings);
        let handle = Handle::new(sys::rd_kafka_type_t::RD_KAFKA_PRODUCER, &all)?;
        let topic = handle.topic(topic)?;
        Ok(Producer {
            topic,
            handle,
            outgoing: Vec::new(),
        })
    }

    /// Writes values into a partition; waits while librdkafka's buffer is full.
    pub fn write<'a>(&mut self, partition: i32, values: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        self.outgoing.clear();
        // With RD_KAFKA_MSG_F_COPY librdkafka only reads it.
        self.outgoing
            .extend(values.map(|value| record(partition, value.as_ptr().cast_mut().cast(), value.len())));
        // SAFETY: the values are borrowed for the whole call.
        unsafe { self.send(partition) }
    }

    /// Writes every message of a batch into the partition that it came from: one call for each run of
    /// messages of a partition.
    pub fn copy(&mut self, batch: &Batch<'_>) -> Result<()> {
        for run in batch.messages.chunk_by(|a, b| {
            // SAFETY: the batch owns its messages until it is dropped.
            unsafe { (**a).partition == (**b).partition }
        }) {
            self.outgoing.clear();
            let mut partition = 0;
            for message in run {
                // SAFETY: as above.
                let message = unsafe { &**message };
                partition = message.partition;
                self.outgoing
                    .push(record(partition, message.payload, message.len));
            }
            // SAFETY: the payloads live as long as the batch.
            unsafe { self.send(partition)? };
        }
        Ok(())
    }

    /// Hands `outgoing` to librdkafka.
    ///
    /// # Safety
    /// The payloads must be live.
    unsafe fn send(&mut self, partition: i32) -> Result<()> {
        let mut rest = &mut self.outgoing[..];
        while !rest.is_empty() {
            let count = i32::try_from(rest.len()).unwrap_or(i32::MAX);
            // SAFETY: the topic is live; `rest` has this many messages; the payloads are live (caller).
            let taken = unsafe {
                sys::rd_kafka_produce_batch(
                    self.topic.0.as_ptr(),
                    partition,
                    sys::RD_KAFKA_MSG_F_COPY,
                    rest.as_mut_ptr(),
                    count,
                )
            };
            // A full buffer refuses a message and all after it, so what was taken lies in front.
            let taken = usize::try_from(taken).unwrap_or(0);
            rest = &mut rest[taken..];
            let Some(refused) = rest.first() else { break };
            match refused.err {
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL => self.handle.serve(Duration::from_millis(1)),
                code => bail!("writing: {}", describe(code)),
            }
        }
        Ok(())
    }

    /// Lets librdkafka report deliveries.
    pub fn serve(&self, timeout: Duration) {
        self.handle.serve(timeout);
    }

    /// Waits until everything is acknowledged; an error if a message was not.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the handle is live.
        let code = unsafe { sys::rd_kafka_flush(self.handle.rk.as_ptr(), millis(ANSWER)) };
        check(code, "flushing")?;
        self.serve(Duration::ZERO);
        match self.handle.deliveries.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            n => bail!("{n} messages were not delivered"),
        }
    }

    /// Messages whose delivery was reported so far, well or not.
    pub fn reported(&self) -> u64 {
        self.handle.deliveries.reported.load(Ordering::Relaxed)
    }

    /// Once, before the first transaction.
    pub fn init_transactions(&self) -> Result<()> {
        // librdkafka looks for the coordinator at once, and if it is not connected yet, not again
        // for half a second: an answer to anything else means that it is.
        let mut metadata = ptr::null();
        // SAFETY: handle and topic are live; the answer is destroyed once, if there is one.
        let code = unsafe {
            let code = sys::rd_kafka_metadata(
                self.handle.rk.as_ptr(),
                0,
                self.topic.0.as_ptr(),
                &mut metadata,
                millis(ANSWER),
            );
            if !metadata.is_null() {
                sys::rd_kafka_metadata_destroy(metadata);
            }
            code
        };
        check(code, "asking for the topic's partitions")?;
        // SAFETY: the handle is live.
        let error = unsafe { sys::rd_kafka_init_transactions(self.handle.rk.as_ptr(), millis(ANSWER)) };
        check_error(error, "starting transactions")
    }

    pub fn begin(&self) -> Result<()> {
        // SAFETY: the handle is live.
        let error = unsafe { sys::rd_kafka_begin_transaction(self.handle.rk.as_ptr()) };
        check_error(error, "beginning a transaction")
    }

    /// Flushes and commits; an error if a message of the transaction was not delivered.
    pub fn commit(&self) -> Result<()> {
        // SAFETY: the handle is live.
        let error = unsafe { sys::rd_kafka_commit_transaction(self.handle.rk.as_ptr(), millis(ANSWER)) };
        check_error(error, "committing a transaction")
    }
}
