//! What the JobMaster and subtasks say to one another as bytes: what a connection between two processes
//! carries. Today both are in one process, and `millrace.test.wire` sends it through these bytes.
//!
//! A frame is its format's version (u8), whether it is a command (0), a report (1) or a deployment (2), and a protobuf body.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_core::{CheckpointId, Configuration, Error, ErrorKind, JobId, Result};
use millrace_dataflow::JobGraph;
use millrace_runtime::build::RestoredOperator;
use millrace_runtime::{Barrier, Command};
use millrace_state::StateBlob;
use millrace_state::keyed::KeyedFiles;
use prost::{Message, Oneof};
use serde::Deserialize;

use crate::checkpoint::StoredSnapshot;
use crate::control::TaskEvent;
use crate::exchange::AttemptId;
use crate::gateway::{Deployment, Restored};

const VERSION: u8 = 1;
const COMMAND: u8 = 0;
const REPORT: u8 = 1;
const DEPLOYMENT: u8 = 2;

#[derive(Clone, PartialEq, Message)]
struct CommandBody {
    #[prost(oneof = "CommandIs", tags = "1, 2, 3")]
    is: Option<CommandIs>,
}

#[derive(Clone, PartialEq, Oneof)]
enum CommandIs {
    #[prost(message, tag = "1")]
    Trigger(BarrierBody),
    #[prost(uint64, tag = "2")]
    Complete(u64),
    #[prost(message, tag = "3")]
    Cancel(Nothing),
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct BarrierBody {
    #[prost(uint64, tag = "1")]
    checkpoint: u64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(bool, tag = "3")]
    stop: bool,
    #[prost(uint64, optional, tag = "4")]
    complete: Option<u64>,
    #[prost(bool, tag = "5")]
    drain: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ReportBody {
    #[prost(oneof = "ReportIs", tags = "1, 2, 3, 4, 5, 6, 7")]
    is: Option<ReportIs>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ReportIs {
    #[prost(message, tag = "1")]
    Started(Nothing),
    #[prost(message, tag = "2")]
    Held(Nothing),
    #[prost(message, tag = "3")]
    Ended(Nothing),
    #[prost(message, tag = "4")]
    Acknowledged(AcknowledgedBody),
    #[prost(message, tag = "5")]
    Declined(DeclinedBody),
    #[prost(uint64, tag = "6")]
    Committed(u64),
    #[prost(message, tag = "7")]
    Stopped(StoppedBody),
}

#[derive(Clone, PartialEq, Message)]
struct AcknowledgedBody {
    #[prost(uint64, tag = "1")]
    checkpoint: u64,
    #[prost(message, repeated, tag = "2")]
    snapshots: Vec<SnapshotBody>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotBody {
    #[prost(string, tag = "1")]
    uid: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<StateBlob>,
    #[prost(message, optional, tag = "4")]
    keyed: Option<KeyedFiles>,
}

#[derive(Clone, PartialEq, Message)]
struct DeclinedBody {
    #[prost(uint64, tag = "1")]
    checkpoint: u64,
    #[prost(message, optional, tag = "2")]
    error: Option<ErrorBody>,
}

#[derive(Clone, PartialEq, Message)]
struct StoppedBody {
    #[prost(message, optional, tag = "1")]
    error: Option<ErrorBody>,
}

/// What a person sees of an error; what caused it goes as text.
#[derive(Clone, PartialEq, Message)]
struct ErrorBody {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(string, optional, tag = "3")]
    detail: Option<String>,
    #[prost(string, optional, tag = "4")]
    hint: Option<String>,
    #[prost(string, optional, tag = "5")]
    cause: Option<String>,
}

const KINDS: [ErrorKind; 5] = [
    ErrorKind::User,
    ErrorKind::External,
    ErrorKind::Fenced,
    ErrorKind::DataLoss,
    ErrorKind::Internal,
];

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind());
        ErrorBody {
            kind: kind.unwrap_or(KINDS.len() - 1) as u32,
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            cause: std::error::Error::source(error).map(ToString::to_string),
        }
    }
}

impl ErrorBody {
    fn into_error(self) -> Result<Error> {
        let kind = KINDS
            .get(self.kind as usize)
            .ok_or_else(|| damaged().with_detail(format!("an error of kind {}", self.kind)))?;
        let mut error = Error::new(*kind, self.message);
        if let Some(detail) = self.detail {
            error = error.with_detail(detail);
        }
        if let Some(hint) = self.hint {
            error = error.with_hint(hint);
        }
        Ok(match self.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }
}

pub fn encode_command(command: &Command) -> Vec<u8> {
    let is = match command {
        Command::Trigger(barrier) => CommandIs::Trigger(BarrierBody {
            checkpoint: barrier.checkpoint.0,
            timestamp: barrier.timestamp,
            stop: barrier.stop,
            drain: barrier.drain,
            complete: barrier.complete.map(|id| id.0),
        }),
        Command::Complete(checkpoint) => CommandIs::Complete(checkpoint.0),
        Command::Cancel => CommandIs::Cancel(Nothing {}),
    };
    frame(COMMAND, &CommandBody { is: Some(is) })
}

pub fn decode_command(bytes: &[u8]) -> Result<Command> {
    let body: CommandBody = body(COMMAND, bytes)?;
    Ok(match body.is.ok_or_else(damaged)? {
        CommandIs::Trigger(barrier) => Command::Trigger(Barrier {
            checkpoint: CheckpointId(barrier.checkpoint),
            timestamp: barrier.timestamp,
            stop: barrier.stop,
            drain: barrier.drain,
            complete: barrier.complete.map(CheckpointId),
        }),
        CommandIs::Complete(checkpoint) => Command::Complete(CheckpointId(checkpoint)),
        CommandIs::Cancel(Nothing {}) => Command::Cancel,
    })
}

pub fn encode_report(event: &TaskEvent) -> Vec<u8> {
    let is = match event {
        TaskEvent::Started => ReportIs::Started(Nothing {}),
        TaskEvent::Held => ReportIs::Held(Nothing {}),
        TaskEvent::Ended => ReportIs::Ended(Nothing {}),
        TaskEvent::Acknowledged {
            checkpoint,
            snapshots,
        } => ReportIs::Acknowledged(AcknowledgedBody {
            checkpoint: checkpoint.0,
            snapshots: snapshots
                .iter()
                .map(|snapshot| SnapshotBody {
                    uid: snapshot.uid.clone(),
                    name: snapshot.name.clone(),
                    entries: snapshot.entries.clone(),
                    keyed: snapshot.keyed.clone(),
                })
                .collect(),
        }),
        TaskEvent::Declined { checkpoint, error } => ReportIs::Declined(DeclinedBody {
            checkpoint: checkpoint.0,
            error: Some(error.into()),
        }),
        TaskEvent::Committed { checkpoint } => ReportIs::Committed(checkpoint.0),
        TaskEvent::Stopped { error } => ReportIs::Stopped(StoppedBody {
            error: error.as_ref().map(ErrorBody::from),
        }),
    };
    frame(REPORT, &ReportBody { is: Some(is) })
}

pub fn decode_report(bytes: &[u8]) -> Result<TaskEvent> {
    let body: ReportBody = body(REPORT, bytes)?;
    Ok(match body.is.ok_or_else(damaged)? {
        ReportIs::Started(Nothing {}) => TaskEvent::Started,
        ReportIs::Held(Nothing {}) => TaskEvent::Held,
        ReportIs::Ended(Nothing {}) => TaskEvent::Ended,
        ReportIs::Acknowledged(body) => TaskEvent::Acknowledged {
            checkpoint: CheckpointId(body.checkpoint),
            snapshots: body
                .snapshots
                .into_iter()
                .map(|snapshot| StoredSnapshot {
                    uid: snapshot.uid,
                    name: snapshot.name,
                    entries: snapshot.entries,
                    keyed: snapshot.keyed,
                })
                .collect(),
        },
        ReportIs::Declined(body) => TaskEvent::Declined {
            checkpoint: CheckpointId(body.checkpoint),
            error: body.error.ok_or_else(damaged)?.into_error()?,
        },
        ReportIs::Committed(checkpoint) => TaskEvent::Committed {
            checkpoint: CheckpointId(checkpoint),
        },
        ReportIs::Stopped(body) => TaskEvent::Stopped {
            error: body.error.map(ErrorBody::into_error).transpose()?,
        },
    })
}

#[derive(Clone, PartialEq, Message)]
struct DeploymentBody {
    #[prost(bytes = "vec", tag = "1")]
    job: Vec<u8>,
    #[prost(uint64, tag = "2")]
    attempt: u64,
    #[prost(string, tag = "3")]
    job_name: String,
    /// JSON: what people read, and later releases too.
    #[prost(string, tag = "4")]
    graph: String,
    #[prost(btree_map = "string, string", tag = "5")]
    config: BTreeMap<String, String>,
    #[prost(uint32, repeated, tag = "6")]
    places: Vec<u32>,
    /// Empty: it has none.
    #[prost(string, repeated, tag = "7")]
    peers: Vec<String>,
    #[prost(uint32, tag = "8")]
    me: u32,
    #[prost(uint32, tag = "9")]
    slots: u32,
    #[prost(message, optional, tag = "10")]
    restored: Option<RestoredBody>,
}

#[derive(Clone, PartialEq, Message)]
struct RestoredBody {
    #[prost(string, optional, tag = "1")]
    elsewhere: Option<String>,
    #[prost(btree_map = "string, message", tag = "2")]
    operators: BTreeMap<String, RestoredOperatorBody>,
}

#[derive(Clone, PartialEq, Message)]
struct RestoredOperatorBody {
    #[prost(bytes = "vec", repeated, tag = "1")]
    entries: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    keyed: Vec<KeyedFiles>,
}

pub fn encode_deployment(deployment: &Deployment) -> Result<Vec<u8>> {
    let graph = serde_json::to_string(&deployment.graph)
        .map_err(|e| Error::internal("a job graph cannot be written down").with_source(e))?;
    let restored = deployment.restored.as_ref().map(|restored| RestoredBody {
        elsewhere: restored.elsewhere.clone(),
        operators: restored
            .operators
            .iter()
            .map(|(uid, operator)| {
                let body = RestoredOperatorBody {
                    entries: operator.entries.clone(),
                    keyed: operator.keyed.clone(),
                };
                (uid.clone(), body)
            })
            .collect(),
    });
    let config = deployment
        .config
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(frame(
        DEPLOYMENT,
        &DeploymentBody {
            job: deployment.attempt.job.0.to_vec(),
            attempt: deployment.attempt.attempt,
            job_name: deployment.job_name.clone(),
            graph,
            config: config.collect(),
            places: deployment.places.iter().map(|place| *place as u32).collect(),
            peers: deployment
                .peers
                .iter()
                .map(|peer| peer.clone().unwrap_or_default())
                .collect(),
            me: deployment.me as u32,
            slots: deployment.slots as u32,
            restored,
        },
    ))
}

pub fn decode_deployment(bytes: &[u8]) -> Result<Deployment> {
    let body: DeploymentBody = body(DEPLOYMENT, bytes)?;
    // Expressions are trees of any depth.
    let mut json = serde_json::Deserializer::from_str(&body.graph);
    json.disable_recursion_limit();
    let graph = JobGraph::deserialize(&mut json).map_err(|e| damaged().with_source(e))?;
    let mut config = Configuration::default();
    for (key, value) in body.config {
        config.set(key, value);
    }
    let job = body
        .job
        .try_into()
        .map_err(|_| damaged().with_detail("a job's id"))?;
    let deployment = Deployment {
        attempt: AttemptId {
            job: JobId(job),
            attempt: body.attempt,
        },
        job_name: body.job_name,
        graph,
        config,
        places: body.places.into_iter().map(|place| place as usize).collect(),
        peers: body
            .peers
            .into_iter()
            .map(|peer| Some(peer).filter(|peer| !peer.is_empty()))
            .collect(),
        me: body.me as usize,
        slots: body.slots as usize,
        restored: body.restored.map(|restored| Restored {
            elsewhere: restored.elsewhere,
            operators: Arc::new(
                restored
                    .operators
                    .into_iter()
                    .map(|(uid, operator)| {
                        let RestoredOperatorBody { entries, keyed } = operator;
                        (uid, RestoredOperator { entries, keyed })
                    })
                    .collect(),
            ),
        }),
    };
    let tasks: usize = deployment
        .graph
        .vertices
        .iter()
        .map(|vertex| vertex.parallelism)
        .sum();
    if deployment.places.len() != tasks
        || deployment
            .places
            .iter()
            .any(|place| *place >= deployment.peers.len())
    {
        return Err(damaged().with_detail("a deployment without a place for each subtask"));
    }
    Ok(deployment)
}

fn frame(kind: u8, body: &impl Message) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind];
    bytes.extend(body.encode_to_vec());
    bytes
}

fn body<M: Message + Default>(kind: u8, bytes: &[u8]) -> Result<M> {
    match bytes {
        [VERSION, of, rest @ ..] if *of == kind => M::decode(rest).map_err(|e| damaged().with_source(e)),
        [VERSION, of, ..] => Err(damaged().with_detail(format!("a frame of kind {of}"))),
        [version, ..] if *version != VERSION => Err(Error::external(
            "another process sends control messages of a format that is not known",
        )
        .with_detail(format!("version {version}, known is {VERSION}"))
        .with_hint("run the same release of Millrace on all machines")),
        _ => Err(damaged().with_detail("a frame is cut off")),
    }
}

fn damaged() -> Error {
    Error::external("a control message cannot be read")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commands() -> impl Strategy<Value = Command> {
        prop_oneof![
            (
                any::<u64>(),
                any::<i64>(),
                any::<[bool; 2]>(),
                any::<Option<u64>>()
            )
                .prop_map(|(checkpoint, timestamp, [stop, drain], complete)| {
                    Command::Trigger(Barrier {
                        checkpoint: CheckpointId(checkpoint),
                        timestamp,
                        stop,
                        drain,
                        complete: complete.map(CheckpointId),
                    })
                }),
            any::<u64>().prop_map(|checkpoint| Command::Complete(CheckpointId(checkpoint))),
            Just(Command::Cancel),
        ]
    }

    type Parts = (usize, String, Option<String>, Option<String>, Option<String>);

    fn error((kind, message, detail, hint, cause): Parts) -> Error {
        ErrorBody {
            kind: kind as u32,
            message,
            detail,
            hint,
            cause,
        }
        .into_error()
        .unwrap()
    }

    fn errors() -> impl Strategy<Value = Parts> {
        (
            0..KINDS.len(),
            any::<String>(),
            any::<Option<String>>(),
            any::<Option<String>>(),
            any::<Option<String>>(),
        )
    }

    fn snapshots() -> impl Strategy<Value = SnapshotBody> {
        let file = (any::<String>(), any::<Vec<u8>>());
        let files = (any::<u16>(), any::<u16>(), prop::collection::vec(file, 0..3));
        let entries = prop::collection::vec(any::<Vec<u8>>(), 0..3);
        (any::<String>(), any::<String>(), entries, prop::option::of(files)).prop_map(
            |(uid, name, entries, files)| SnapshotBody {
                uid,
                name,
                entries: entries.into_iter().map(StateBlob::inline).collect(),
                keyed: files.map(|(first, end, files)| KeyedFiles {
                    timed: [("rows".to_owned(), -7)].into(),
                    first_group: first.into(),
                    end_group: end.into(),
                    max_parallelism: 128,
                    files: files
                        .into_iter()
                        .map(|(name, bytes)| millrace_state::keyed::files::NamedFile {
                            blob: Some(StateBlob::file(millrace_state::metadata::FileRef::of(
                                name.clone(),
                                &bytes,
                            ))),
                            name,
                        })
                        .collect(),
                }),
            },
        )
    }

    fn reports() -> impl Strategy<Value = ReportBody> {
        let body = |error: Parts| ErrorBody::from(&self::error(error));
        let is = prop_oneof![
            Just(ReportIs::Started(Nothing {})),
            Just(ReportIs::Held(Nothing {})),
            Just(ReportIs::Ended(Nothing {})),
            (any::<u64>(), prop::collection::vec(snapshots(), 0..4)).prop_map(|(checkpoint, snapshots)| {
                ReportIs::Acknowledged(AcknowledgedBody {
                    checkpoint,
                    snapshots,
                })
            }),
            (any::<u64>(), errors()).prop_map(move |(checkpoint, error)| {
                ReportIs::Declined(DeclinedBody {
                    checkpoint,
                    error: Some(body(error)),
                })
            }),
            any::<u64>().prop_map(ReportIs::Committed),
            prop::option::of(errors()).prop_map(move |error| {
                ReportIs::Stopped(StoppedBody {
                    error: error.map(body),
                })
            }),
        ];
        is.prop_map(|is| ReportBody { is: Some(is) })
    }

    proptest! {
        #[test]
        fn commands_come_as_they_were(command in commands()) {
            let came = decode_command(&encode_command(&command)).unwrap();
            prop_assert_eq!(format!("{came:?}"), format!("{command:?}"));
        }

        #[test]
        fn reports_come_as_they_were(report in reports()) {
            let bytes = frame(REPORT, &report);
            prop_assert_eq!(encode_report(&decode_report(&bytes).unwrap()), bytes);
        }

        #[test]
        fn nothing_that_comes_is_a_panic(bytes in any::<Vec<u8>>(), report in reports(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let _ = (decode_command(&bytes), decode_report(&bytes));
            let mut frame = frame(REPORT, &report);
            let place = at.index(frame.len());
            frame[place] ^= with;
            let _ = decode_report(&frame);
            let _ = decode_report(&frame[..place]);
        }
    }

    #[test]
    fn another_version_and_another_kind_are_said() {
        let mut bytes = encode_command(&Command::Cancel);
        let said = decode_report(&bytes).err().unwrap().to_string();
        assert!(said.contains("kind 0"), "{said}");
        bytes[0] = 9;
        let said = decode_command(&bytes).unwrap_err().to_string();
        assert!(
            said.contains("version 9") && said.contains("same release"),
            "{said}"
        );
        assert!(decode_command(&[]).is_err());
    }
}
