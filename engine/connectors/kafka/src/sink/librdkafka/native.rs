//! One librdkafka producer: the C calls, its callbacks, and when it is freed.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};
use millrace_kafka_wire::TokenSource;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::partitions::{Partitions, on_partition};

/// An error of librdkafka with its code.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: Code,
    pub text: String,
    pub is_fatal: bool,
    pub is_retriable: bool,
}

impl Failure {
    fn from_code(code: Code) -> Self {
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) }
            .to_string_lossy()
            .into_owned();
        Failure {
            code,
            text,
            is_fatal: false,
            is_retriable: false,
        }
    }

    /// Takes an error object; null is success.
    fn take(error: *mut sys::rd_kafka_error_t) -> Result<(), Failure> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: not null, so a live error object that is ours to destroy.
        unsafe {
            let failure = Failure {
                code: sys::rd_kafka_error_code(error),
                text: CStr::from_ptr(sys::rd_kafka_error_string(error))
                    .to_string_lossy()
                    .into_owned(),
                is_fatal: sys::rd_kafka_error_is_fatal(error) != 0,
                is_retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            };
            sys::rd_kafka_error_destroy(error);
            Err(failure)
        }
    }

    /// Whether somebody else has the transactional id now (or the coordinator timed us out).
    pub fn is_fenced(&self) -> bool {
        matches!(
            self.code,
            Code::RD_KAFKA_RESP_ERR__FENCED
                | Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
                | Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
        )
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_err2name(self.code)) }.to_string_lossy();
        write!(f, "{} ({name})", self.text)
    }
}

/// What callbacks write and the writer reads.
struct Shared {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    has_failed: AtomicBool,
    first_failure: Mutex<Option<Failure>>,
    /// Whether the writer sleeps until there are delivery reports.
    is_awaited: AtomicBool,
    partitions: Partitions,
    waker: Waker,
    tokens: Option<Arc<dyn TokenSource>>,
}

impl Shared {
    fn fail(&self, failure: Failure) {
        self.first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
        self.has_failed.store(true, Ordering::Release);
    }
}

/// A producer and its topic. librdkafka's calls are thread safe; `produced` belongs to the thread
/// that produces.
pub struct Native {
    client: *mut sys::rd_kafka_t,
    topic: *mut sys::rd_kafka_topic_t,
    events: *mut sys::rd_kafka_queue_t,
    shared: Arc<Shared>,
    produced: AtomicU64,
}

// SAFETY: librdkafka's handles may be used from any thread and from several at once.
unsafe impl Send for Native {}
// SAFETY: as above; everything else in it is atomic or behind a lock.
unsafe impl Sync for Native {}

impl Native {
    pub fn new(
        properties: &[(String, String)],
        topic: &str,
        tokens: Option<Arc<dyn TokenSource>>,
        waker: Waker,
    ) -> Result<Native> {
        let topic = c_string(topic)?;
        let shared = Arc::new(Shared {
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            first_failure: Mutex::new(None),
            is_awaited: AtomicBool::new(false),
            partitions: Partitions::new(),
            waker,
            tokens,
        });
        let opaque = Arc::as_ptr(&shared).cast_mut().cast::<c_void>();
        let mut message = [0 as c_char; 512];
        let conf = Conf(unsafe { sys::rd_kafka_conf_new() });
        for (key, value) in properties {
            let (name, text) = (c_string(key)?, c_string(value)?);
            // SAFETY: all pointers live through the call.
            let result = unsafe {
                sys::rd_kafka_conf_set(
                    conf.0,
                    name.as_ptr(),
                    text.as_ptr(),
                    message.as_mut_ptr(),
                    message.len(),
                )
            };
            if result != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err(
                    Error::user(format!("the Kafka client does not take the property '{key}'"))
                        .with_detail(text_of(&message)),
                );
            }
        }
        // SAFETY: the callbacks have librdkafka's signatures; `opaque` outlives the client, since
        // `shared` is dropped after `Drop` has destroyed it.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0, opaque);
            sys::rd_kafka_conf_set_dr_msg_cb(conf.0, Some(on_delivery));
            sys::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(conf.0, Some(on_log));
            if shared.tokens.is_some() {
                sys::rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf.0, Some(on_token));
                sys::rd_kafka_conf_enable_sasl_queue(conf.0, 1);
            }
            let client = sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                conf.0,
                message.as_mut_ptr(),
                message.len(),
            );
            if client.is_null() {
                return Err(Error::user("a Kafka producer could not be made").with_detail(text_of(&message)));
            }
            std::mem::forget(conf);
            let mut native = Native {
                client,
                topic: ptr::null_mut(),
                events: ptr::null_mut(),
                shared,
                produced: AtomicU64::new(0),
            };
            if native.shared.tokens.is_some() {
                Failure::take(sys::rd_kafka_sasl_background_callbacks_enable(client)).map_err(|e| {
                    Error::internal("tokens cannot be refreshed in the background").with_detail(e.to_string())
                })?;
            }
            let topic_conf = sys::rd_kafka_default_topic_conf_dup(client);
            sys::rd_kafka_topic_conf_set_partitioner_cb(topic_conf, Some(on_partition));
            let partitions = ptr::from_ref(&native.shared.partitions);
            sys::rd_kafka_topic_conf_set_opaque(topic_conf, partitions.cast_mut().cast());
            native.topic = sys::rd_kafka_topic_new(client, topic.as_ptr(), topic_conf);
            if native.topic.is_null() {
                let failure = Failure::from_code(sys::rd_kafka_last_error());
                return Err(Error::user("the topic cannot be written").with_detail(failure.to_string()));
            }
            native.events = sys::rd_kafka_queue_get_main(client);
            sys::rd_kafka_queue_cb_event_enable(native.events, Some(on_event), opaque);
            Ok(native)
        }
    }

    pub fn partitions(&self) -> &Partitions {
        &self.shared.partitions
    }

    /// Runs the callbacks that are due.
    pub fn poll(&self) {
        // SAFETY: the client lives as long as `self`.
        unsafe { sys::rd_kafka_poll(self.client, 0) };
    }

    /// Sends what lingers and runs callbacks until all is acknowledged, for at most `timeout_ms`.
    /// Blocks.
    pub fn flush(&self, timeout_ms: i32) {
        // SAFETY: as above. What is not acknowledged after it is seen by `in_flight`.
        unsafe { sys::rd_kafka_flush(self.client, timeout_ms) };
    }

    /// From now on delivery reports wake the subtask. Poll after it, not before.
    pub fn await_events(&self) {
        self.shared.is_awaited.store(true, Ordering::SeqCst);
    }

    pub fn stop_awaiting(&self) {
        self.shared.is_awaited.store(false, Ordering::SeqCst);
    }

    /// Records taken and not acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.produced()
            - self
                .shared
                .acknowledged
                .load(Ordering::Acquire)
                .min(self.produced())
    }

    pub fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    /// Records that were not delivered and not counted before.
    pub fn take_failed(&self) -> u64 {
        self.shared.failed.swap(0, Ordering::AcqRel)
    }

    /// The first record that was not delivered, or why the client can go no further.
    pub fn failure(&self) -> Option<Failure> {
        if !self.shared.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.shared
            .first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn fatal(&self) -> Option<Failure> {
        let mut message = [0 as c_char; 512];
        let code = unsafe { sys::rd_kafka_fatal_error(self.client, message.as_mut_ptr(), message.len()) };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        Some(Failure {
            code,
            text: text_of(&message),
            is_fatal: true,
            is_retriable: false,
        })
    }

    /// Enqueues records that have neither headers nor timestamps; gives how many were taken before
    /// the queue was full. Payloads are copied.
    pub fn produce_batch(
        &self,
        partition: i32,
        messages: &mut [sys::rd_kafka_message_t],
    ) -> Result<usize, Failure> {
        // SAFETY: payloads and keys that the messages point to live through the call; with F_COPY
        // librdkafka keeps none of them.
        unsafe {
            sys::rd_kafka_produce_batch(
                self.topic,
                partition,
                sys::RD_KAFKA_MSG_F_COPY,
                messages.as_mut_ptr(),
                messages.len() as c_int,
            );
        }
        let refused = messages
            .iter()
            .position(|m| m.err != Code::RD_KAFKA_RESP_ERR_NO_ERROR);
        let taken = refused.unwrap_or(messages.len());
        self.produced.fetch_add(taken as u64, Ordering::Relaxed);
        match refused.map(|i| messages[i].err) {
            None | Some(Code::RD_KAFKA_RESP_ERR__QUEUE_FULL) => Ok(taken),
            Some(code) => Err(self.fatal().unwrap_or_else(|| Failure::from_code(code))),
        }
    }

    /// Enqueues one record with all that it can have; false if the queue is full.
    pub fn produce(&self, partition: i32, record: &Record<'_>) -> Result<bool, Failure> {
        let vu = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
        let memory = |bytes: Option<&[u8]>| sys::rd_kafka_vu_s__bindgen_ty_1 {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: pointer(bytes),
                size: bytes.map_or(0, <[u8]>::len),
            },
        };
        // SAFETY: every pointer lives through the call and the payloads are copied. A list of headers
        // is librdkafka's once the call has succeeded, else still ours.
        unsafe {
            let mut fields = vec![
                vu(
                    sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { rkt: self.topic },
                ),
                vu(
                    sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { i32_: partition },
                ),
                vu(
                    sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                    sys::rd_kafka_vu_s__bindgen_ty_1 {
                        i: sys::RD_KAFKA_MSG_F_COPY,
                    },
                ),
                vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, memory(record.value)),
                vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, memory(record.key)),
                vu(
                    sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                    sys::rd_kafka_vu_s__bindgen_ty_1 {
                        i64_: record.timestamp,
                    },
                ),
            ];
            let headers = if record.headers.is_empty() {
                ptr::null_mut()
            } else {
                let headers = sys::rd_kafka_headers_new(record.headers.len());
                for (name, value) in record.headers {
                    // A header's null value is a null pointer; its empty value is not.
                    sys::rd_kafka_header_add(
                        headers,
                        name.as_ptr().cast(),
                        name.len() as isize,
                        pointer(value.as_deref()),
                        value.as_ref().map_or(0, |v| v.len() as isize),
                    );
                }
                fields.push(vu(
                    sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { headers },
                ));
                headers
            };
            match Failure::take(sys::rd_kafka_produceva(
                self.client,
                fields.as_ptr(),
                fields.len(),
            )) {
                Ok(()) => {
                    self.produced.fetch_add(1, Ordering::Relaxed);
                    Ok(true)
                }
                Err(failure) => {
                    if !headers.is_null() {
                        sys::rd_kafka_headers_destroy(headers);
                    }
                    if failure.code == Code::RD_KAFKA_RESP_ERR__QUEUE_FULL {
                        return Ok(false);
                    }
                    Err(self.fatal().unwrap_or(failure))
                }
            }
        }
    }

    /// Waits until a broker has answered, for at most `timeout_ms`. The coordinator is looked for at
    /// once where one is connected; where none is, librdkafka waits half a second before it looks.
    pub fn await_broker(&self, timeout_ms: i32) {
        let mut metadata = ptr::null();
        // SAFETY: client and topic live; what a success gives is freed here, once.
        unsafe {
            let code = sys::rd_kafka_metadata(self.client, 0, self.topic, &mut metadata, timeout_ms);
            if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                sys::rd_kafka_metadata_destroy(metadata);
            }
        }
    }

    /// Blocks for at most `timeout_ms`; may be called again after a retriable error.
    pub fn init_transactions(&self, timeout_ms: i32) -> Result<(), Failure> {
        Failure::take(unsafe { sys::rd_kafka_init_transactions(self.client, timeout_ms) })
    }

    pub fn begin_transaction(&self) -> Result<(), Failure> {
        Failure::take(unsafe { sys::rd_kafka_begin_transaction(self.client) })
    }

    /// Blocks for at most `timeout_ms`; may be called again after a retriable error.
    pub fn commit_transaction(&self, timeout_ms: i32) -> Result<(), Failure> {
        Failure::take(unsafe { sys::rd_kafka_commit_transaction(self.client, timeout_ms) })
    }
}

impl Drop for Native {
    /// May block for some moments. Ends no transaction.
    fn drop(&mut self) {
        // SAFETY: nobody else has the handles; they are destroyed once, children first.
        unsafe {
            if !self.events.is_null() {
                sys::rd_kafka_queue_cb_event_enable(self.events, None, ptr::null_mut());
                sys::rd_kafka_queue_destroy(self.events);
            }
            if !self.topic.is_null() {
                sys::rd_kafka_topic_destroy(self.topic);
            }
            sys::rd_kafka_destroy(self.client);
        }
    }
}

/// A record to `Native::produce`.
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the epoch; 0 is now.
    pub timestamp: i64,
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// A message for `Native::produce_batch`.
pub fn message(key: Option<&[u8]>, value: Option<&[u8]>) -> sys::rd_kafka_message_t {
    sys::rd_kafka_message_t {
        err: Code::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: 0,
        payload: pointer(value),
        len: value.map_or(0, <[u8]>::len),
        key: pointer(key),
        key_len: key.map_or(0, <[u8]>::len),
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// Null for null only: an empty payload has an address.
fn pointer(bytes: Option<&[u8]>) -> *mut c_void {
    bytes.map_or(ptr::null_mut(), |b| b.as_ptr().cast_mut().cast())
}

struct Conf(*mut sys::rd_kafka_conf_t);

impl Drop for Conf {
    fn drop(&mut self) {
        unsafe { sys::rd_kafka_conf_destroy(self.0) };
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::user(format!("a Kafka property holds a null byte: '{text}'")))
}

fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

// Callbacks. `opaque` is the `Shared` of a live `Native`. None of them may unwind into C, and none
// calls anything that can.

unsafe extern "C" fn on_delivery(
    _client: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    let (shared, code) = unsafe { (&*opaque.cast::<Shared>(), (*message).err) };
    if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        shared.acknowledged.fetch_add(1, Ordering::AcqRel);
    } else {
        shared.failed.fetch_add(1, Ordering::AcqRel);
        shared.fail(Failure::from_code(code));
    }
}

unsafe extern "C" fn on_error(
    client: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    let shared = unsafe { &*opaque.cast::<Shared>() };
    let reason = unsafe { CStr::from_ptr(reason) }.to_string_lossy();
    if code != Code::RD_KAFKA_RESP_ERR__FATAL as c_int {
        // librdkafka goes on by itself; deliveries and transactions tell if it could not.
        tracing::warn!(%reason, "Kafka producer");
        return;
    }
    let mut message = [0 as c_char; 512];
    let code = unsafe { sys::rd_kafka_fatal_error(client, message.as_mut_ptr(), message.len()) };
    shared.fail(Failure {
        code,
        text: text_of(&message),
        is_fatal: true,
        is_retriable: false,
    });
    shared.waker.wake();
}

unsafe extern "C" fn on_log(
    _client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    let (facility, text) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(text)) };
    let (facility, text) = (facility.to_string_lossy(), text.to_string_lossy());
    // Levels of syslog. What is an error to librdkafka becomes one of ours where it matters.
    match level {
        0..=4 => tracing::warn!(%facility, %text, "librdkafka"),
        5..=6 => tracing::info!(%facility, %text, "librdkafka"),
        _ => tracing::debug!(%facility, %text, "librdkafka"),
    }
}

/// The event queue is no longer empty. Called with librdkafka's locks held: it only wakes.
unsafe extern "C" fn on_event(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    let shared = unsafe { &*opaque.cast::<Shared>() };
    if shared.is_awaited.load(Ordering::SeqCst) {
        shared.waker.wake();
    }
}

/// A token is needed. Called from librdkafka's own thread, which may wait.
unsafe extern "C" fn on_token(client: *mut sys::rd_kafka_t, _config: *const c_char, opaque: *mut c_void) {
    let shared = unsafe { &*opaque.cast::<Shared>() };
    let Some(tokens) = &shared.tokens else { return };
    let given = tokens.token().map_err(|e| e.to_string()).and_then(|token| {
        let failed = |e: std::ffi::NulError| e.to_string();
        let value = CString::new(token.value).map_err(failed)?;
        let principal = CString::new(token.principal).map_err(failed)?;
        let mut extensions = Vec::new();
        for (key, value) in token.extensions {
            extensions.push(CString::new(key).map_err(failed)?);
            extensions.push(CString::new(value).map_err(failed)?);
        }
        let mut pointers: Vec<*const c_char> = extensions.iter().map(|e| e.as_ptr()).collect();
        let mut message = [0 as c_char; 512];
        let code = unsafe {
            sys::rd_kafka_oauthbearer_set_token(
                client,
                value.as_ptr(),
                token.expires_at,
                principal.as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            Err(text_of(&message))
        }
    });
    if let Err(reason) = given {
        let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(client, reason.as_ptr()) };
    }
}
