//! The port for data: who gets in, and that rows cannot be read on the way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use millrace_cluster::exchange::{AttemptId, ChannelId, Exchange};
use millrace_cluster::tls::Cluster;
use millrace_connector_api::{ChangeBatch, Waker};
use millrace_core::{Configuration, JobId, Result};
use millrace_runtime::Element;
use millrace_runtime::channel::Receiver;
use millrace_runtime::wire::Wire;
use millrace_testkit::tls::Identity;
use tokio::runtime::Runtime;

use super::stores::{CERTIFICATES, with_identity};
use super::tap::Tap;
use super::{logs, openssl, wait_for};

const CAPACITY: usize = 1 << 16;
const ROW: &str = "attack at dawn";
/// How a writer begins.
const HELLO: &[u8] = b"MLRX\x01";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("order", DataType::Utf8, false)]))
}

fn channel() -> ChannelId {
    ChannelId {
        attempt: AttemptId {
            job: JobId::from_name("job"),
            attempt: 1,
        },
        edge: 0,
        from: 0,
        to: 0,
    }
}

/// None: without TLS.
fn exchange(runtime: &Runtime, identity: Option<&Identity>) -> Exchange {
    logs::keep();
    let mut config = Configuration::default();
    if let Some(identity) = identity {
        with_identity(&mut config, identity);
    }
    let tls = Cluster::from_config(&config).unwrap().data;
    Exchange::listen("127.0.0.1:0".parse().unwrap(), tls, runtime.handle()).unwrap()
}

/// Sends a row from one to the other, by way of `address`: what is read.
fn send(from: &Exchange, to: &Exchange, address: &str) -> Result<String> {
    let (writer, reader) = (Waker::default(), Waker::default());
    let mut receiver = to.receiver(channel(), CAPACITY, Wire::new(schema()), reader);
    let outgoing = from.connect(address);
    let sender = outgoing.sender(channel(), Wire::new(schema()), writer);
    wait_for("room, or an error", || sender.has_room());
    let column: ArrayRef = Arc::new(StringArray::from(vec![ROW]));
    let batch = RecordBatch::try_new(schema(), vec![column]).unwrap();
    sender.send(Element::Batch(ChangeBatch::inserts(batch).into()))?;
    let row = receive(&mut receiver)?;
    to.forget(channel().attempt);
    Ok(row)
}

fn receive(receiver: &mut Receiver) -> Result<String> {
    let mut received = None;
    wait_for("the row", || {
        received = receiver.try_receive().transpose();
        received.is_some()
    });
    match received.unwrap()? {
        Element::Batch(batch) => {
            let rows = &batch.change.rows;
            Ok(rows.column(0).as_string::<i32>().value(0).to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_row_cannot_be_read_on_its_way() {
    let runtime = Runtime::new().unwrap();
    for (identity, is_read) in [(None, true), (Some(&CERTIFICATES.ours), false)] {
        let [from, to] = [(), ()].map(|()| exchange(&runtime, identity));
        let tap = Tap::new();
        tap.lead_to(to.address());
        assert_eq!(send(&from, &to, &tap.address.to_string()).unwrap(), ROW);
        assert!(tap.count() > ROW.len());
        assert_eq!(tap.has_seen(ROW.as_bytes()), is_read);
        assert_eq!(tap.has_seen(HELLO), is_read);
    }
}

#[test]
fn writers_that_are_not_vouched_for_are_refused() {
    let runtime = Runtime::new().unwrap();
    let reading = exchange(&runtime, Some(&CERTIFICATES.ours));
    let address = reading.address().to_string();
    let data = ["WARN", "port=\"data\"", "127.0.0.1:"];
    for (identity, why) in [
        (
            Some(&CERTIFICATES.foreign),
            "its certificate is not in the trust store",
        ),
        (Some(&CERTIFICATES.expired), "its certificate has expired"),
        (None, "it does not speak TLS"),
    ] {
        let error = send(&exchange(&runtime, identity), &reading, &address).unwrap_err();
        assert!(error.to_string().contains(&address), "{error}");
        assert!(logs::have(&[&data[..], &[why]].concat()), "{why}");
        if identity.is_some() {
            assert!(
                error.to_string().contains("it refuses this side's certificate"),
                "{error}"
            );
        }
        reading.forget(channel().attempt);
    }
    assert_eq!(
        send(&exchange(&runtime, Some(&CERTIFICATES.ours)), &reading, &address).unwrap(),
        ROW
    );
}

#[test]
fn readers_that_are_not_vouched_for_are_sent_nothing() {
    let runtime = Runtime::new().unwrap();
    let writing = exchange(&runtime, Some(&CERTIFICATES.ours));
    for (identity, why) in [
        (
            Some(&CERTIFICATES.foreign),
            "its certificate is not in the trust store",
        ),
        (Some(&CERTIFICATES.expired), "its certificate has expired"),
        (None, "closed"),
    ] {
        let reading = exchange(&runtime, identity);
        let tap = Tap::new();
        tap.lead_to(reading.address());
        let error = send(&writing, &reading, &tap.address.to_string())
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
        assert!(!tap.has_seen(HELLO) && !tap.has_seen(ROW.as_bytes()));
    }
}

/// HELLO, then that the channel is opened as number 7.
fn open() -> Vec<u8> {
    let ChannelId {
        attempt,
        edge,
        from,
        to,
    } = channel();
    let mut bytes = HELLO.to_vec();
    bytes.push(0);
    bytes.extend(7u32.to_le_bytes());
    bytes.extend(attempt.job.0);
    bytes.extend(attempt.attempt.to_le_bytes());
    for part in [edge, from, to] {
        bytes.extend(part.to_le_bytes());
    }
    bytes
}

#[test]
fn openssl_gets_in_with_the_right_certificate_only() {
    let runtime = Runtime::new().unwrap();
    let reading = exchange(&runtime, Some(&CERTIFICATES.ours));
    for protocol in ["-tls1_2", "-tls1_3"] {
        let _reader = reading.receiver(channel(), CAPACITY, Wire::new(schema()), Waker::default());
        let ask = |identity| openssl::ask(reading.address(), identity, protocol, &open());
        for (identity, alert) in [
            (None, "alert"),
            (Some(&CERTIFICATES.foreign), "alert unknown ca"),
            (Some(&CERTIFICATES.expired), "alert certificate expired"),
        ] {
            let said = ask(identity).unwrap_err();
            assert!(said.contains(alert), "{protocol}: {said}");
        }
        let mut opened = vec![2];
        opened.extend(7u32.to_le_bytes());
        opened.extend((CAPACITY as u64).to_le_bytes());
        assert_eq!(ask(Some(&CERTIFICATES.ours)).unwrap(), opened, "{protocol}");
        reading.forget(channel().attempt);
    }
    assert!(logs::have(&["port=\"data\"", "it shows no certificate"]));
}

#[test]
fn what_is_said_plainly_is_not_answered() {
    let runtime = Runtime::new().unwrap();
    let reading = exchange(&runtime, Some(&CERTIFICATES.ours));
    let _reader = reading.receiver(channel(), CAPACITY, Wire::new(schema()), Waker::default());
    let mut plain = TcpStream::connect(reading.address()).unwrap();
    plain.write_all(&open()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(plain.read(&mut [0; 16]).unwrap_or(0), 0);
    let peer = plain.local_addr().unwrap().to_string();
    assert!(logs::have(&[&peer, "port=\"data\"", "it does not speak TLS"]));
}
