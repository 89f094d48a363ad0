//! The scenarios by name, and which of them make the short and the long form.

use std::time::Duration;

use anyhow::Result;
use millrace_core::failpoint;
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::s3::S3;

use crate::job::Shape;
use crate::scenario::damage;
use crate::scenario::faults;
use crate::scenario::full;
use crate::scenario::keyed;
use crate::scenario::kills::{self, Kills};
use crate::scenario::leaders::{self, Ha};
use crate::scenario::task_managers;
use crate::workbench::{Line, Summary};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In `make test`.
    Short,
    /// In `make test-long`.
    Long,
}

pub struct Scenario {
    pub name: &'static str,
    /// The short form is part of the long one, unless a longer scenario takes its place.
    pub forms: &'static [Form],
    run: fn(&Context) -> Result<Summary>,
}

/// What scenarios share.
pub struct Context {
    pub seed: u64,
}

impl Scenario {
    pub fn run(&self, context: &Context) -> Result<Summary> {
        (self.run)(context)
    }
}

const SHORT: &[Form] = &[Form::Short];
const LONG: &[Form] = &[Form::Long];
const BOTH: &[Form] = &[Form::Short, Form::Long];

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "kills-short",
        forms: SHORT,
        run: kills_short,
    },
    Scenario {
        name: "kills-union",
        forms: BOTH,
        run: kills_union,
    },
    Scenario {
        name: "keyed-short",
        forms: SHORT,
        run: keyed_short,
    },
    Scenario {
        name: "keyed",
        forms: LONG,
        run: keyed_long,
    },
    Scenario {
        name: "keyed-rescaled",
        forms: LONG,
        run: |_| keyed::rescaled(shared()),
    },
    Scenario {
        name: "keyed-s3-short",
        forms: SHORT,
        run: keyed_s3_short,
    },
    Scenario {
        name: "keyed-s3",
        forms: LONG,
        run: keyed_s3_long,
    },
    Scenario {
        name: "kills-3.9",
        forms: LONG,
        run: |context| kills_long(context, Version::Kafka39),
    },
    Scenario {
        name: "kills-4.1",
        forms: LONG,
        run: |context| kills_long(context, Version::Kafka41),
    },
    Scenario {
        name: "kills-sasl-ssl",
        forms: LONG,
        run: kills_secure,
    },
    Scenario {
        name: "kills-s3",
        forms: LONG,
        run: kills_s3,
    },
    Scenario {
        name: "broker-restarted",
        forms: BOTH,
        run: |_| faults::broker_restarted(&mut plain()?),
    },
    Scenario {
        name: "broker-unreachable",
        forms: LONG,
        run: |_| faults::broker_unreachable(&mut plain()?, Duration::from_secs(30)),
    },
    Scenario {
        name: "broker-unreachable-short",
        forms: SHORT,
        run: |_| faults::broker_unreachable(&mut plain()?, Duration::from_secs(8)),
    },
    Scenario {
        name: "coordinator-moved",
        forms: LONG,
        run: |_| faults::coordinator_moved(&mut three_brokers()?, 2),
    },
    Scenario {
        name: "coordinator-moved-short",
        forms: SHORT,
        run: |_| faults::coordinator_moved(&mut three_brokers()?, 0),
    },
    Scenario {
        name: "second-run",
        forms: BOTH,
        run: |_| faults::second_run(shared()),
    },
    Scenario {
        name: "zombie",
        forms: BOTH,
        run: |_| faults::zombie(shared()),
    },
    Scenario {
        name: "transaction-timed-out",
        forms: BOTH,
        run: |_| faults::transaction_timed_out(shared()),
    },
    Scenario {
        name: "prepared-transaction-timed-out",
        forms: BOTH,
        run: |_| faults::prepared_transaction_timed_out(shared()),
    },
    Scenario {
        name: "task-managers-lost-short",
        forms: SHORT,
        run: |context| {
            task_managers::lost(
                shared(),
                Shape::Union,
                task_managers::Faults {
                    kills: 3,
                    freezes: 1,
                    seed: context.seed,
                },
            )
        },
    },
    Scenario {
        name: "task-managers-lost",
        forms: LONG,
        run: |context| {
            task_managers::lost(
                shared(),
                Shape::Union,
                task_managers::Faults {
                    kills: 25,
                    freezes: 5,
                    seed: context.seed,
                },
            )
        },
    },
    Scenario {
        name: "keyed-task-managers-lost",
        forms: LONG,
        run: |context| {
            task_managers::lost(
                shared(),
                Shape::Keyed,
                task_managers::Faults {
                    kills: 15,
                    freezes: 3,
                    seed: context.seed,
                },
            )
        },
    },
    Scenario {
        name: "leaders-thawed",
        forms: BOTH,
        run: |_| leaders::thawed(shared()),
    },
    Scenario {
        name: "leaders-zookeeper-short",
        forms: SHORT,
        run: |context| {
            leaders::run(
                "leaders-zookeeper-short",
                Ha::ZooKeeper,
                Shape::Union,
                10,
                context.seed,
            )
        },
    },
    Scenario {
        name: "leaders-kubernetes-short",
        forms: SHORT,
        run: |context| {
            leaders::run(
                "leaders-kubernetes-short",
                Ha::Kubernetes,
                Shape::Union,
                10,
                context.seed,
            )
        },
    },
    Scenario {
        name: "leaders-zookeeper",
        forms: LONG,
        run: |context| leaders::run("leaders-zookeeper", Ha::ZooKeeper, Shape::Keyed, 60, context.seed),
    },
    Scenario {
        name: "leaders-kubernetes",
        forms: LONG,
        run: |context| {
            leaders::run(
                "leaders-kubernetes",
                Ha::Kubernetes,
                Shape::Union,
                60,
                context.seed,
            )
        },
    },
    Scenario {
        name: "checkpoints-refused",
        forms: BOTH,
        run: |_| faults::checkpoints_refused(shared()),
    },
    Scenario {
        name: "checkpoints-refused-untolerated",
        forms: BOTH,
        run: |_| faults::checkpoints_refused_untolerated(shared()),
    },
    Scenario {
        name: full::NAME,
        forms: BOTH,
        run: |context| full::run(context.seed, shared),
    },
    Scenario {
        name: "files-altered",
        forms: BOTH,
        run: |_| damage::files_altered(shared(), None),
    },
    Scenario {
        name: "files-altered-s3",
        forms: BOTH,
        run: |_| damage::files_altered(shared(), Some(&S3::start()?)),
    },
    Scenario {
        name: "keyed-files-altered",
        forms: BOTH,
        run: |_| damage::keyed_files_altered(shared(), None),
    },
    Scenario {
        name: "keyed-files-altered-s3",
        forms: LONG,
        run: |_| damage::keyed_files_altered(shared(), Some(&S3::start()?)),
    },
];

fn shared() -> &'static Kafka {
    Kafka::shared(Version::Kafka39)
}

fn plain() -> Result<Kafka> {
    Kafka::start(Version::Kafka39, Options::default())
}

fn three_brokers() -> Result<Kafka> {
    Kafka::start(Version::Kafka39, Options::default().brokers(3))
}

fn kills_short(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Chain,
        points: failpoint::ALL,
        hits: 1,
        random: 10,
        failing: 3,
        committed_at_least: 5,
        fenced_at_least: 5,
        records_per_second: 2000,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, None, &kills)
}

fn kills_union(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Union,
        points: failpoint::ALL,
        hits: 1,
        random: 4,
        failing: 2,
        committed_at_least: 5,
        fenced_at_least: 5,
        records_per_second: 2000,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, None, &kills)
}

/// Where files of keyed state are in a checkpoint that is not complete, in one that just is, and are restored
/// while a sink's output is decided.
const KEYED_SHORT: &[&str] = &[
    "checkpoint.before-metadata",
    "checkpoint.before-head",
    "checkpoint.after-head",
    "recovery.between-commits",
];

/// Orders a second, and as many payments. A job with a hundred kilobytes of memory for each operator reads state from
/// files for nearly every row: what it cannot keep up with on a busy machine grows its state, which slows it further.
const KEYED_RATE: u64 = 300;

fn keyed_short(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Keyed,
        points: KEYED_SHORT,
        hits: 1,
        random: 6,
        failing: 1,
        committed_at_least: 3,
        fenced_at_least: 3,
        records_per_second: KEYED_RATE,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, None, &kills)
}

/// More than a hundred kills: at every fail point, at random, while checkpoints fail.
fn keyed_long(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Keyed,
        points: failpoint::ALL,
        hits: 2,
        random: 70,
        failing: 8,
        committed_at_least: 20,
        fenced_at_least: 20,
        records_per_second: KEYED_RATE,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, None, &kills)
}

/// Few, for each costs a start: where table files are in the bucket and no checkpoint names them, where a
/// checkpoint just does, and at any time.
fn keyed_s3_short(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Keyed,
        points: &["checkpoint.before-head", "checkpoint.after-head"],
        hits: 1,
        random: 3,
        failing: 1,
        committed_at_least: 3,
        fenced_at_least: 3,
        records_per_second: KEYED_RATE,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, Some(&S3::start()?), &kills)
}

fn keyed_s3_long(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Keyed,
        points: failpoint::ALL,
        hits: 1,
        random: 20,
        failing: 5,
        committed_at_least: 5,
        fenced_at_least: 5,
        records_per_second: KEYED_RATE,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, Some(&S3::start()?), &kills)
}

fn kills_long(context: &Context, version: Version) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Chain,
        points: failpoint::ALL,
        hits: 5,
        random: 40,
        failing: 10,
        committed_at_least: 30,
        fenced_at_least: 30,
        records_per_second: 2000,
        seed: context.seed,
    };
    kills::run(
        &Kafka::start(version, Options::default())?,
        Line::Plain,
        None,
        &kills,
    )
}

fn kills_secure(context: &Context) -> Result<Summary> {
    let kafka = Kafka::start(Version::Kafka39, Options::default().secure())?;
    let kills = Kills {
        shape: Shape::Union,
        points: failpoint::ALL,
        hits: 1,
        random: 10,
        failing: 3,
        committed_at_least: 5,
        fenced_at_least: 5,
        records_per_second: 1000,
        seed: context.seed,
    };
    kills::run(&kafka, Line::Secure, None, &kills)
}

fn kills_s3(context: &Context) -> Result<Summary> {
    let kills = Kills {
        shape: Shape::Union,
        points: failpoint::ALL,
        hits: 1,
        random: 10,
        failing: 3,
        committed_at_least: 5,
        fenced_at_least: 5,
        records_per_second: 1000,
        seed: context.seed,
    };
    kills::run(shared(), Line::Plain, Some(&S3::start()?), &kills)
}
