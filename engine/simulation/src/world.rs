//! A cluster, what is outside of it, and what goes wrong: one simulation from its beginning to its verdict.
//!
//! JobManagers contend for the lead, TaskManagers follow who leads, each on a host and as the product runs them; what is
//! killed is started again. Rows come in, faults strike, and when they are over all rows have to come out in time, each
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use millrace_cluster::JobSpec;
use millrace_cluster::job::JobControl;
use millrace_cluster::status::Bounds;
use millrace_core::failpoint;
use millrace_state::location;

use crate::election::Election;
use crate::faults::{self, Fault, Phase, Planned, TROUBLE, When};
use crate::job::{Checker, INPUT, OUTPUT, PARTITIONS, Rows};
use crate::kafka::broker::{self, Brokers};
use crate::kafka::cluster::{BrokerAddress, Cluster};
use crate::kernel::{self, Clock, Host, MICROSECOND, MILLISECOND, Pace, Process, Random, SECOND, Time};
use crate::store::{self, ModelStore};
use crate::{logging, processes};

/// How long it may take until all rows are out once nothing goes wrong any more.
const PATIENCE: Time = 200 * SECOND;
/// Behind the last row, to see that nothing follows it.
const AFTERWARDS: Time = 2 * SECOND;
/// How often the world looks at all of it.
const LOOK: Duration = Duration::from_millis(10);
/// How often the output is read, in looks.
const READ_EVERY: u64 = 20;

const SAVEPOINTS: &str = "model://savepoints";
pub const KAFKA_PORT: u16 = 9092;
pub const STORE: Host = Host([10, 0, 0, 5]);
pub const ELECTION: Host = Host([10, 0, 0, 6]);

pub fn host_of(role: Role) -> Host {
    match role {
        Role::JobManager(i) => Host([10, 0, 1, 1 + i as u8]),
        Role::TaskManager(i) => Host([10, 0, 2, 1 + i as u8]),
        Role::Broker(i) => Host([10, 0, 3, 1 + i as u8]),
    }
}

/// The brokers' addresses, as clients are given them.
pub fn bootstrap(brokers: usize) -> String {
    let addresses = (0..brokers).map(|i| format!("{}:{KAFKA_PORT}", host_of(Role::Broker(i))));
    addresses.collect::<Vec<_>>().join(",")
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    JobManager(usize),
    TaskManager(usize),
    Broker(usize),
}

impl Role {
    fn name(self) -> String {
        match self {
            Role::JobManager(i) => format!("jobmanager-{i}"),
            Role::TaskManager(i) => format!("taskmanager-{i}"),
            Role::Broker(i) => format!("broker-{i}"),
        }
    }
}

/// What a seed makes of the world.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub job_managers: usize,
    pub task_managers: usize,
    pub brokers: usize,
    pub parallelism: usize,
    pub is_bounded: bool,
    pub rows: usize,
    pub interval: Duration,
    /// In how many of a thousand requests something goes wrong by itself.
    pub noise: u64,
    pub pace: Pace,
    pub faults: Vec<Planned>,
}

pub const BROKERS: usize = 2;

impl Scenario {
    pub fn of(seed: u64) -> Scenario {
        let mut random = Random::new(seed).part(7);
        let pace = Pace {
            turn: random.range(5..60) * MICROSECOND,
            slow_turns: random.range(0..12),
            slow_turn: random.range(1..60) * MILLISECOND,
            way: (
                random.range(50..300) * MICROSECOND,
                random.range(500..20_000) * MICROSECOND,
            ),
            preemptions: random.range(0..60),
        };
        Scenario {
            seed,
            job_managers: random.range(2..4) as usize,
            task_managers: random.range(2..4) as usize,
            brokers: BROKERS,
            parallelism: random.range(1..4) as usize,
            is_bounded: random.chance(200),
            rows: random.range(100..500) as usize,
            interval: Duration::from_millis(random.range(200..1200)),
            noise: [0, 0, 2, 10][random.range(0..4) as usize],
            pace,
            faults: faults::plan(&mut random),
        }
    }
}

/// What a simulation came to.
#[derive(Debug, Default)]
pub struct Report {
    /// None: all is well.
    pub failure: Option<String>,
    pub trace: u64,
    pub time: Time,
    pub rows: usize,
    pub swaps: u64,
    /// How often faults struck, by what was going on.
    pub coverage: BTreeMap<(Fault, Phase), u64>,
}

/// What ends by itself.
enum Due {
    Heal(Host, Host),
    Join(usize),
    Start(Role),
}

#[derive(Default)]
struct State {
    faults: Vec<Planned>,
    passages: BTreeMap<Phase, u32>,
    phase: Option<Phase>,
    coverage: BTreeMap<(Fault, Phase), u64>,
    agenda: Vec<(Time, Due)>,
    running: BTreeMap<Role, Process>,
    starting: BTreeSet<Role>,
    brokers_away: BTreeSet<usize>,
    clocks: BTreeMap<Role, Clock>,
    /// Of the requests to come, how many are refused, lose their answers, are repeated, are slow.
    store_trouble: [u32; 4],
    broker_trouble: [u32; 3],
    swaps: u64,
    is_finished: bool,
    /// Of the job that runs, as the JobManager has it that began it last.
    job: Option<(Process, JobControl)>,
}

pub struct World {
    pub scenario: Scenario,
    pub spec: JobSpec,
    pub brokers: Brokers,
    pub store: ModelStore,
    pub election: Election,
    /// Where stores of keyed state are.
    pub folder: String,
    state: Mutex<State>,
}

static WORLD: OnceLock<Arc<World>> = OnceLock::new();

fn world() -> Option<&'static Arc<World>> {
    WORLD.get()
}

/// Runs a scenario; to be called within the kernel's first process.
pub fn run(scenario: Scenario, spec: JobSpec, folder: String) -> Report {
    let addresses = (0..scenario.brokers).map(|i| BrokerAddress {
        host: host_of(Role::Broker(i)).to_string(),
        port: KAFKA_PORT,
    });
    let mut cluster = Cluster::new(addresses.collect());
    cluster.create(INPUT, PARTITIONS);
    cluster.create(OUTPUT, PARTITIONS);
    cluster.marker_delay = kernel::random(|random| random.range(0..30)) as i64;
    let brokers = Brokers::new(
        cluster,
        Arc::new(|key| world().map_or(broker::Fate::Answered, |w| w.judge_broker(key))),
    );
    let store = ModelStore::new(
        STORE,
        Arc::new(|kind, path| world().map_or_else(store::Fate::default, |w| w.judge_store(kind, path))),
        Arc::new(|kind, path, done| {
            if let Some(world) = world() {
                world.witness(kind, path, done);
            }
        }),
    );
    let world = Arc::new(World {
        spec,
        brokers,
        store,
        election: Election::new(),
        folder,
        state: Mutex::new(State {
            faults: scenario.faults.clone(),
            ..State::default()
        }),
        scenario,
    });
    let is_first = WORLD.set(world.clone()).is_ok();
    assert!(is_first, "a process has one world");
    failpoint::observe(|point| {
        if let (Some(world), Some(phase)) = (self::world(), Phase::of_point(point)) {
            world.come_to(phase);
        }
    });
    location::provide_model(|| {
        let store = self::world().map(|world| world.store.clone());
        Arc::new(store.expect("the world was made before any store is opened"))
    });
    world.live()
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        kernel::steadily(|| change(&mut self.state()))
    }

    /// A job has begun, and can be asked for something.
    pub fn begun(&self, job: JobControl) {
        self.change(|state| state.job = Process::current().map(|process| (process, job)));
    }

    fn job(&self) -> Option<JobControl> {
        let job = self.change(|state| state.job.clone());
        job.filter(|(process, _)| process.is_alive()).map(|(_, job)| job)
    }

    /// The job has come to its end.
    pub fn finish(&self) {
        self.change(|state| state.is_finished = true);
    }

    fn start(self: &Arc<Self>, role: Role) {
        let clock = self.change(|state| {
            let clock = state.clocks.entry(role).or_insert_with(|| {
                kernel::random(|random| {
                    let mut clock = Clock::default();
                    clock.began += random.range(0..4_000_000_000) as i64 - 2_000_000_000;
                    clock.drift = random.range(0..400_000) as i64 - 200_000;
                    clock
                })
            });
            *clock
        });
        let this = self.clone();
        let process = Process::start(&role.name(), host_of(role), clock, move || match role {
            Role::JobManager(index) => processes::job_manager(&this, index),
            Role::TaskManager(index) => processes::task_manager(&this, index),
            Role::Broker(index) => this.brokers.serve(index, KAFKA_PORT),
        });
        self.change(|state| {
            state.starting.remove(&role);
            state.running.insert(role, process);
        });
    }

    fn live(self: &Arc<Self>) -> Report {
        let scenario = &self.scenario;
        kernel::log(&format!("{scenario:?}"));
        let store = self.store.clone();
        Process::start("store", STORE, Clock::default(), move || store.serve());
        let roles = (0..scenario.brokers).map(Role::Broker);
        let roles = roles.chain((0..scenario.job_managers).map(Role::JobManager));
        let roles: Vec<Role> = roles
            .chain((0..scenario.task_managers).map(Role::TaskManager))
            .collect();
        roles.into_iter().for_each(|role| self.start(role));

        let mut rows = Rows::new(Random::new(scenario.seed).part(9));
        let mut output = Output::default();
        let every = match scenario.is_bounded {
            true => 0,
            false => (TROUBLE - SECOND) / scenario.rows as Time,
        };
        let mut done_at = None;
        let mut looks = 0;
        let failure = loop {
            if let Some(bug) = logging::bug() {
                break Some(bug);
            }
            while rows.count() < scenario.rows && kernel::now() >= every * rows.count() as Time {
                let (partition, record) = rows.next();
                let now = broker::millis();
                self.brokers
                    .with(|cluster| cluster.append(INPUT, partition as i32, &[record], now));
            }
            self.see_to_agenda();
            self.restart_dead();
            if looks % READ_EVERY == 0
                && let Err(error) = output.read(&self.brokers, &rows)
            {
                break Some(format!("{error:#}"));
            }
            looks += 1;
            let now = kernel::now();
            let is_out = output.checker.count() == scenario.rows;
            let is_over = now > TROUBLE && (!scenario.is_bounded || self.change(|s| s.is_finished));
            match done_at {
                None if is_out && is_over => done_at = Some(now),
                Some(done) if now > done + AFTERWARDS => break None,
                _ if now > TROUBLE + PATIENCE => {
                    break Some(format!(
                        "{} of {} rows are out {} s after the last fault",
                        output.checker.count(),
                        scenario.rows,
                        PATIENCE / SECOND
                    ));
                }
                _ => {}
            }
            std::thread::sleep(LOOK);
        };
        self.change(|state| Report {
            failure,
            trace: kernel::trace(),
            time: kernel::now(),
            rows: output.checker.count(),
            swaps: state.swaps,
            coverage: std::mem::take(&mut state.coverage),
        })
    }

    fn restart_dead(&self) {
        self.change(|state| {
            let dead: Vec<Role> = state
                .running
                .iter()
                .filter(|(role, process)| !process.is_alive() && !state.starting.contains(role))
                .map(|(role, _)| *role)
                .collect();
            for role in dead {
                let pause = kernel::random(|random| random.range(100 * MILLISECOND..2 * SECOND));
                state.starting.insert(role);
                state.agenda.push((kernel::now() + pause, Due::Start(role)));
            }
        });
    }

    fn see_to_agenda(self: &Arc<Self>) {
        let now = kernel::now();
        let (due, faults) = self.change(|state| {
            let due: Vec<Due> = state
                .agenda
                .extract_if(.., |(time, _)| *time <= now)
                .map(|(_, due)| due)
                .collect();
            let is_due = |planned: &mut Planned| matches!(planned.when, When::At(time) if time <= now);
            let faults: Vec<Planned> = state.faults.extract_if(.., is_due).collect();
            if now > TROUBLE {
                state.faults.clear();
            }
            (due, faults)
        });
        for due in due {
            match due {
                Due::Heal(a, b) => {
                    kernel::log(&format!("healed: {a} and {b}"));
                    a.heal(b);
                }
                Due::Join(broker) => {
                    self.change(|state| state.brokers_away.remove(&broker));
                    self.brokers.with(|cluster| cluster.join(broker));
                }
                Due::Start(role) => self.start(role),
            }
        }
        for planned in faults {
            self.strike(&planned);
        }
    }

    /// Something goes on that faults may wait for.
    fn come_to(&self, phase: Phase) {
        let struck = self.change(|state| {
            state.phase = Some(phase);
            let passages = state.passages.entry(phase).or_default();
            *passages += 1;
            let is_due = |planned: &mut Planned| planned.when == When::In(phase, *passages);
            let due: Vec<Planned> = state.faults.extract_if(.., is_due).collect();
            due
        });
        for planned in &struck {
            self.strike(planned);
        }
        if !struck.is_empty() {
            // Who was struck ends, or stands still, here.
            std::thread::yield_now();
        }
    }

    fn leader(&self) -> Option<(Role, Process)> {
        let leader = Role::JobManager(self.election.leader()?);
        let process = self.change(|state| state.running.get(&leader).copied())?;
        process.is_alive().then_some((leader, process))
    }

    fn task_manager(&self, whom: u64) -> Option<(Role, Process)> {
        let role = Role::TaskManager((whom % self.scenario.task_managers as u64) as usize);
        let process = self.change(|state| state.running.get(&role).copied())?;
        process.is_alive().then_some((role, process))
    }

    fn cut(&self, a: Host, b: Host, time: Time) {
        if a != b {
            a.cut(b);
            self.change(|state| state.agenda.push((kernel::now() + time, Due::Heal(a, b))));
        }
    }

    fn strike(&self, planned: &Planned) {
        kernel::steadily(|| {
            let Planned {
                fault, lasts, whom, ..
            } = *planned;
            let phase = self.change(|state| state.phase.unwrap_or(Phase::Starting));
            let Some(what) = self.inflict(fault, lasts, whom) else {
                return;
            };
            kernel::log(&format!("FAULT {} while {phase}: {what}", fault.name()));
            self.change(|state| *state.coverage.entry((fault, phase)).or_default() += 1);
        });
    }

    /// None: there is nobody whom it could strike now.
    fn inflict(&self, fault: Fault, lasts: Time, whom: u64) -> Option<String> {
        let leader = self.leader();
        let task_manager = self.task_manager(whom);
        let broker = host_of(Role::Broker((whom % self.scenario.brokers as u64) as usize));
        let for_so_long = format!("for {} ms", lasts / MILLISECOND);
        let count = 1 + (whom % 4) as u32;
        Some(match fault {
            Fault::KillLeader => {
                leader?.1.kill();
                leader?.0.name()
            }
            Fault::FreezeLeader => {
                leader?.1.freeze(lasts);
                format!("{} {for_so_long}", leader?.0.name())
            }
            Fault::DeposeLeader => {
                self.election.depose(lasts);
                format!("{} hears of it {for_so_long} no", leader?.0.name())
            }
            Fault::CutLeaderFromStore => {
                self.cut(host_of(leader?.0), STORE, lasts);
                format!("{} {for_so_long}", leader?.0.name())
            }
            Fault::CutLeaderFromTaskManager => {
                self.cut(host_of(leader?.0), host_of(task_manager?.0), lasts);
                format!(
                    "{} and {} {for_so_long}",
                    leader?.0.name(),
                    task_manager?.0.name()
                )
            }
            Fault::CutLeaderFromElection => {
                self.cut(host_of(leader?.0), ELECTION, lasts);
                format!("{} {for_so_long}", leader?.0.name())
            }
            Fault::KillTaskManager => {
                task_manager?.1.kill();
                task_manager?.0.name()
            }
            Fault::FreezeTaskManager => {
                task_manager?.1.freeze(lasts);
                format!("{} {for_so_long}", task_manager?.0.name())
            }
            Fault::CutTaskManagerFromKafka => {
                self.cut(host_of(task_manager?.0), broker, lasts);
                format!("{} and {broker} {for_so_long}", task_manager?.0.name())
            }
            Fault::CutTaskManagerFromStore => {
                self.cut(host_of(task_manager?.0), STORE, lasts);
                format!("{} {for_so_long}", task_manager?.0.name())
            }
            Fault::CutTaskManagers => {
                let other = self.task_manager(whom + 1)?.0;
                self.cut(host_of(task_manager?.0), host_of(other), lasts);
                format!("{} and {} {for_so_long}", task_manager?.0.name(), other.name())
            }
            Fault::BreakConnections => {
                let other = match whom / 8 % 3 {
                    0 => host_of(leader?.0),
                    1 => broker,
                    _ => host_of(self.task_manager(whom + 1)?.0),
                };
                host_of(task_manager?.0).break_connections(other);
                format!("{} and {other}", task_manager?.0.name())
            }
            Fault::StoreRefuses => {
                self.change(|state| state.store_trouble[0] += count);
                format!("{count} requests")
            }
            Fault::StoreAnswerLost => {
                self.change(|state| state.store_trouble[1] += count);
                format!("{count} requests")
            }
            Fault::StoreRepeats => {
                self.change(|state| state.store_trouble[2] += count);
                format!("{count} requests")
            }
            Fault::StoreSlow => {
                self.change(|state| state.store_trouble[3] += count);
                format!("{count} requests")
            }
            Fault::KillBroker => {
                let index = (whom % self.scenario.brokers as u64) as usize;
                let process = self.change(|state| {
                    let others_are_there = state.brokers_away.is_empty();
                    let process = state.running.get(&Role::Broker(index)).copied();
                    process.filter(|process| others_are_there && process.is_alive())
                })?;
                process.kill();
                self.change(|state| {
                    state.brokers_away.insert(index);
                    let back = kernel::now() + lasts + 3 * SECOND;
                    state.agenda.push((back, Due::Join(index)));
                });
                self.brokers
                    .with(|cluster| cluster.leave(index, broker::millis(), (lasts / MILLISECOND / 4) as i64));
                format!("broker-{index}")
            }
            Fault::MoveCoordinators => {
                let loading = (lasts / MILLISECOND / 4) as i64;
                self.brokers
                    .with(|cluster| cluster.move_coordinators(broker::millis(), loading));
                format!("they read their log for {loading} ms")
            }
            Fault::BrokerAnswerLost => {
                self.change(|state| state.broker_trouble[0] += count);
                format!("{count} requests")
            }
            Fault::BrokerRequestLost => {
                self.change(|state| state.broker_trouble[1] += count);
                format!("{count} requests")
            }
            Fault::BrokerSlow => {
                self.change(|state| state.broker_trouble[2] += count);
                format!("{count} requests")
            }
            Fault::TurnClock => {
                let (role, process) = match whom & 8 {
                    0 => leader?,
                    _ => task_manager?,
                };
                let by = (whom % 7200) as i64 - 3600;
                process.set_clock(|clock| clock.began += by * 1_000_000_000);
                self.change(|state| {
                    if let Some(clock) = state.clocks.get_mut(&role) {
                        clock.began += by * 1_000_000_000;
                    }
                });
                format!("{} by {by} s", role.name())
            }
            Fault::Rescale => {
                let most = 1 + (whom % 3) as usize;
                let least = 1 + (whom / 4 % most as u64) as usize;
                let bounds = (0..2).map(|vertex| (vertex, Bounds { least, most }));
                drop(self.job()?.set_bounds(bounds.collect()));
                format!("{least} to {most}")
            }
            Fault::Savepoint => {
                drop(self.job()?.savepoint(SAVEPOINTS.to_owned()));
                String::new()
            }
            Fault::Stop => {
                let job = self.job()?;
                match whom & 1 {
                    0 => job.stop(),
                    _ => drop(job.stop_with_savepoint(SAVEPOINTS.to_owned(), false)),
                }
                String::new()
            }
        })
    }

    fn judge_store(&self, kind: store::Kind, _: &str) -> store::Fate {
        let mut fate = store::Fate::default();
        let (there, back, noise) = kernel::random(|random| {
            let there = random.skewed(8 * MILLISECOND);
            let back = random.skewed(8 * MILLISECOND);
            let noise = random
                .chance(self.scenario.noise)
                .then(|| random.range(0..4) as usize);
            (there, back, noise)
        });
        fate.there = Duration::from_nanos(100_000 + there);
        fate.back = Duration::from_nanos(100_000 + back);
        let is_calm = kernel::now() > TROUBLE;
        let trouble = self.change(|state| {
            let waiting = state.store_trouble.iter().position(|left| *left > 0);
            if let Some(which) = waiting {
                state.store_trouble[which] -= 1;
            }
            waiting.or(noise)
        });
        match trouble.filter(|_| !is_calm) {
            Some(0) => fate.is_refused = true,
            Some(1) => fate.is_answer_lost = true,
            Some(2) => fate.is_repeated = kind != store::Kind::Get,
            Some(3) => fate.there += Duration::from_millis(2000),
            _ => {}
        }
        fate
    }

    fn judge_broker(&self, key: ApiKey) -> broker::Fate {
        if key == ApiKey::EndTxn {
            self.come_to(Phase::Committing);
        }
        let noise = kernel::random(|random| {
            random
                .chance(self.scenario.noise / 4)
                .then(|| random.range(0..3) as usize)
        });
        let is_calm = kernel::now() > TROUBLE;
        // What nobody writes with tells little.
        let is_reading = matches!(
            key,
            ApiKey::Fetch | ApiKey::ApiVersions | ApiKey::Metadata | ApiKey::ListOffsets
        );
        let trouble = self.change(|state| {
            let waiting = state
                .broker_trouble
                .iter()
                .position(|left| *left > 0)
                .filter(|_| !is_reading);
            if let Some(which) = waiting {
                state.broker_trouble[which] -= 1;
            }
            waiting.or(noise)
        });
        match trouble.filter(|_| !is_calm) {
            Some(0) => broker::Fate::AnswerLost,
            Some(1) => broker::Fate::Lost,
            Some(2) => broker::Fate::Slow(Duration::from_millis(1500)),
            _ => broker::Fate::Answered,
        }
    }

    /// What the store has done.
    fn witness(&self, kind: store::Kind, path: &str, done: bool) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let phase = match kind {
            store::Kind::Put if !done => return,
            store::Kind::Put if name == "head" => {
                self.change(|state| state.swaps += 1);
                Phase::HeadSwapped
            }
            store::Kind::Put if name == "_metadata" => Phase::Metadata,
            store::Kind::Put => Phase::SnapshotPut,
            store::Kind::Delete => Phase::Deleting,
            store::Kind::Get | store::Kind::List => return,
        };
        self.come_to(phase);
    }
}

/// The output as readers of committed records are shown it.
#[derive(Default)]
struct Output {
    next: [i64; PARTITIONS],
    checker: Checker,
}

impl Output {
    fn read(&mut self, brokers: &Brokers, rows: &Rows) -> anyhow::Result<()> {
        for partition in 0..PARTITIONS {
            let from = self.next[partition];
            let read = brokers.with(|cluster| {
                let partition = cluster.partition(OUTPUT, partition as i32)?;
                partition.read(from, true, usize::MAX).ok()
            });
            let Some(read) = read else { continue };
            let aborted = read
                .aborted
                .iter()
                .map(|aborted| (aborted.producer_id, aborted.first_offset));
            let (records, next) = crate::client::shown(read.records, aborted, from)?;
            self.next[partition] = next;
            for record in records {
                self.checker
                    .take(rows, record.value.as_deref().unwrap_or_default())?;
            }
        }
        Ok(())
    }
}
