//! What goes wrong, when, and what was going on then. What people ask of a job at a bad time is among it.

use std::fmt;

use crate::kernel::{MILLISECOND, Random, SECOND, Time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillLeader,
    FreezeLeader,
    /// Another leads, and the leader is not told.
    DeposeLeader,
    CutLeaderFromStore,
    CutLeaderFromTaskManager,
    CutLeaderFromElection,
    KillTaskManager,
    FreezeTaskManager,
    CutTaskManagerFromKafka,
    CutTaskManagerFromStore,
    CutTaskManagers,
    BreakConnections,
    StoreRefuses,
    StoreAnswerLost,
    StoreRepeats,
    StoreSlow,
    KillBroker,
    MoveCoordinators,
    BrokerAnswerLost,
    BrokerRequestLost,
    BrokerSlow,
    TurnClock,
    Rescale,
    Savepoint,
    Stop,
}

impl Fault {
    pub const ALL: [Fault; 25] = [
        Fault::KillLeader,
        Fault::FreezeLeader,
        Fault::DeposeLeader,
        Fault::CutLeaderFromStore,
        Fault::CutLeaderFromTaskManager,
        Fault::CutLeaderFromElection,
        Fault::KillTaskManager,
        Fault::FreezeTaskManager,
        Fault::CutTaskManagerFromKafka,
        Fault::CutTaskManagerFromStore,
        Fault::CutTaskManagers,
        Fault::BreakConnections,
        Fault::StoreRefuses,
        Fault::StoreAnswerLost,
        Fault::StoreRepeats,
        Fault::StoreSlow,
        Fault::KillBroker,
        Fault::MoveCoordinators,
        Fault::BrokerAnswerLost,
        Fault::BrokerRequestLost,
        Fault::BrokerSlow,
        Fault::TurnClock,
        Fault::Rescale,
        Fault::Savepoint,
        Fault::Stop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::KillLeader => "leader killed",
            Fault::FreezeLeader => "leader frozen",
            Fault::DeposeLeader => "leader deposed",
            Fault::CutLeaderFromStore => "leader without store",
            Fault::CutLeaderFromTaskManager => "leader without TaskManager",
            Fault::CutLeaderFromElection => "leader without election",
            Fault::KillTaskManager => "TaskManager killed",
            Fault::FreezeTaskManager => "TaskManager frozen",
            Fault::CutTaskManagerFromKafka => "TaskManager without Kafka",
            Fault::CutTaskManagerFromStore => "TaskManager without store",
            Fault::CutTaskManagers => "TaskManagers apart",
            Fault::BreakConnections => "connections broken",
            Fault::StoreRefuses => "store refuses",
            Fault::StoreAnswerLost => "store's answer lost",
            Fault::StoreRepeats => "store's request repeated",
            Fault::StoreSlow => "store slow",
            Fault::KillBroker => "broker killed",
            Fault::MoveCoordinators => "coordinators moved",
            Fault::BrokerAnswerLost => "broker's answer lost",
            Fault::BrokerRequestLost => "broker's request lost",
            Fault::BrokerSlow => "broker slow",
            Fault::TurnClock => "clock turned",
            Fault::Rescale => "asked: other parallelism",
            Fault::Savepoint => "asked: savepoint",
            Fault::Stop => "asked: stop and go on",
        }
    }
}

/// What goes on, as far as can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Starting,
    Recovering,
    Triggered,
    Barrier,
    Preparing,
    SnapshotPut,
    Acknowledged,
    Metadata,
    HeadSwapped,
    Notified,
    Committing,
    Committed,
    Deleting,
}

impl Phase {
    pub const ALL: [Phase; 13] = [
        Phase::Starting,
        Phase::Recovering,
        Phase::Triggered,
        Phase::Barrier,
        Phase::Preparing,
        Phase::SnapshotPut,
        Phase::Acknowledged,
        Phase::Metadata,
        Phase::HeadSwapped,
        Phase::Notified,
        Phase::Committing,
        Phase::Committed,
        Phase::Deleting,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Recovering => "recovering",
            Phase::Triggered => "triggered",
            Phase::Barrier => "barrier passing",
            Phase::Preparing => "preparing",
            Phase::SnapshotPut => "snapshot put",
            Phase::Acknowledged => "acknowledged",
            Phase::Metadata => "metadata written",
            Phase::HeadSwapped => "head swapped",
            Phase::Notified => "notified",
            Phase::Committing => "committing",
            Phase::Committed => "committed",
            Phase::Deleting => "deleting",
        }
    }

    /// What a point that the engine passes says.
    pub fn of_point(point: &str) -> Option<Phase> {
        Some(match point {
            "checkpoint.triggered" => Phase::Triggered,
            "checkpoint.barrier" => Phase::Barrier,
            "sink.before-flush" | "sink.after-flush" | "sink.after-handle" => Phase::Preparing,
            "checkpoint.acknowledged" | "checkpoint.before-metadata" => Phase::Acknowledged,
            "checkpoint.after-metadata" | "checkpoint.before-head" => Phase::Metadata,
            "checkpoint.after-head" => Phase::HeadSwapped,
            "checkpoint.notified" => Phase::Notified,
            "sink.before-commit" | "sink.between-commits" => Phase::Committing,
            "sink.after-commit" => Phase::Committed,
            _ if point.starts_with("recovery.") => Phase::Recovering,
            _ => return None,
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(Time),
    /// As soon as this phase is come to for the n-th time, in its very moment.
    In(Phase, u32),
}

/// A fault that is to come. How long it lasts is for those that end by themselves.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub fault: Fault,
    pub when: When,
    pub lasts: Time,
    /// Chooses among those that it may strike.
    pub whom: u64,
}

/// Until then faults come.
pub const TROUBLE: Time = 12 * SECOND;

/// The faults of a seed: some, or none.
pub fn plan(random: &mut Random) -> Vec<Planned> {
    let count = match random.range(0..10) {
        0 => 0,
        1..4 => random.range(1..3),
        4..8 => random.range(3..7),
        _ => random.range(7..15),
    };
    (0..count)
        .map(|_| {
            let fault = Fault::ALL[random.range(0..Fault::ALL.len() as u64) as usize];
            let when = match random.chance(700) {
                true => {
                    let phase = Phase::ALL[random.range(1..Phase::ALL.len() as u64) as usize];
                    When::In(phase, 1 + random.skewed(40) as u32)
                }
                false => When::At(random.range(SECOND..TROUBLE)),
            };
            let lasts = match random.range(0..4) {
                0 => random.range(MILLISECOND..200 * MILLISECOND),
                1 | 2 => random.range(200 * MILLISECOND..3 * SECOND),
                _ => random.range(3 * SECOND..8 * SECOND),
            };
            Planned {
                fault,
                when,
                lasts,
                whom: random.next(),
            }
        })
        .collect()
}
