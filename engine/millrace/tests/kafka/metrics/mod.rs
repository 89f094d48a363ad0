//! The metrics and the log of a real cluster, beside those of Apache Flink.

mod cluster;
mod exposition;
mod flink;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use millrace_testkit::{records, wait};

use self::cluster::Cluster;
use self::exposition::Families;
use super::{PATIENCE, kafka};

/// Orders with event times of now, one in fifty a minute late, for as long as it is there.
struct Feed<'a> {
    ends: &'a AtomicBool,
}

impl Feed<'_> {
    fn run(&self, topic: &str) {
        for round in 0.. {
            if self.ends.load(Ordering::Relaxed) {
                return;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
            let order = |i: i64| {
                let at = if i == 0 { now - 60_000 } else { now };
                let value = format!(
                    r#"{{"user": {}, "amount": {}, "at": {at}}}"#,
                    (round * 7 + i) % 97,
                    i
                );
                (format!("{}", i % 8), value)
            };
            let orders: Vec<(String, String)> = (0..50).map(order).collect();
            let orders = orders.iter().map(|(key, value)| (key, Some(value)));
            records::write_nullable(&kafka().client(), topic, orders).unwrap();
        }
    }
}

fn script(input: &str, output: &str) -> String {
    let bootstrap = kafka().bootstrap();
    format!(
        "SET 'pipeline.name' = 'orders a minute';
         CREATE TABLE orders (`user` BIGINT, amount BIGINT, `at` BIGINT, ts AS TO_TIMESTAMP_LTZ(`at`, 3),
           WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'kafka', 'topic' = '{input}', 'properties.bootstrap.servers' = '{bootstrap}',
           'properties.group.id' = '{input}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
         CREATE TABLE totals (`user` BIGINT, w TIMESTAMP_LTZ(3), n BIGINT, amount BIGINT)
         WITH ('connector' = 'kafka', 'topic' = '{output}', 'properties.bootstrap.servers' = '{bootstrap}',
           'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{output}',
           'properties.transaction.timeout.ms' = '600000');
         INSERT INTO totals SELECT `user`, window_start, COUNT(*), SUM(amount)
         FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY `user`, window_start, window_end;\n"
    )
}

/// Of all series of a name together.
fn sum(families: &Families, name: &str) -> f64 {
    let samples = families.get(name).into_iter().flat_map(|family| &family.samples);
    samples.map(|sample| sample.value).sum()
}

/// Names that are not there, or with another type or other labels than Flink's.
fn differences(families: &Families) -> Vec<String> {
    let mut differences = Vec::new();
    for recorded in flink::recorded() {
        if flink::is_left_out(&recorded.name) {
            continue;
        }
        let Some(family) = families.get(&recorded.name) else {
            differences.push(format!("{} is missing", recorded.name));
            continue;
        };
        if family.kind != recorded.kind {
            differences.push(format!("{} is a {}", recorded.name, family.kind));
        }
        let wanted: Vec<&str> = recorded.labels.iter().map(String::as_str).collect();
        if family.label_sets() != BTreeSet::from([wanted]) {
            differences.push(format!("{} has labels {:?}", recorded.name, family.label_sets()));
        }
    }
    let besides = flink::BESIDES
        .iter()
        .filter(|name| !families.contains_key(**name));
    differences.extend(besides.map(|name| format!("{name} is missing")));
    differences
}

/// What grows while the job runs.
const GROWS: &[&str] = &[
    "flink_jobmanager_Status_JVM_CPU_Time",
    "flink_jobmanager_job_uptime",
    "flink_jobmanager_job_runningTime",
    "flink_jobmanager_job_numberOfCompletedCheckpoints",
    "flink_jobmanager_job_totalNumberOfCheckpoints",
    "flink_jobmanager_job_lastCompletedCheckpointId",
    "flink_jobmanager_job_lastCheckpointCompletedTimestamp",
    "flink_taskmanager_Status_JVM_CPU_Time",
    "flink_taskmanager_job_task_numRecordsIn",
    "flink_taskmanager_job_task_numRecordsOut",
    "flink_taskmanager_job_task_numBytesIn",
    "flink_taskmanager_job_task_numBytesInLocal",
    "flink_taskmanager_job_task_numBytesInRemote",
    "flink_taskmanager_job_task_numBuffersInLocal",
    "flink_taskmanager_job_task_numBuffersInRemote",
    "flink_taskmanager_job_task_Shuffle_Netty_Input_numBytesInRemote",
    "flink_taskmanager_job_task_numBytesOut",
    "flink_taskmanager_job_task_numBuffersOut",
    "flink_taskmanager_job_task_numFiredTimers",
    "flink_taskmanager_job_task_accumulateBusyTimeMs",
    "flink_taskmanager_job_task_accumulateIdleTimeMs",
    "flink_taskmanager_job_task_currentInputWatermark",
    "flink_taskmanager_job_task_operator_currentInputWatermark",
    "flink_taskmanager_job_task_operator_currentOutputWatermark",
    "flink_taskmanager_job_task_operator_numRecordsIn",
    "flink_taskmanager_job_task_operator_numRecordsOut",
    "flink_taskmanager_job_task_operator_numLateRecordsDropped",
    "flink_taskmanager_job_task_operator_numBytesIn",
    "flink_taskmanager_job_task_operator_numBytesOut",
    "flink_taskmanager_job_task_operator_numBytesSend",
    "flink_taskmanager_job_task_operator_numRecordsSend",
    "flink_taskmanager_job_task_operator_totalCommittables",
    "flink_taskmanager_job_task_operator_successfulCommittables",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_commitsSucceeded",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_topic_partition_currentOffset",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_topic_partition_committedOffset",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_records_consumed_total",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_bytes_consumed_total",
];

/// What is above zero after a while.
const IS_THERE: &[&str] = &[
    "flink_jobmanager_numRegisteredTaskManagers",
    "flink_jobmanager_taskSlotsTotal",
    "flink_jobmanager_numRunningJobs",
    "flink_jobmanager_Status_JVM_CPU_Load",
    "flink_jobmanager_Status_JVM_Memory_Heap_Used",
    "flink_jobmanager_Status_JVM_Memory_Heap_Committed",
    "flink_jobmanager_Status_JVM_Memory_Heap_Max",
    "flink_jobmanager_Status_JVM_Memory_NonHeap_Used",
    "flink_jobmanager_Status_JVM_Memory_Metaspace_Used",
    "flink_jobmanager_Status_JVM_Threads_Count",
    "flink_jobmanager_Status_JVM_FileDescriptor_Open",
    "flink_jobmanager_job_lastCheckpointDuration",
    "flink_jobmanager_job_lastCheckpointSize",
    "flink_jobmanager_job_lastCheckpointFullSize",
    "flink_taskmanager_Status_JVM_CPU_Load",
    "flink_taskmanager_Status_JVM_Memory_Heap_Used",
    "flink_taskmanager_Status_JVM_Memory_Direct_TotalCapacity",
    "flink_taskmanager_Status_Flink_Memory_Managed_Used",
    "flink_taskmanager_Status_Flink_Memory_Managed_Total",
    "flink_taskmanager_Status_Shuffle_Netty_TotalMemory",
    "flink_taskmanager_Status_Shuffle_Netty_TotalMemorySegments",
    "flink_taskmanager_Status_Shuffle_Netty_AvailableMemory",
    "flink_taskmanager_job_task_busyTimeMsPerSecond",
    "flink_taskmanager_job_task_idleTimeMsPerSecond",
    "flink_taskmanager_job_task_numRecordsInPerSecond",
    "flink_taskmanager_job_task_numRecordsOutPerSecond",
    "flink_taskmanager_job_task_numBytesInPerSecond",
    "flink_taskmanager_job_task_numBytesInRemotePerSecond",
    "flink_taskmanager_job_task_numBytesOutPerSecond",
    "flink_taskmanager_job_task_numBuffersOutPerSecond",
    "flink_taskmanager_job_task_numFiredTimersPerSecond",
    "flink_taskmanager_job_task_checkpointAlignmentTime",
    "flink_taskmanager_job_task_checkpointStartDelayNanos",
    "flink_taskmanager_job_task_initializationTime",
    "flink_taskmanager_job_task_mailboxMailsPerSecond",
    "flink_taskmanager_job_task_mailboxLatencyMs",
    "flink_taskmanager_job_task_operator_numRecordsInPerSecond",
    "flink_taskmanager_job_task_operator_lateRecordsDroppedRate",
    "flink_taskmanager_job_task_operator_watermarkLag",
    "flink_taskmanager_job_task_operator_watermarkLatency",
    "flink_taskmanager_job_task_operator_currentSendTime",
    "flink_taskmanager_job_task_operator_currentEmitEventTimeLag",
    "flink_taskmanager_job_task_operator_currentFetchEventTimeLag",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_records_consumed_rate",
    "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_assigned_partitions",
];

/// Those of `names` for which it is not so yet.
fn missing<'a>(names: &[&'a str], is_so: impl Fn(&str) -> bool) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !is_so(name)).collect()
}

/// Waits until nothing is missing; says what was.
fn until_all(what: &str, cluster: &Cluster, mut missing: impl FnMut() -> anyhow::Result<Vec<String>>) {
    let all_there = || {
        let missing = missing()?;
        match missing.is_empty() {
            true => Ok(Some(())),
            false => anyhow::bail!("{}", missing.join("\n")),
        }
    };
    wait::until(what, PATIENCE, all_there).unwrap_or_else(|e| panic!("{e:?}\n{}", cluster.logs()));
}

#[test]
fn a_cluster_has_flinks_metrics_and_they_move() {
    let (input, output) = (
        kafka().unique_topic("orders", 2),
        kafka().unique_topic("totals", 2),
    );
    let folder = tempfile::tempdir().unwrap();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let feed = Feed { ends: &ends };
        let topic = input.clone();
        scope.spawn(move || feed.run(&topic));
        // Also where an assertion fails.
        let _ended = Ended(&ends);
        let mut cluster = started(folder.path(), &script(&input, &output));
        cluster.add();
        cluster.add();
        until_all("Flink's names", &cluster, || Ok(differences(&cluster.scrape()?)));
        let before = cluster.scrape().unwrap();
        until_all("figures that grow", &cluster, || {
            let now = cluster.scrape()?;
            let still = missing(GROWS, |name| sum(&now, name) > sum(&before, name));
            Ok(still
                .into_iter()
                .map(|name| format!("{name} stays {}", sum(&now, name)))
                .collect())
        });
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        until_all("figures above zero", &cluster, || {
            let now = cluster.scrape()?;
            seen.extend(IS_THERE.iter().copied().filter(|name| sum(&now, name) > 0.0));
            let still = missing(IS_THERE, |name| seen.contains(name));
            Ok(still.into_iter().map(str::to_owned).collect())
        });
        are_plausible(&cluster.scrape().unwrap());
        a_lost_task_manager_shows(&mut cluster);
    });
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn started(folder: &Path, script: &str) -> Cluster {
    let checkpoints = format!(
        "execution.checkpointing.dir={}",
        folder.join("checkpoints").display()
    );
    let settings = [
        "parallelism.default=2",
        "execution.checkpointing.interval=500 ms",
        checkpoints.as_str(),
        "heartbeat.interval=500 ms",
        "heartbeat.timeout=10 s",
        "restart-strategy.type=fixed-delay",
        "restart-strategy.fixed-delay.attempts=1000",
        "restart-strategy.fixed-delay.delay=200 ms",
        "metrics.job.status.enable=STATE,CURRENT_TIME,TOTAL_TIME",
        "table.local-time-zone=UTC",
    ];
    Cluster::start(folder, script, &settings)
}

/// What must be so at any time.
fn are_plausible(families: &Families) {
    let values = |name: &str| {
        let samples = families[name].samples.iter();
        samples.map(|sample| sample.value).collect::<Vec<f64>>()
    };
    let task = "flink_taskmanager_job_task";
    for share in [
        "busy",
        "idle",
        "backPressured",
        "softBackPressured",
        "hardBackPressured",
    ] {
        for millis in values(&format!("{task}_{share}TimeMsPerSecond")) {
            assert!((0.0..=1000.0).contains(&millis), "{share}: {millis}");
        }
    }
    for usage in ["Input_Buffers_inPoolUsage", "Output_Buffers_outPoolUsage"] {
        for share in values(&format!("{task}_Shuffle_Netty_{usage}")) {
            assert!((0.0..=1.0).contains(&share), "{usage}: {share}");
        }
    }
    assert_eq!(sum(families, "flink_jobmanager_taskSlotsTotal"), 2.0);
    assert_eq!(sum(families, "flink_jobmanager_taskSlotsAvailable"), 0.0);
    assert_eq!(sum(families, "flink_jobmanager_numRunningJobs"), 1.0);
    assert_eq!(sum(families, "flink_jobmanager_job_runningState"), 1.0);
    assert_eq!(sum(families, "flink_jobmanager_job_numRestarts"), 0.0);
    for process in ["jobmanager", "taskmanager"] {
        let memory = |name: &str| values(&format!("flink_{process}_Status_JVM_Memory_{name}"));
        for (used, most) in memory("Heap_Used").iter().zip(memory("Heap_Max")) {
            assert!(*used > 100_000.0 && *used <= most, "{used} of {most}");
        }
    }
    // Of two sources each has a partition.
    assert_eq!(values(&format!("{task}_operator_pendingRecords")).len(), 2);
    let samples = &families["flink_taskmanager_job_task_operator_numRecordsIn"].samples;
    let names: BTreeSet<&str> = samples
        .iter()
        .map(|s| s.labels["operator_name"].as_str())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("Source:_orders")),
        "{names:?}"
    );
    assert!(samples.iter().all(|s| s.labels["job_name"] == "orders_a_minute"));
}

/// A restart in figures and in the log.
fn a_lost_task_manager_shows(cluster: &mut Cluster) {
    let job =
        cluster.job_manager.scrape().unwrap()["flink_jobmanager_job_uptime"].samples[0].labels["job_id"]
            .clone();
    let mut lost = cluster.task_managers.remove(0);
    are_json(&lost.log(), &job);
    lost.process.kill().unwrap();
    let down = || {
        let now = cluster.job_manager.scrape()?;
        let is_down = sum(&now, "flink_jobmanager_job_runningState") == 0.0
            && sum(&now, "flink_jobmanager_numRegisteredTaskManagers") == 1.0;
        Ok(is_down.then_some(()))
    };
    wait::until("a job that does not run", PATIENCE, down)
        .unwrap_or_else(|e| panic!("{e:?}\n{}", cluster.logs()));
    cluster.add();
    until_all("a restart in the figures", cluster, || {
        let now = cluster.job_manager.scrape()?;
        let is_so = [
            (
                "numRestarts",
                sum(&now, "flink_jobmanager_job_numRestarts") == 1.0,
            ),
            (
                "runningState",
                sum(&now, "flink_jobmanager_job_runningState") == 1.0,
            ),
            (
                "restartingTimeTotal",
                sum(&now, "flink_jobmanager_job_restartingTimeTotal") > 0.0,
            ),
            (
                "restored",
                sum(&now, "flink_jobmanager_job_lastCheckpointRestoreTimestamp") > 0.0,
            ),
        ];
        Ok(is_so
            .iter()
            .filter(|(_, is)| !is)
            .map(|(name, _)| (*name).to_owned())
            .collect())
    });
    let name = "orders a minute";
    for line in [
        format!("Received job submission '{name}' ({job})."),
        format!("Job {job} is submitted."),
        format!("Job {name} ({job}) switched from state CREATED to RUNNING."),
        format!(
            "Triggering checkpoint 1 (type=CheckpointType{{name='Checkpoint', sharingFilesStrategy=FORWARD_BACKWARD}}) @ "
        ),
        format!("Completed checkpoint 1 for job {job} ("),
        format!("Job {name} ({job}) switched from state RUNNING to RESTARTING."),
        format!("Restoring job {job} from Checkpoint "),
        "Registering TaskManager with ResourceID ".to_owned(),
        "Loading configuration property: parallelism.default, 2".to_owned(),
        "switched from INITIALIZING to RUNNING.".to_owned(),
    ] {
        let log = cluster.job_manager.log();
        assert!(log.contains(&line), "not in the log: {line}\n{log}");
    }
}

/// Each line an object; what subtasks say has their job.
fn are_json(log: &str, job: &str) {
    let mut of_job = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        of_job += usize::from(line["job_id"] == job && line["job_name"] == "orders a minute");
    }
    assert!(of_job > 0, "{log}");
}

#[test]
fn a_source_is_back_pressured_by_what_is_slower_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    // As fast as it can; behind it each row is hashed many times.
    let hashed = (0..40).fold("name".to_owned(), |inner, _| format!("SHA512({inner})"));
    let script = format!(
        "CREATE TABLE numbers (k BIGINT, name STRING) WITH ('connector' = 'datagen', 'fields.k.kind' = 'random',
           'fields.name.length' = '50');
         CREATE TABLE sums (k BIGINT, h STRING) WITH ('connector' = 'blackhole');
         INSERT INTO sums SELECT k, MAX({hashed}) FROM numbers GROUP BY k;\n"
    );
    let settings = [
        "parallelism.default=1",
        "pipeline.operator-chaining.enabled=false",
    ];
    let mut cluster = Cluster::start(folder.path(), &script, &settings);
    cluster.add();
    let task = "flink_taskmanager_job_task";
    let millis = |families: &Families, what: &str, vertex: &str| -> f64 {
        let family = families.get(&format!("{task}_{what}TimeMsPerSecond"));
        let samples = family.into_iter().flat_map(|family| &family.samples);
        let own = samples.filter(|sample| sample.labels["task_name"].starts_with(vertex));
        own.map(|sample| sample.value).sum()
    };
    until_all("back-pressure", &cluster, || {
        let now = cluster.task_managers[0].scrape()?;
        let mut missing = Vec::new();
        let source = |what| millis(&now, what, "Source");
        if source("backPressured") < 300.0
            || source("softBackPressured") + source("hardBackPressured") < 300.0
        {
            missing.push(format!(
                "the source is back-pressured for {} ms",
                source("backPressured")
            ));
        }
        if source("idle") > 100.0 {
            missing.push(format!("the source is idle for {} ms", source("idle")));
        }
        let longest = ["maxSoftBackPressureTimeMs", "maxHardBackPressureTimeMs"];
        if longest
            .iter()
            .map(|name| sum(&now, &format!("{task}_{name}")))
            .sum::<f64>()
            == 0.0
        {
            missing.push("no longest back-pressure".to_owned());
        }
        // All of each subtask's time is something.
        for vertex in ["Source", "Calc"] {
            let all: f64 = ["busy", "idle", "backPressured"]
                .map(|what| millis(&now, what, vertex))
                .iter()
                .sum();
            if !(900.0..=1000.0).contains(&all) {
                missing.push(format!("{vertex}: {all} ms of a second"));
            }
        }
        if millis(&now, "busy", "Calc") < 500.0 {
            missing.push(format!(
                "what is slow is busy for {} ms",
                millis(&now, "busy", "Calc")
            ));
        }
        if sum(&now, &format!("{task}_Shuffle_Netty_Output_Buffers_outPoolUsage")) == 0.0 {
            missing.push("nothing waits in channels".to_owned());
        }
        Ok(missing)
    });
}
