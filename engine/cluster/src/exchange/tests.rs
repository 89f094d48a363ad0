use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use millrace_connector_api::{ChangeBatch, Waker};
use millrace_core::JobId;
use millrace_runtime::Element;
use millrace_runtime::channel::{Receiver, Sender};
use millrace_runtime::wire::Wire;
use tokio::runtime::Runtime;

use super::*;

const CAPACITY: usize = 1 << 14;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]))
}

fn batch(from: i64, rows: i64) -> Element {
    let column: ArrayRef = Arc::new((from..from + rows).collect::<Int64Array>());
    Element::Batch(ChangeBatch::inserts(RecordBatch::try_new(schema(), vec![column]).unwrap()).into())
}

fn channel(from: u32, to: u32) -> ChannelId {
    ChannelId {
        attempt: AttemptId {
            job: JobId::from_name("job"),
            attempt: 1,
        },
        edge: 0,
        from,
        to,
    }
}

struct Pair {
    _runtime: Runtime,
    reading: Exchange,
    writing: Exchange,
}

impl Pair {
    fn new() -> Pair {
        let runtime = Runtime::new().unwrap();
        let listen = || Exchange::listen("127.0.0.1:0".parse().unwrap(), None, runtime.handle()).unwrap();
        let (reading, writing) = (listen(), listen());
        Pair {
            _runtime: runtime,
            reading,
            writing,
        }
    }

    fn connect(&self) -> Outgoing {
        self.writing.connect(&self.reading.address().to_string())
    }

    fn receiver(&self, channel: ChannelId, waker: &Waker) -> Receiver {
        self.reading
            .receiver(channel, CAPACITY, Wire::new(schema()), waker.clone())
    }
}

fn send_when_there_is_room(sender: &Sender, waker: &Waker, element: Element) {
    let begin = Instant::now();
    while !sender.has_room() {
        assert!(begin.elapsed() < Duration::from_secs(20), "no room");
        waker.wait(Duration::from_millis(50));
    }
    sender.send(element).unwrap();
}

fn next(receiver: &mut Receiver, waker: &Waker) -> Result<Element> {
    let begin = Instant::now();
    loop {
        if let Some(element) = receiver.try_receive()? {
            return Ok(element);
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing comes");
        waker.wait(Duration::from_millis(50));
    }
}

fn rows(element: &Element) -> Vec<i64> {
    match element {
        Element::Batch(batch) => batch
            .change
            .rows
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_sent_comes_in_order_and_no_more_than_there_is_room_for() {
    let pair = Pair::new();
    let (reader, writer) = (Waker::default(), Waker::default());
    let outgoing = pair.connect();
    let sender = outgoing.sender(channel(0, 0), Wire::new(schema()), writer.clone());
    // Nobody reads yet: no room for a batch; what is no batch waits.
    assert!(!sender.has_room());
    sender.send(Element::Watermark(7)).unwrap();
    let mut receiver = pair.receiver(channel(0, 0), &reader);
    const BATCHES: i64 = 500;
    const ROWS: i64 = 1000;
    let sending = std::thread::spawn(move || {
        let mut most = 0;
        for number in 0..BATCHES {
            send_when_there_is_room(&sender, &writer, batch(number * ROWS, ROWS));
            most = most.max(sender.queued_bytes());
        }
        sender.send(Element::EndOfInput).unwrap();
        most
    });
    assert!(matches!(
        next(&mut receiver, &reader).unwrap(),
        Element::Watermark(7)
    ));
    for number in 0..BATCHES {
        let element = next(&mut receiver, &reader).unwrap();
        assert_eq!(
            rows(&element),
            (number * ROWS..(number + 1) * ROWS).collect::<Vec<_>>()
        );
    }
    assert!(matches!(
        next(&mut receiver, &reader).unwrap(),
        Element::EndOfInput
    ));
    let most = sending.join().unwrap();
    assert!(
        most < 2 * CAPACITY + ROWS as usize * 8,
        "{most} bytes were on their way"
    );
}

#[test]
fn a_channel_that_nobody_reads_does_not_hold_another_of_its_connection() {
    let pair = Pair::new();
    let (reader, writer) = (Waker::default(), Waker::default());
    let outgoing = pair.connect();
    let wire = || Wire::new(schema());
    let stuck = outgoing.sender(channel(0, 0), wire(), writer.clone());
    let moving = outgoing.sender(channel(0, 1), wire(), writer.clone());
    let _unread = pair.receiver(channel(0, 0), &Waker::default());
    let mut receiver = pair.receiver(channel(0, 1), &reader);
    send_when_there_is_room(&stuck, &writer, batch(0, 10_000));
    for number in 0..100 {
        send_when_there_is_room(&moving, &writer, batch(number, 1000));
        assert_eq!(rows(&next(&mut receiver, &reader).unwrap())[0], number);
    }
    assert!(!stuck.has_room());
}

#[test]
fn the_end_of_a_connection_is_said_after_what_came_before() {
    let pair = Pair::new();
    let (reader, writer) = (Waker::default(), Waker::default());
    let outgoing = pair.connect();
    let sender = outgoing.sender(channel(0, 0), Wire::new(schema()), writer.clone());
    let mut receiver = pair.receiver(channel(0, 0), &reader);
    send_when_there_is_room(&sender, &writer, batch(0, 10));
    drop((sender, outgoing));
    assert_eq!(rows(&next(&mut receiver, &reader).unwrap()).len(), 10);
    let error = next(&mut receiver, &reader).unwrap_err();
    assert!(error.to_string().contains("has closed it"), "{error}");
}

#[test]
fn a_taskmanager_that_is_not_there_is_an_error_and_no_wait() {
    let pair = Pair::new();
    let writer = Waker::default();
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outgoing = pair.writing.connect(&gone.to_string());
    let sender = outgoing.sender(channel(0, 0), Wire::new(schema()), writer.clone());
    let begin = Instant::now();
    while !sender.has_room() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        writer.wait(Duration::from_millis(50));
    }
    let error = sender.send(batch(0, 1)).unwrap_err();
    assert!(error.to_string().contains(&gone.to_string()), "{error}");
}

#[test]
fn who_speaks_another_language_is_shut_out() {
    use std::io::{Read, Write};
    let pair = Pair::new();
    let mut stream = std::net::TcpStream::connect(pair.reading.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(
        stream.read(&mut [0; 16]).unwrap_or(0),
        0,
        "the connection is closed"
    );
}
