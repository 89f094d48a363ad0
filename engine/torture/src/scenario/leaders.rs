//! Two JobManagers with high availability and three TaskManagers, each a process: any of them is killed, frozen or cut
//! off, and so is the leader of what they are elected by; two at once now and then.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::kubernetes::{Kubernetes, Rule};
use millrace_testkit::process::Process;
use millrace_testkit::zookeeper::ZooKeeper;
use millrace_testkit::{engine, ports, wait};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::inside::{self, Namespaces};
use crate::job::Shape;
use crate::workbench::{Line, Summary, Workbench};

/// For progress after a fault.
const LIMIT: Duration = Duration::from_secs(90);
const JOB_MANAGERS: u32 = 2;
const TASK_MANAGERS: u32 = 3;
/// Processes are told apart by their groups, where packets are dropped.
const FIRST_GROUP: u32 = 4100;
/// Of every so many faults one is two at once.
const TWO_AT_ONCE: u32 = 6;

/// A process that is cut off has its packets dropped: in a network of the scenario's own, which has nothing but the
/// loopback interface.
const NAMESPACES: Namespaces<'_> = Namespaces {
    ways: &[&["--net"]],
    probe: "ip link set lo up && iptables -A OUTPUT -m owner --gid-owner 4100 -j DROP && exec setpriv --regid 4100 --clear-groups true",
    why: "only root with iptables can cut single processes off in a network namespace",
    limit: Duration::from_secs(3000),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ha {
    ZooKeeper,
    Kubernetes,
}

pub fn run(name: &str, ha: Ha, shape: Shape, faults: u32, seed: u64) -> Result<Summary> {
    inside::run(name, seed, &NAMESPACES, || {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
        ensure!(up.success(), "the loopback interface does not come up");
        let kafka = Kafka::start(Version::Kafka39, Options::default())?;
        torture(&kafka, ha, shape, faults, seed)
    })
}

/// What elects the leader.
enum Coordinator {
    ZooKeeper(ZooKeeper),
    Kubernetes(Kubernetes),
}

impl Coordinator {
    fn start(ha: Ha) -> Result<Coordinator> {
        Ok(match ha {
            Ha::ZooKeeper => Coordinator::ZooKeeper(ZooKeeper::start(3)?),
            Ha::Kubernetes => Coordinator::Kubernetes(Kubernetes::start()?),
        })
    }

    fn options(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(match self {
            Coordinator::ZooKeeper(zookeeper) => vec![
                ("high-availability.type", "zookeeper".to_owned()),
                ("high-availability.cluster-id", "/torture".to_owned()),
                ("high-availability.zookeeper.quorum", zookeeper.quorum()),
                (
                    "high-availability.zookeeper.client.session-timeout",
                    "4 s".to_owned(),
                ),
                (
                    "high-availability.zookeeper.client.connection-timeout",
                    "2 s".to_owned(),
                ),
                (
                    "high-availability.zookeeper.client.retry-wait",
                    "500 ms".to_owned(),
                ),
            ],
            Coordinator::Kubernetes(kubernetes) => {
                let namespace = "torture";
                kubernetes.create_namespace(namespace)?;
                let rule = Rule {
                    group: "",
                    resources: &["configmaps"],
                    verbs: &["get", "watch", "create", "patch", "delete"],
                };
                let token = kubernetes.create_account(namespace, "jobmanager", &[rule])?;
                let file = kubernetes.kubeconfig("torture", namespace, &token, kubernetes.port())?;
                vec![
                    ("high-availability.type", "kubernetes".to_owned()),
                    ("kubernetes.cluster-id", "torture".to_owned()),
                    ("kubernetes.namespace", namespace.to_owned()),
                    ("kubernetes.config.file", file.display().to_string()),
                    (
                        "high-availability.kubernetes.leader-election.lease-duration",
                        "3 s".to_owned(),
                    ),
                    (
                        "high-availability.kubernetes.leader-election.renew-deadline",
                        "2 s".to_owned(),
                    ),
                    (
                        "high-availability.kubernetes.leader-election.retry-period",
                        "500 ms".to_owned(),
                    ),
                ]
            }
        })
    }

    /// Its leader dies, and comes again after a while.
    fn fail(&mut self, away: Duration) -> Result<()> {
        match self {
            Coordinator::ZooKeeper(zookeeper) => {
                let leader = zookeeper.wait_leader()?;
                zookeeper.kill(leader)?;
                thread::sleep(away);
                zookeeper.restart(leader)
            }
            Coordinator::Kubernetes(kubernetes) => {
                kubernetes.kill()?;
                thread::sleep(away);
                kubernetes.restart()
            }
        }
    }
}

/// Where a process stands still until others have gone on without it: a JobManager on both sides of the swap that
/// completes a checkpoint, a TaskManager on both sides of a commit.
const MOMENTS: [(Kind, &str); 5] = [
    (Kind::JobManager, "checkpoint.after-metadata"),
    (Kind::JobManager, "checkpoint.before-head"),
    (Kind::JobManager, "checkpoint.after-head"),
    (Kind::TaskManager, "sink.after-handle"),
    (Kind::TaskManager, "sink.before-commit"),
];

/// Who is frozen in the middle of a checkpoint or a commit, and thawed when another leads, changes nothing any more.
pub fn thawed(kafka: &Kafka) -> Result<Summary> {
    let (mut cluster, _coordinator) = cluster(kafka, Ha::ZooKeeper, Shape::Union, false)?;
    for (number, (kind, point)) in MOMENTS.into_iter().enumerate() {
        let point = format!("{point}:3:stop");
        let members = &mut cluster.members;
        let place = match kind {
            // The one that is to stand still leads, and the other one is there to follow.
            Kind::JobManager => {
                members.retain(|member| member.kind != Kind::JobManager);
                let first = cluster.start_with(kind, 0, Some(&point))?;
                let log = first.process.log().to_owned();
                let leads = count(&log, LEADS)?;
                cluster.members.push(first);
                wait::until("the first JobManager to lead", LIMIT, || {
                    Ok((count(&log, LEADS)? > leads).then_some(()))
                })?;
                let second = cluster.start(kind, 1)?;
                cluster.members.push(second);
                cluster.members.len() - 2
            }
            Kind::TaskManager => {
                // Without the one that is to stand still there are too few.
                let mut others = 0;
                members.retain(|member| {
                    others += u32::from(member.kind == kind);
                    member.kind != kind || others < TASK_MANAGERS
                });
                let armed = cluster.start_with(kind, 0, Some(&point))?;
                cluster.members.push(armed);
                cluster.members.len() - 1
            }
        };
        let log = cluster.members[place].process.log().to_owned();
        wait::until(&format!("{kind:?} at {point}"), LIMIT, || {
            Ok((count(&log, "fail point")? > number_of(&MOMENTS[..number], kind)).then_some(()))
        })
        .with_context(|| cluster.log_tails())?;
        if kind == Kind::TaskManager {
            // So that the job goes on without it.
            let spare = cluster.start(kind, TASK_MANAGERS + number as u32)?;
            cluster.members.push(spare);
        }
        cluster.wait_for_progress().with_context(|| point.clone())?;
        cluster.members[place].process.signal(CONTINUE)?;
        cluster.wait_for_progress().with_context(|| point.clone())?;
        println!("  {kind:?} at {point}");
    }
    let mut summary = cluster.finish(kafka)?;
    summary.kills = MOMENTS.len() as u32;
    Ok(summary)
}

const LEADS: &str = "this JobManager leads";
const CONTINUE: i32 = 18;

fn number_of(moments: &[(Kind, &str)], kind: Kind) -> usize {
    moments.iter().filter(|(of, _)| *of == kind).count()
}

/// How often a log has a text.
fn count(log: &std::path::Path, text: &str) -> Result<usize> {
    Ok(std::fs::read_to_string(log)
        .unwrap_or_default()
        .matches(text)
        .count())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    JobManager,
    TaskManager,
}

struct Member {
    kind: Kind,
    /// Its place among its kind, which the one that is started in its place has too.
    number: u32,
    process: Process,
}

impl Member {
    fn group(&self) -> u32 {
        group(self.kind, self.number)
    }
}

fn group(kind: Kind, number: u32) -> u32 {
    match kind {
        Kind::JobManager => FIRST_GROUP + number,
        Kind::TaskManager => FIRST_GROUP + 50 + number,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Freeze,
    Cut,
}

struct Cluster {
    members: Vec<Member>,
    options: Vec<(String, String)>,
    ports: [u16; JOB_MANAGERS as usize],
    bench: Workbench,
    starts: u32,
    /// Processes are in groups by which they can be cut off.
    has_groups: bool,
}

impl Cluster {
    fn start(&mut self, kind: Kind, number: u32) -> Result<Member> {
        self.start_with(kind, number, None)
    }

    fn start_with(&mut self, kind: Kind, number: u32, fail_point: Option<&str>) -> Result<Member> {
        self.starts += 1;
        let folder = self.bench.folder.path().to_owned();
        let mut command = engine::command()?;
        command.current_dir(&folder);
        if self.has_groups {
            command.gid(group(kind, number));
        }
        if let Some(fail_point) = fail_point {
            command.env("MILLRACE_FAIL_POINT", fail_point);
        }
        let log = match kind {
            Kind::JobManager => {
                command.arg("standalone-job").arg(folder.join("job.sql"));
                let port = self.ports[number as usize];
                command.arg("-D").arg(format!("jobmanager.rpc.port={port}"));
                command.arg("-D").arg("jobmanager.rpc.address=127.0.0.1");
                format!("job-manager-{number}.log")
            }
            Kind::TaskManager => {
                command.arg("taskmanager");
                command.arg("-D").arg("taskmanager.host=127.0.0.1");
                let state = folder
                    .join(format!("state-{}", self.starts))
                    .display()
                    .to_string();
                command
                    .arg("-D")
                    .arg(format!("state.backend.rocksdb.localdir={state}"));
                format!("task-manager-{number}.log")
            }
        };
        for (key, value) in &self.options {
            command.arg("-D").arg(format!("{key}={value}"));
        }
        Ok(Member {
            kind,
            number,
            process: Process::start(command, &folder.join(log))?,
        })
    }

    /// What has ended by itself, which none may.
    fn expect_running(&mut self) -> Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.process.ended()? {
                bail!(
                    "{:?} {} ended by itself ({status}):\n{}",
                    member.kind,
                    member.number,
                    member.process.log_tail()
                );
            }
        }
        Ok(())
    }

    fn wait_for_progress(&mut self) -> Result<()> {
        let before = wait::until("the output's end", LIMIT, || self.bench.visible().map(Some))?;
        let followed = wait::until("progress of the output", LIMIT, || {
            if let Err(e) = self.expect_running() {
                return Ok(Some(Err(e)));
            }
            Ok((self.bench.visible()? > before).then_some(Ok(())))
        });
        followed.with_context(|| self.log_tails())?
    }

    fn log_tails(&self) -> String {
        let tails = self.members.iter().map(|member| {
            format!(
                "== {:?} {}\n{}\n",
                member.kind,
                member.number,
                member.process.log_tail()
            )
        });
        tails.collect()
    }

    /// Begins a fault; what ends it is given back.
    fn begin(&mut self, place: usize, fault: Fault) -> Result<()> {
        let member = &mut self.members[place];
        match fault {
            Fault::Kill => {
                let (kind, number) = (member.kind, member.number);
                member.process.kill()?;
                self.members[place] = self.start(kind, number)?;
            }
            Fault::Freeze => member.process.freeze()?,
            Fault::Cut => filter("-A", member.group())?,
        }
        Ok(())
    }

    fn end(&mut self, place: usize, fault: Fault) -> Result<()> {
        let member = &mut self.members[place];
        match fault {
            Fault::Kill => Ok(()),
            Fault::Freeze => member.process.thaw(),
            Fault::Cut => filter("-D", member.group()),
        }
    }
}

/// Adds or removes the rule by which nothing that a group's processes send arrives.
fn filter(change: &str, group: u32) -> Result<()> {
    let group = group.to_string();
    let status = Command::new("iptables")
        .args([
            "-w",
            change,
            "OUTPUT",
            "-m",
            "owner",
            "--gid-owner",
            &group,
            "-j",
            "DROP",
        ])
        .status()?;
    ensure!(status.success(), "iptables {change} fails");
    Ok(())
}

/// All of it, running.
fn cluster(kafka: &Kafka, ha: Ha, shape: Shape, has_groups: bool) -> Result<(Cluster, Coordinator)> {
    let coordinator = Coordinator::start(ha)?;
    let mut bench = Workbench::of(kafka, Line::Plain, shape, "leaders", 1000)?;
    let storage = format!("file://{}", bench.folder.join("ha").display());
    for (key, value) in [
        ("high-availability.storageDir", storage.as_str()),
        ("heartbeat.interval", "500 ms"),
        ("heartbeat.timeout", "3 s"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "100000"),
        ("restart-strategy.fixed-delay.delay", "0 ms"),
        // Who is cut off from Kafka or the others may fail any number of checkpoints.
        ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
        ("execution.checkpointing.timeout", "10 s"),
        ("pipeline.operator-chaining.enabled", "false"),
        ("parallelism.default", "3"),
    ] {
        bench.job.option(key, value);
    }
    for (key, value) in coordinator.options()? {
        bench.job.option(key, value);
    }
    // The folder of keyed state is each TaskManager's own.
    let mut options = bench.job.options.clone();
    options.retain(|(key, _)| key != "state.backend.rocksdb.localdir");
    std::fs::write(bench.folder.join("job.sql"), bench.job.sql())?;
    let mut cluster = Cluster {
        members: Vec::new(),
        options,
        ports: [ports::free()?, ports::free()?],
        bench,
        starts: 0,
        has_groups,
    };
    for number in 0..JOB_MANAGERS {
        let member = cluster.start(Kind::JobManager, number)?;
        cluster.members.push(member);
    }
    for number in 0..TASK_MANAGERS {
        let member = cluster.start(Kind::TaskManager, number)?;
        cluster.members.push(member);
    }
    cluster.wait_for_progress()?;
    Ok((cluster, coordinator))
}

fn torture(kafka: &Kafka, ha: Ha, shape: Shape, faults: u32, seed: u64) -> Result<Summary> {
    let (mut cluster, mut coordinator) = cluster(kafka, ha, shape, true)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..faults {
        thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        // Beyond heartbeat, session and lease, or within them.
        let lasts = Duration::from_millis(rng.random_range(200..7000));
        // The last of the places is the coordinator.
        let first = rng.random_range(0..=cluster.members.len());
        let mut victims = vec![first];
        if number % TWO_AT_ONCE == TWO_AT_ONCE - 1 {
            victims.push((first + rng.random_range(1..=cluster.members.len())) % (cluster.members.len() + 1));
        }
        let mut begun = Vec::new();
        let began = Instant::now();
        let mut coordinator_fails = false;
        let mut names = Vec::new();
        for place in victims {
            if place == cluster.members.len() {
                coordinator_fails = true;
                names.push("coordinator Kill".to_owned());
                continue;
            }
            let fault = [Fault::Kill, Fault::Freeze, Fault::Cut][rng.random_range(0..3)];
            names.push(format!("{:?} {fault:?}", cluster.members[place].kind));
            cluster.begin(place, fault)?;
            begun.push((place, fault));
        }
        *done.entry(names.join(" + ")).or_default() += 1;
        if coordinator_fails {
            coordinator.fail(lasts)?;
        }
        if begun.iter().any(|(_, fault)| *fault != Fault::Kill) {
            thread::sleep(lasts.saturating_sub(began.elapsed()));
        }
        for (place, fault) in begun {
            cluster.end(place, fault)?;
        }
        cluster
            .wait_for_progress()
            .with_context(|| format!("after fault {number}: {}", names.join(" + ")))?;
    }
    for (name, count) in &done {
        println!("  {name:<44} {count}");
    }
    let mut summary = cluster.finish(kafka)?;
    summary.kills = faults;
    Ok(summary)
}

impl Cluster {
    /// Lets the job read to the end, checks all, and ends every process.
    fn finish(self, kafka: &Kafka) -> Result<Summary> {
        let Cluster {
            mut members,
            mut bench,
            ..
        } = self;
        bench.caught_up(|| {
            for member in &mut members {
                ensure!(
                    member.process.ended()?.is_none(),
                    "{:?} {} ended by itself:\n{}",
                    member.kind,
                    member.number,
                    member.process.log_tail()
                );
            }
            Ok(())
        })?;
        bench.check(kafka)?;
        for member in &mut members {
            member.process.signal(15)?;
        }
        for member in &mut members {
            let status = member.process.wait(Duration::from_secs(60))?;
            ensure!(
                status.success(),
                "{:?} {} was told to end and ended with {status}:\n{}",
                member.kind,
                member.number,
                member.process.log_tail()
            );
        }
        bench.passed();
        Ok(bench.summary)
    }
}
