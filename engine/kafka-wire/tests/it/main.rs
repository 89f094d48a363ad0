//! Retries and framing against a broker whose every answer is written down in the test.

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::describe_transactions_response::TransactionState as DescribedState;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    BrokerId, DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    ProducerId, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use millrace_core::ErrorKind;
use millrace_kafka_wire::{
    Admin, ClientConfig, END_TXN_V1, EndTxn, ResponseError, Sasl, Security, Token, TokenSource, Transaction,
    TransactionState,
};

use scripted::{Answer, Asked, Broker};

fn config(broker: &Broker) -> ClientConfig {
    ClientConfig {
        bootstrap: vec![broker.address()],
        client_id: "test".to_owned(),
        security: Security::default(),
        request_timeout: Duration::from_secs(20),
        call_timeout: Duration::from_secs(60),
    }
}

fn admin(broker: &Broker) -> Admin {
    Admin::new(config(broker)).unwrap()
}

fn transaction() -> Transaction {
    Transaction {
        transactional_id: "tx".to_owned(),
        producer_id: 7,
        epoch: 3,
    }
}

/// Says for every asked id that `port` is its coordinator.
fn coordinator(asked: &Asked, port: i32) -> Answer {
    let request: FindCoordinatorRequest = asked.decode();
    let mut response = FindCoordinatorResponse::default();
    if asked.version >= 4 {
        response.coordinators = request
            .coordinator_keys
            .iter()
            .map(|key| {
                Coordinator::default()
                    .with_key(key.clone())
                    .with_node_id(BrokerId(1))
                    .with_host(StrBytes::from_static_str("127.0.0.1"))
                    .with_port(port)
            })
            .collect();
    } else {
        response.host = StrBytes::from_static_str("127.0.0.1");
        response.port = port;
    }
    asked.reply(&response)
}

fn end_txn(asked: &Asked, code: i16) -> Answer {
    let request: EndTxnRequest = asked.decode();
    assert_eq!(
        (
            &*request.transactional_id.0,
            request.producer_id.0,
            request.producer_epoch
        ),
        ("tx", 7, 3)
    );
    assert!(request.committed);
    asked.reply(&EndTxnResponse::default().with_error_code(code))
}

/// A broker that coordinates everything and answers EndTxn with these codes, the last one for ever.
async fn ending(codes: &'static [i16]) -> Broker {
    let next = AtomicUsize::new(0);
    Broker::start(move |asked, port| match asked.key {
        10 => coordinator(asked, port),
        26 => end_txn(
            asked,
            codes[next.fetch_add(1, Ordering::SeqCst).min(codes.len() - 1)],
        ),
        key => panic!("asked for {key}"),
    })
    .await
}

#[tokio::test]
async fn a_repeated_commit_is_done() {
    let broker = ending(&[0]).await;
    let admin = admin(&broker);
    for _ in 0..2 {
        assert_eq!(
            admin.end_txn(&transaction(), END_TXN_V1, true).await.unwrap(),
            EndTxn::Done
        );
    }
    // One look-up and one connection serve both.
    assert_eq!(broker.asked(10), 1);
    assert_eq!(broker.connections(), 1);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    // Concurrent transactions, loading, not available, not coordinator, request timed out.
    let broker = ending(&[51, 51, 14, 15, 16, 7, 0]).await;
    let done = admin(&broker)
        .end_txn(&transaction(), END_TXN_V1, true)
        .await
        .unwrap();
    assert_eq!(done, EndTxn::Done);
    assert_eq!(broker.asked(26), 7);
}

#[tokio::test]
async fn what_is_final_is_reported() {
    for (codes, outcome) in [
        (&[90][..], EndTxn::Fenced),
        (&[47], EndTxn::Fenced),
        (&[48], EndTxn::InvalidState),
        (&[49], EndTxn::UnknownProducer),
        (&[105], EndTxn::UnknownProducer),
    ] {
        let broker = ending(Box::leak(codes.to_vec().into_boxed_slice())).await;
        assert_eq!(
            admin(&broker)
                .end_txn(&transaction(), END_TXN_V1, true)
                .await
                .unwrap(),
            outcome
        );
        assert_eq!(broker.asked(26), 1, "{outcome:?} is not tried again");
    }
    // Not allowed.
    let broker = ending(&[53]).await;
    let e = admin(&broker)
        .end_txn(&transaction(), END_TXN_V1, true)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::External);
    assert!(e.to_string().contains("transaction 'tx'"), "{e}");
}

#[tokio::test]
async fn a_coordinator_that_moved_is_followed() {
    let new = ending(&[51, 0]).await;
    let new_port = new.port();
    let lookups = AtomicUsize::new(0);
    let old = Broker::start(move |asked, port| match asked.key {
        10 if lookups.fetch_add(1, Ordering::SeqCst) == 0 => coordinator(asked, port),
        10 => coordinator(asked, new_port),
        26 => end_txn(asked, 16),
        key => panic!("asked for {key}"),
    })
    .await;
    assert_eq!(
        admin(&old)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap(),
        EndTxn::Done
    );
    assert_eq!((old.asked(26), new.asked(26)), (1, 2));
}

#[tokio::test]
async fn a_coordinator_that_died_is_looked_up_again() {
    let new = ending(&[0]).await;
    let new_port = new.port();
    // Nothing listens on a port that was just given back.
    let dead_port = i32::from(
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port(),
    );
    let lookups = AtomicUsize::new(0);
    let bootstrap = Broker::start(move |asked, _| match lookups.fetch_add(1, Ordering::SeqCst) {
        0 => coordinator(asked, dead_port),
        _ => coordinator(asked, new_port),
    })
    .await;
    assert_eq!(
        admin(&bootstrap)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap(),
        EndTxn::Done
    );
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_call_is_made_again() {
    let calls = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, port| match asked.key {
        10 => coordinator(asked, port),
        // The request may have been carried out: it is repeated, which EndTxn allows.
        _ if calls.fetch_add(1, Ordering::SeqCst) < 2 => Answer::Close,
        _ => end_txn(asked, 0),
    })
    .await;
    assert_eq!(
        admin(&broker)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap(),
        EndTxn::Done
    );
    assert_eq!(broker.asked(26), 3);
}

#[tokio::test]
async fn a_broker_that_never_answers_is_given_up() {
    let broker = Broker::start(|asked, port| match asked.key {
        10 => coordinator(asked, port),
        _ => Answer::Never,
    })
    .await;
    let config = ClientConfig {
        request_timeout: Duration::from_millis(50),
        call_timeout: Duration::from_millis(400),
        ..config(&broker)
    };
    let e = Admin::new(config)
        .unwrap()
        .end_txn(&transaction(), END_TXN_V1, true)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::External);
    assert!(
        e.to_string().contains("did not commit transaction 'tx' in time"),
        "{e}"
    );
}

#[tokio::test]
async fn handles_of_version_one_are_never_ended_in_version_five() {
    let versions = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = versions.clone();
    let broker = Broker::start(move |asked, port| match asked.key {
        10 => coordinator(asked, port),
        _ => {
            seen.lock().unwrap().push(asked.version);
            end_txn(asked, 0)
        }
    })
    .await;
    let admin = admin(&broker);
    admin.end_txn(&transaction(), END_TXN_V1, true).await.unwrap();
    admin.end_txn(&transaction(), 5, true).await.unwrap();
    assert_eq!(*versions.lock().unwrap(), [4, 5]);
}

#[tokio::test]
async fn garbage_is_refused_and_the_connection_is_left() {
    type Spoil = fn(&mut BytesMut);
    let spoils: [(&str, Spoil); 3] = [
        ("correlation id", |frame| frame[7] ^= 1),
        ("its length is", |frame| {
            frame[..4].copy_from_slice(&i32::MAX.to_be_bytes())
        }),
        ("malformed", |frame| {
            frame.truncate(9);
            frame[..4].copy_from_slice(&5_u32.to_be_bytes());
        }),
    ];
    for (said, spoil) in spoils {
        let broker = Broker::start(move |asked, port| match asked.key {
            10 => coordinator(asked, port),
            _ => match end_txn(asked, 0) {
                Answer::Frame(mut frame) => {
                    spoil(&mut frame);
                    Answer::Frame(frame)
                }
                other => other,
            },
        })
        .await;
        let e = admin(&broker)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap_err();
        assert!(e.to_string().contains(said), "{said}: {e}");
    }
}

#[tokio::test]
async fn brokers_that_look_up_one_id_a_request() {
    let broker = Broker::start_with(&[(10, 0, 3), (18, 0, 3), (26, 0, 3)], |asked, port| {
        match asked.key {
            10 => coordinator(asked, port),
            _ => end_txn(asked, 0),
        }
    })
    .await;
    assert_eq!(
        admin(&broker)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap(),
        EndTxn::Done
    );
}

#[tokio::test]
async fn brokers_too_old_for_our_first_question_are_asked_in_version_zero() {
    let broker = Broker::start_with(&[(10, 0, 2), (18, 0, 2), (26, 0, 1)], |asked, port| {
        match asked.key {
            10 => coordinator(asked, port),
            _ => end_txn(asked, 0),
        }
    })
    .await;
    assert_eq!(
        admin(&broker)
            .end_txn(&transaction(), END_TXN_V1, true)
            .await
            .unwrap(),
        EndTxn::Done
    );
    assert_eq!(broker.asked(18), 2);
}

#[tokio::test]
async fn a_request_that_the_broker_does_not_know_is_named() {
    let broker = Broker::start_with(&[(10, 0, 4), (18, 0, 3)], coordinator).await;
    let e = admin(&broker)
        .describe_transactions(&["tx".to_owned()])
        .await
        .unwrap_err();
    assert!(e.to_string().contains("DescribeTransactions"), "{e}");
}

#[tokio::test]
async fn ids_are_described_in_batches_and_asked_again_one_by_one() {
    let rounds = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, port| match asked.key {
        10 => coordinator(asked, port),
        65 => {
            let request: DescribeTransactionsRequest = asked.decode();
            let is_first = rounds.fetch_add(1, Ordering::SeqCst) == 0;
            let states = request
                .transactional_ids
                .iter()
                .map(|id| {
                    let code = match &*id.0 {
                        "unknown" => ResponseError::TransactionalIdNotFound.code(),
                        "moving" if is_first => ResponseError::NotCoordinator.code(),
                        _ => 0,
                    };
                    DescribedState::default()
                        .with_error_code(code)
                        .with_transactional_id(id.clone())
                        .with_transaction_state(StrBytes::from_static_str("Ongoing"))
                        .with_producer_id(ProducerId(9))
                        .with_transaction_start_time_ms(12)
                })
                .collect();
            asked.reply(&DescribeTransactionsResponse::default().with_transaction_states(states))
        }
        key => panic!("asked for {key}"),
    })
    .await;
    let ids = ["moving", "unknown", "still"].map(str::to_owned);
    let known = admin(&broker).describe_transactions(&ids).await.unwrap();
    assert_eq!(known.keys().collect::<Vec<_>>(), ["moving", "still"]);
    assert_eq!(known["still"].state, TransactionState::Ongoing);
    assert_eq!((known["still"].producer_id, known["still"].start_time), (9, 12));
    assert_eq!((broker.asked(65), broker.asked(10)), (2, 2));
}

#[tokio::test]
async fn fencing_waits_for_the_abort_that_it_caused() {
    let calls = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, port| match asked.key {
        10 => coordinator(asked, port),
        22 => {
            let request: InitProducerIdRequest = asked.decode();
            assert_eq!((request.producer_id.0, request.producer_epoch), (-1, -1));
            let code = if calls.fetch_add(1, Ordering::SeqCst) < 3 {
                51
            } else {
                0
            };
            let response = InitProducerIdResponse::default().with_error_code(code);
            asked.reply(&response.with_producer_id(ProducerId(7)).with_producer_epoch(4))
        }
        key => panic!("asked for {key}"),
    })
    .await;
    let taken = admin(&broker)
        .init_producer_id("tx", Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(taken, (7, 4));
    assert_eq!(broker.asked(22), 4);
}

/// What a client with these credentials is told, whom the broker turns away.
async fn refused(broker: &Broker, sasl: Sasl) -> millrace_core::Error {
    let mut config = config(broker);
    config.security.sasl = Some(sasl);
    assert!(!format!("{config:?}").contains("secret"), "secrets are not shown");
    Admin::new(config)
        .unwrap()
        .end_txn(&transaction(), END_TXN_V1, true)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_tried_again() {
    let broker = Broker::start(|asked, _| match asked.key {
        17 => {
            let request: SaslHandshakeRequest = asked.decode();
            assert_eq!(&*request.mechanism, "PLAIN");
            asked.reply(&SaslHandshakeResponse::default())
        }
        36 => {
            let request: SaslAuthenticateRequest = asked.decode();
            assert_eq!(&request.auth_bytes[..], b"\0user\0secret");
            let response = SaslAuthenticateResponse::default()
                .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                .with_error_message(Some(StrBytes::from_static_str("who are you?")));
            asked.reply(&response)
        }
        key => panic!("asked for {key}"),
    })
    .await;
    let (username, password) = ("user".to_owned(), "secret".to_owned());
    let e = refused(&broker, Sasl::Plain { username, password }).await;
    assert!(e.to_string().contains("who are you?"), "{e}");
    assert!(!e.to_string().contains("secret"), "{e}");
    assert_eq!(broker.asked(36), 1);
}

struct OneToken;

impl TokenSource for OneToken {
    fn token(&self) -> millrace_core::Result<Token> {
        Ok(Token {
            value: "t0ken".to_owned(),
            principal: "user".to_owned(),
            expires_at: i64::MAX,
            extensions: Vec::new(),
        })
    }
}

/// RFC 7628, 3.2.3: the reason comes first and is acknowledged, the error follows.
#[tokio::test]
async fn a_token_that_is_refused_is_not_tried_again() {
    let messages = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, _| match asked.key {
        17 => asked.reply(&SaslHandshakeResponse::default()),
        36 => {
            let request: SaslAuthenticateRequest = asked.decode();
            let response = SaslAuthenticateResponse::default();
            match messages.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    assert_eq!(&request.auth_bytes[..], b"n,,\x01auth=Bearer t0ken\x01\x01");
                    let reason = bytes::Bytes::from_static(b"{\"status\":\"invalid_token\"}");
                    asked.reply(&response.with_auth_bytes(reason))
                }
                _ => {
                    assert_eq!(&request.auth_bytes[..], b"\x01");
                    asked.reply(
                        &response
                            .with_error_code(ResponseError::SaslAuthenticationFailed.code())
                            .with_error_message(Some(StrBytes::from_static_str("not you"))),
                    )
                }
            }
        }
        key => panic!("asked for {key}"),
    })
    .await;
    let e = refused(&broker, Sasl::OauthBearer(Arc::new(OneToken))).await;
    assert!(e.to_string().contains("not you"), "{e}");
    assert!(!e.to_string().contains("t0ken"), "{e}");
    assert_eq!((broker.asked(36), broker.connections()), (2, 1));
}

/// A broker that says nothing more than the reason is understood too.
#[tokio::test]
async fn a_refusal_without_an_error_is_one() {
    let broker = Broker::start(|asked, _| match asked.key {
        17 => asked.reply(&SaslHandshakeResponse::default()),
        36 => {
            let reason = bytes::Bytes::from_static(b"{\"status\":\"invalid_token\"}");
            asked.reply(&SaslAuthenticateResponse::default().with_auth_bytes(reason))
        }
        key => panic!("asked for {key}"),
    })
    .await;
    let e = refused(&broker, Sasl::OauthBearer(Arc::new(OneToken))).await;
    assert!(e.to_string().contains("invalid_token"), "{e}");
    assert_eq!((broker.asked(36), broker.connections()), (2, 1));
}
