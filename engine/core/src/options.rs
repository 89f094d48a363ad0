//! The options that the engine reads, under Flink's keys where Flink has them.

use std::time::Duration;

use crate::config::{ConfigOption, MemorySize};

/// Defines the options, and the list of their keys.
macro_rules! options {
    ($($(#[$about:meta])* pub const $name:ident: $kind:ty = $option:expr;)*) => {
        $($(#[$about])* pub const $name: $kind = $option;)*

        /// Keys of all options, with the older keys of Flink for them.
        fn keys() -> impl Iterator<Item = &'static str> {
            let of_options: &[(&str, &[&str])] = &[$(($name.key, $name.fallback_keys)),*];
            of_options.iter().flat_map(|(key, older)| std::iter::once(*key).chain(older.iter().copied()))
        }
    };
}

options! {
    pub const PIPELINE_NAME: ConfigOption<String> = ConfigOption::new(
        "pipeline.name",
        None,
        "the job's name; with the checkpoint folder it is what an unfinished run is found by",
    );
    pub const PARALLELISM: ConfigOption<usize> =
        ConfigOption::new("parallelism.default", Some("1"), "how many subtasks a vertex has");
    pub const TABLE_PARALLELISM: ConfigOption<i64> = ConfigOption::new(
        "table.exec.resource.default-parallelism",
        Some("-1"),
        "parallelism of SQL operators; -1 takes parallelism.default",
    );
    pub const MAX_PARALLELISM: ConfigOption<i64> = ConfigOption::new(
        "pipeline.max-parallelism",
        Some("-1"),
        "key groups that keyed state is divided into, 1 to 32768: parallelism can grow up to here; -1 follows the \
         parallelism, at least 128",
    );
    pub const OPERATOR_CHAINING: ConfigOption<bool> = ConfigOption::new(
        "pipeline.operator-chaining.enabled",
        Some("true"),
        "whether operators that forward to one another share a subtask",
    )
    .with_fallback(&["pipeline.operator-chaining"]);

    pub const CHECKPOINT_INTERVAL: ConfigOption<Duration> = ConfigOption::new(
        "execution.checkpointing.interval",
        None,
        "time between the starts of checkpoints; none means no checkpoints",
    );
    pub const CHECKPOINT_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "execution.checkpointing.timeout",
        Some("10 min"),
        "a checkpoint that takes longer fails",
    );
    pub const CHECKPOINT_MIN_PAUSE: ConfigOption<Duration> = ConfigOption::new(
        "execution.checkpointing.min-pause",
        Some("0 ms"),
        "least time between the end of a checkpoint and the start of the next",
    );
    pub const CHECKPOINT_TOLERABLE_FAILURES: ConfigOption<u32> = ConfigOption::new(
        "execution.checkpointing.tolerable-failed-checkpoints",
        Some("0"),
        "how many checkpoints in a row may fail before the job fails",
    );
    pub const CHECKPOINT_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "execution.checkpointing.dir",
        None,
        "where checkpoints are written: a path, file:// or s3://",
    )
    .with_fallback(&["state.checkpoints.dir"]);
    pub const CHECKPOINTS_RETAINED: ConfigOption<usize> = ConfigOption::new(
        "execution.checkpointing.num-retained",
        Some("1"),
        "how many complete checkpoints are kept",
    )
    .with_fallback(&["state.checkpoints.num-retained"]);

    pub const SLOT_REQUEST_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "slot.request.timeout",
        Some("5 min"),
        "how long a job waits for slots before it fails",
    );
    pub const HEARTBEAT_INTERVAL: ConfigOption<Duration> = ConfigOption::new(
        "heartbeat.interval",
        Some("10 s"),
        "time between heartbeats of JobManager and TaskManagers",
    );
    pub const HEARTBEAT_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "heartbeat.timeout",
        Some("50 s"),
        "who is not heard of for so long is taken for lost",
    );

    pub const JOB_MANAGER_ADDRESS: ConfigOption<String> = ConfigOption::new(
        "jobmanager.rpc.address",
        None,
        "host name of the JobManager, for TaskManagers",
    );
    pub const JOB_MANAGER_PORT: ConfigOption<u16> =
        ConfigOption::new("jobmanager.rpc.port", Some("6123"), "port of the JobManager for TaskManagers");
    pub const JOB_MANAGER_BIND_HOST: ConfigOption<String> = ConfigOption::new(
        "jobmanager.bind-host",
        None,
        "address that the JobManager listens on; localhost if not set, 0.0.0.0 for all",
    );
    pub const JOB_MANAGER_BIND_PORT: ConfigOption<u16> = ConfigOption::new(
        "jobmanager.rpc.bind-port",
        None,
        "port that the JobManager listens on, where it is another than jobmanager.rpc.port",
    );
    pub const TASK_MANAGER_HOST: ConfigOption<String> = ConfigOption::new(
        "taskmanager.host",
        None,
        "host name at which others reach this TaskManager; the machine's if not set",
    );
    pub const TASK_MANAGER_BIND_HOST: ConfigOption<String> = ConfigOption::new(
        "taskmanager.bind-host",
        None,
        "address that a TaskManager listens on; localhost if not set, 0.0.0.0 for all",
    );
    pub const TASK_MANAGER_DATA_PORT: ConfigOption<u16> = ConfigOption::new(
        "taskmanager.data.port",
        Some("0"),
        "port for data between TaskManagers; 0 takes any",
    );
    pub const TASK_MANAGER_DATA_BIND_PORT: ConfigOption<u16> = ConfigOption::new(
        "taskmanager.data.bind-port",
        None,
        "port that a TaskManager listens on for data, where it is another than taskmanager.data.port",
    );
    pub const TASK_MANAGER_ID: ConfigOption<String> = ConfigOption::new(
        "taskmanager.resource-id",
        None,
        "the TaskManager's id; made of its host and port if not set",
    );
    pub const DRAIN_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "millrace.taskmanager.drain-timeout",
        Some("20 s"),
        "how long a TaskManager that is told to end (SIGTERM) waits for its subtasks to be moved to others",
    );
    pub const TASK_SLOTS: ConfigOption<usize> = ConfigOption::new(
        "taskmanager.numberOfTaskSlots",
        Some("1"),
        "subtasks of one vertex that a TaskManager runs at most",
    );
    pub const PROCESS_MEMORY: ConfigOption<MemorySize> = ConfigOption::new(
        "taskmanager.memory.process.size",
        None,
        "memory of the whole TaskManager process",
    );

    pub const REST_ADDRESS: ConfigOption<String> = ConfigOption::new(
        "rest.address",
        None,
        "host name at which clients reach the REST server; jobmanager.rpc.address if not set",
    );
    pub const REST_PORT: ConfigOption<u16> =
        ConfigOption::new("rest.port", Some("8081"), "port of the REST server for clients");
    pub const REST_BIND_ADDRESS: ConfigOption<String> = ConfigOption::new(
        "rest.bind-address",
        None,
        "address that the REST server listens on; localhost if not set, 0.0.0.0 for all",
    );
    pub const REST_BIND_PORT: ConfigOption<String> = ConfigOption::new(
        "rest.bind-port",
        None,
        "ports of which the REST server takes the first that is free, such as 8081,8090-8099; 0 takes any; \
         rest.port if not set",
    );
    pub const REST_MAX_CONTENT_LENGTH: ConfigOption<u64> = ConfigOption::new(
        "rest.server.max-content-length",
        Some("104857600"),
        "bytes of a request to the REST server at most, uploads too",
    );
    pub const REST_ASYNC_STORE_DURATION: ConfigOption<Duration> = ConfigOption::new(
        "rest.async.store-duration",
        Some("5 min"),
        "how long the result of a savepoint or another operation can be asked for after its end",
    );
    pub const WEB_SUBMIT: ConfigOption<bool> = ConfigOption::new(
        "web.submit.enable",
        Some("true"),
        "whether jobs can be uploaded and run by REST, as the dashboard does",
    );
    pub const WEB_CANCEL: ConfigOption<bool> = ConfigOption::new(
        "web.cancel.enable",
        Some("true"),
        "whether the dashboard can cancel jobs",
    );
    pub const WEB_RESCALE: ConfigOption<bool> = ConfigOption::new(
        "web.rescale.enable",
        Some("true"),
        "whether the dashboard can change a job's parallelism",
    );
    pub const WEB_REFRESH_INTERVAL: ConfigOption<Duration> = ConfigOption::new(
        "web.refresh-interval",
        Some("3 s"),
        "time between two looks of the dashboard",
    );
    pub const WEB_ALLOWED_ORIGIN: ConfigOption<String> = ConfigOption::new(
        "web.access-control-allow-origin",
        Some("*"),
        "pages of which other servers may ask the REST server",
    );
    pub const WEB_UPLOAD_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "web.upload.dir",
        None,
        "where uploaded jobs are kept; without it a folder in io.tmp.dirs, which goes away at the end",
    );
    pub const WEB_CHECKPOINT_HISTORY: ConfigOption<usize> = ConfigOption::new(
        "web.checkpoints.history",
        Some("10"),
        "how many checkpoints of a job are remembered with their figures",
    );
    pub const WEB_EXCEPTION_HISTORY: ConfigOption<usize> = ConfigOption::new(
        "web.exception-history-size",
        Some("16"),
        "how many failures of a job are remembered",
    );
    pub const FLAME_GRAPHS: ConfigOption<bool> = ConfigOption::new(
        "rest.flamegraph.enabled",
        Some("false"),
        "whether the dashboard shows flame graphs, which this engine does not draw",
    );
    pub const DASHBOARD_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "millrace.dashboard.dir",
        None,
        "folder of the dashboard's files; without it $FLINK_HOME/web, if there is one",
    );
    pub const JOB_MANAGER_MEMORY: ConfigOption<MemorySize> = ConfigOption::new(
        "jobmanager.memory.process.size",
        None,
        "memory of the whole JobManager process, as its metrics show it",
    );

    pub const HA_TYPE: ConfigOption<String> = ConfigOption::new(
        "high-availability.type",
        Some("NONE"),
        "where JobManagers find out which of them leads, and what a new leader recovers: NONE, zookeeper or kubernetes",
    )
    .with_fallback(&["high-availability", "recovery.mode"]);
    pub const HA_CLUSTER_ID: ConfigOption<String> = ConfigOption::new(
        "high-availability.cluster-id",
        Some("/default"),
        "tells the clusters of one ZooKeeper quorum apart",
    )
    .with_fallback(&[
        "high-availability.zookeeper.path.namespace",
        "recovery.zookeeper.path.namespace",
    ]);
    pub const HA_STORAGE_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "high-availability.storageDir",
        None,
        "where a JobManager writes what another one needs to take over: a path, file:// or s3://",
    )
    .with_fallback(&[
        "high-availability.zookeeper.storageDir",
        "recovery.zookeeper.storageDir",
    ]);
    pub const HA_ZOOKEEPER_QUORUM: ConfigOption<String> = ConfigOption::new(
        "high-availability.zookeeper.quorum",
        None,
        "servers of the ZooKeeper quorum: host:port, host:port, ...",
    )
    .with_fallback(&["recovery.zookeeper.quorum"]);
    pub const HA_ZOOKEEPER_ROOT: ConfigOption<String> = ConfigOption::new(
        "high-availability.zookeeper.path.root",
        Some("/flink"),
        "the node of ZooKeeper that all clusters' nodes lie below",
    )
    .with_fallback(&["recovery.zookeeper.path.root"]);
    pub const HA_ZOOKEEPER_EXECUTION_PLANS_PATH: ConfigOption<String> = ConfigOption::new(
        "high-availability.zookeeper.path.execution-plans",
        Some("/execution-plans"),
        "the node of a cluster that its jobs' entries lie below",
    )
    .with_fallback(&[
        "high-availability.zookeeper.path.jobgraphs",
        "recovery.zookeeper.path.jobgraphs",
    ]);
    pub const HA_ZOOKEEPER_SESSION_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.zookeeper.client.session-timeout",
        Some("60 s"),
        "ZooKeeper gives a JobManager up that it has not heard of for so long",
    )
    .with_fallback(&["recovery.zookeeper.client.session-timeout"]);
    pub const HA_ZOOKEEPER_CONNECTION_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.zookeeper.client.connection-timeout",
        Some("15 s"),
        "a connection to a ZooKeeper server on which nothing comes for so long is given up for one to another server",
    )
    .with_fallback(&["recovery.zookeeper.client.connection-timeout"]);
    pub const HA_ZOOKEEPER_RETRY_WAIT: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.zookeeper.client.retry-wait",
        Some("5 s"),
        "pause before a request to ZooKeeper that failed is repeated, unless the connection is back sooner",
    )
    .with_fallback(&["recovery.zookeeper.client.retry-wait"]);
    pub const HA_ZOOKEEPER_RETRY_ATTEMPTS: ConfigOption<u32> = ConfigOption::new(
        "high-availability.zookeeper.client.max-retry-attempts",
        Some("3"),
        "how often a request to ZooKeeper that failed is repeated",
    )
    .with_fallback(&["recovery.zookeeper.client.max-retry-attempts"]);
    pub const HA_ZOOKEEPER_ACL: ConfigOption<String> = ConfigOption::new(
        "high-availability.zookeeper.client.acl",
        Some("open"),
        "who may use the nodes: open for everybody, creator for whoever logs in as their creator",
    );
    pub const HA_ZOOKEEPER_AUTHORIZATION: ConfigOption<String> = ConfigOption::new(
        "high-availability.zookeeper.client.authorization",
        None,
        "what connections log in to ZooKeeper with: scheme:authorization, such as digest:user:password",
    );
    pub const HA_ZOOKEEPER_TOLERATE_SUSPENSION: ConfigOption<bool> = ConfigOption::new(
        "high-availability.zookeeper.client.tolerate-suspended-connections",
        Some("false"),
        "whether a JobManager goes on leading while it has no connection, until its ZooKeeper session must be over",
    );
    pub const HA_KUBERNETES_LEASE_DURATION: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.kubernetes.leader-election.lease-duration",
        Some("15 s"),
        "a leader that has not renewed its lease for so long can be followed by another",
    );
    pub const HA_KUBERNETES_RENEW_DEADLINE: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.kubernetes.leader-election.renew-deadline",
        Some("15 s"),
        "a leader that has not been able to renew its lease for so long gives the leadership up",
    );
    pub const HA_KUBERNETES_RETRY_PERIOD: ConfigOption<Duration> = ConfigOption::new(
        "high-availability.kubernetes.leader-election.retry-period",
        Some("5 s"),
        "time between attempts to acquire or to renew the lease",
    );
    pub const KUBERNETES_CLUSTER_ID: ConfigOption<String> = ConfigOption::new(
        "kubernetes.cluster-id",
        None,
        "the cluster's name in Kubernetes: lower-case letters, digits and '-', at most 45",
    );
    pub const KUBERNETES_NAMESPACE: ConfigOption<String> = ConfigOption::new(
        "kubernetes.namespace",
        Some("default"),
        "the namespace of what the cluster has in Kubernetes",
    );
    pub const KUBERNETES_CONFIG_FILE: ConfigOption<String> = ConfigOption::new(
        "kubernetes.config.file",
        None,
        "the kubeconfig; without it the pod's service account, KUBECONFIG or ~/.kube/config",
    );
    pub const KUBERNETES_CONTEXT: ConfigOption<String> = ConfigOption::new(
        "kubernetes.context",
        None,
        "the context of the kubeconfig; its current one if not set",
    );

    pub const LOST_OUTPUT: ConfigOption<String> = ConfigOption::new(
        "millrace.recovery.lost-output",
        Some("fail"),
        "what a restore does about output of a complete checkpoint that can no longer be made visible, such as a Kafka \
         transaction that timed out: fail, or ignore, which reports it and goes on",
    );

    pub const RESTART_STRATEGY: ConfigOption<String> = ConfigOption::new(
        "restart-strategy.type",
        None,
        "none, fixed-delay, failure-rate or exponential-delay; without it a job with checkpoints restarts with exponential delay, one without does not",
    )
    .with_fallback(&["restart-strategy"]);
    pub const RESTART_ATTEMPTS: ConfigOption<u32> = ConfigOption::new(
        "restart-strategy.fixed-delay.attempts",
        Some("1"),
        "how often a job is restarted",
    );
    pub const RESTART_DELAY: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.fixed-delay.delay",
        Some("1 s"),
        "pause before a restart",
    );
    pub const RESTART_INITIAL_BACKOFF: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.exponential-delay.initial-backoff",
        Some("1 s"),
        "pause before the first restart",
    );
    pub const RESTART_MAX_BACKOFF: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.exponential-delay.max-backoff",
        Some("1 min"),
        "longest pause before a restart",
    );
    pub const RESTART_BACKOFF_MULTIPLIER: ConfigOption<f64> = ConfigOption::new(
        "restart-strategy.exponential-delay.backoff-multiplier",
        Some("1.5"),
        "how many times longer each pause is than the one before",
    );
    pub const RESTART_JITTER: ConfigOption<f64> = ConfigOption::new(
        "restart-strategy.exponential-delay.jitter-factor",
        Some("0.1"),
        "a pause is longer or shorter by up to this share of it, at random",
    );
    pub const RESTART_RESET_BACKOFF: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.exponential-delay.reset-backoff-threshold",
        Some("1 h"),
        "after a run without a failure for so long the pauses begin anew",
    );
    pub const RESTART_BACKOFF_ATTEMPTS: ConfigOption<u32> = ConfigOption::new(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff",
        Some("2147483647"),
        "how often a job is restarted before the pauses begin anew",
    );
    pub const RESTART_RATE_FAILURES: ConfigOption<usize> = ConfigOption::new(
        "restart-strategy.failure-rate.max-failures-per-interval",
        Some("1"),
        "failures within the interval that a job is restarted after",
    );
    pub const RESTART_RATE_INTERVAL: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.failure-rate.failure-rate-interval",
        Some("1 min"),
        "time within which failures are counted",
    );
    pub const RESTART_RATE_DELAY: ConfigOption<Duration> = ConfigOption::new(
        "restart-strategy.failure-rate.delay",
        Some("1 s"),
        "pause before a restart",
    );

    pub const SCHEDULER: ConfigOption<String> = ConfigOption::new(
        "jobmanager.scheduler",
        Some("default"),
        "default: a job runs with its parallelism or waits; adaptive: with as much of it as there are slots for",
    );
    pub const SCHEDULER_MODE: ConfigOption<String> = ConfigOption::new(
        "scheduler-mode",
        None,
        "reactive: a job of an application cluster takes all slots that there are",
    );
    pub const RESOURCE_WAIT: ConfigOption<Duration> = ConfigOption::new(
        "jobmanager.adaptive-scheduler.submission.resource-wait-timeout",
        Some("5 min"),
        "how long an adaptive job waits for the slots that it needs at least; a reactive one waits for ever",
    )
    .with_fallback(&["jobmanager.adaptive-scheduler.resource-wait-timeout"]);
    pub const RESOURCE_STABILIZATION: ConfigOption<Duration> = ConfigOption::new(
        "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout",
        Some("10 s"),
        "how long an adaptive job that could start waits for more slots; a reactive one does not wait",
    )
    .with_fallback(&["jobmanager.adaptive-scheduler.resource-stabilization-timeout"]);
    pub const RESCALE_STABILIZATION: ConfigOption<Duration> = ConfigOption::new(
        "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout",
        Some("1 min"),
        "how long a running adaptive job waits for still more slots before it takes new ones",
    );
    pub const RESCALE_COOLDOWN: ConfigOption<Duration> = ConfigOption::new(
        "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
        Some("30 s"),
        "least time between two changes of a job's parallelism that new slots lead to",
    )
    .with_fallback(&["jobmanager.adaptive-scheduler.scaling-interval.min"]);
    pub const JOB_ID: ConfigOption<String> = ConfigOption::new(
        "$internal.pipeline.job-id",
        None,
        "the id of an application's job, 32 hexadecimal digits; made of its name if not set",
    );
    pub const SAVEPOINT_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "execution.checkpointing.savepoint-dir",
        None,
        "where savepoints are written when a request for one does not say: a path, file:// or s3://",
    )
    .with_fallback(&["state.savepoints.dir"]);
    pub const EXTERNALIZED_CHECKPOINTS: ConfigOption<String> = ConfigOption::new(
        "execution.checkpointing.externalized-checkpoint-retention",
        Some("NO_EXTERNALIZED_CHECKPOINTS"),
        "whether the checkpoints of a job that was cancelled stay: RETAIN_ON_CANCELLATION; else they go. Those of a \
         job that failed stay",
    );
    pub const RESTORE_PATH: ConfigOption<String> = ConfigOption::new(
        "execution.state-recovery.path",
        None,
        "the checkpoint or savepoint that a job starts from: the path or URI of its folder",
    )
    .with_fallback(&["execution.savepoint.path"]);
    pub const RESTORE_IGNORES_UNCLAIMED: ConfigOption<bool> = ConfigOption::new(
        "execution.state-recovery.ignore-unclaimed-state",
        Some("false"),
        "whether state of operators that the job does not have is left out; else it is refused",
    )
    .with_fallback(&["execution.savepoint.ignore-unclaimed-state"]);
    pub const CLAIM_MODE: ConfigOption<String> = ConfigOption::new(
        "execution.state-recovery.claim-mode",
        Some("NO_CLAIM"),
        "whose the restored checkpoint is: CLAIM, the job deletes it once it has one of its own; NO_CLAIM, its owner's",
    )
    .with_fallback(&["execution.savepoint-restore-mode"]);

    pub const STATE_TTL: ConfigOption<Duration> = ConfigOption::new(
        "table.exec.state.ttl",
        Some("0 ms"),
        "how long state that is not written is kept at least; 0 for ever",
    );
    pub const LOCAL_STATE_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "state.backend.rocksdb.localdir",
        None,
        "where keyed state lies while a job runs; without it a folder in io.tmp.dirs",
    );
    pub const TEMPORARY_DIRECTORIES: ConfigOption<String> = ConfigOption::new(
        "io.tmp.dirs",
        None,
        "folders for temporary files, the first of which is used; without it the machine's",
    );
    pub const LOCAL_RECOVERY: ConfigOption<bool> = ConfigOption::new(
        "execution.state-recovery.from-local",
        Some("false"),
        "whether a restart on this machine reads copies of state files that are on it, not the checkpoint folder",
    )
    .with_fallback(&["state.backend.local-recovery"]);
    pub const LOCAL_BACKUP: ConfigOption<bool> = ConfigOption::new(
        "execution.checkpointing.local-backup.enabled",
        None,
        "whether state files of the newest checkpoint are kept on this machine too; without it as \
         execution.state-recovery.from-local",
    );
    pub const LOCAL_BACKUP_DIRECTORIES: ConfigOption<String> = ConfigOption::new(
        "execution.checkpointing.local-backup.dirs",
        None,
        "folders for these copies, the first of which is used; without it one beside keyed state, where they \
         take no room of their own",
    )
    .with_fallback(&["taskmanager.state.local.root-dirs"]);
    pub const MANAGED_MEMORY: ConfigOption<MemorySize> = ConfigOption::new(
        "taskmanager.memory.managed.size",
        Some("512mb"),
        "memory for keyed state: rows at hand, RocksDB's blocks and write buffers",
    );

    pub const MANAGED_MEMORY_FRACTION: ConfigOption<f64> = ConfigOption::new(
        "taskmanager.memory.managed.fraction",
        Some("0.4"),
        "memory for keyed state as a share of taskmanager.memory.process.size, where taskmanager.memory.managed.size is \
         not set",
    );

    pub const S3_ENDPOINT: ConfigOption<String> =
        ConfigOption::new("s3.endpoint", None, "address of an S3-compatible server");
    pub const S3_ACCESS_KEY: ConfigOption<String> =
        ConfigOption::new("s3.access-key", None, "access key of S3").with_fallback(&["s3.access.key"]);
    pub const S3_SECRET_KEY: ConfigOption<String> =
        ConfigOption::new("s3.secret-key", None, "secret key of S3").with_fallback(&["s3.secret.key"]);
    pub const S3_PATH_STYLE: ConfigOption<bool> = ConfigOption::new(
        "s3.path.style.access",
        Some("false"),
        "bucket in the path, not in the host name",
    )
    .with_fallback(&["s3.path-style-access"]);
    pub const S3_REGION: ConfigOption<String> =
        ConfigOption::new("s3.endpoint.region", Some("us-east-1"), "region of S3");

    pub const LOCAL_TIME_ZONE: ConfigOption<String> = ConfigOption::new(
        "table.local-time-zone",
        Some("default"),
        "time zone of the session; 'default' is the machine's",
    );
    pub const NOT_NULL_ENFORCER: ConfigOption<String> = ConfigOption::new(
        "table.exec.sink.not-null-enforcer",
        Some("ERROR"),
        "what a null in a NOT NULL column of a sink does: ERROR fails the job, DROP leaves the row out",
    );
    pub const CDC_EVENTS_DUPLICATE: ConfigOption<bool> = ConfigOption::new(
        "table.exec.source.cdc-events-duplicate",
        Some("false"),
        "whether sources of changes may repeat them: they are then told apart by the PRIMARY KEY",
    );
    pub const SINK_KEYED_SHUFFLE: ConfigOption<String> = ConfigOption::new(
        "table.exec.sink.keyed-shuffle",
        Some("AUTO"),
        "whether rows are spread by the PRIMARY KEY before a sink of another parallelism: AUTO or NONE",
    );
    pub const UPSERT_MATERIALIZE: ConfigOption<String> = ConfigOption::new(
        "table.exec.sink.upsert-materialize",
        Some("AUTO"),
        "when rows of one key of a sink are held to find the last one: AUTO where keys differ, FORCE, NONE",
    );
    pub const SOURCE_IDLE_TIMEOUT: ConfigOption<Duration> = ConfigOption::new(
        "table.exec.source.idle-timeout",
        Some("0 ms"),
        "a partition without records for so long no longer holds the watermark back; 0 never",
    );

    pub const MINI_BATCH_ENABLED: ConfigOption<bool> = ConfigOption::new(
        "table.exec.mini-batch.enabled",
        Some("false"),
        "whether GROUP BY gives its results once for many rows",
    );
    pub const MINI_BATCH_LATENCY: ConfigOption<Duration> = ConfigOption::new(
        "table.exec.mini-batch.allow-latency",
        Some("0 ms"),
        "how long a row waits for others at most, where mini-batches are enabled",
    );
    pub const MINI_BATCH_SIZE: ConfigOption<i64> = ConfigOption::new(
        "table.exec.mini-batch.size",
        Some("-1"),
        "how many rows wait for others at most, where mini-batches are enabled",
    );
    pub const AGG_PHASE_STRATEGY: ConfigOption<String> = ConfigOption::new(
        "table.optimizer.agg-phase-strategy",
        Some("AUTO"),
        "whether rows are summed up before they go to another subtask: AUTO, TWO_PHASE or ONE_PHASE; with \
         mini-batches only, and not for functions that keep all of their values (DISTINCT, LISTAGG)",
    );

    pub const JOB_STATUS_METRICS: ConfigOption<String> = ConfigOption::new(
        "metrics.job.status.enable",
        Some("CURRENT_TIME"),
        "which forms the metrics of a job's states have: STATE, CURRENT_TIME and TOTAL_TIME, divided by commas",
    );
    pub const METRIC_REPORTERS: ConfigOption<String> = ConfigOption::new(
        "metrics.reporters",
        None,
        "names of the reporters that are used, divided by commas; without it all that are configured",
    );
    pub const LOG_DIRECTORY: ConfigOption<String> = ConfigOption::new(
        "env.log.dir",
        None,
        "a folder that the log is written to as well; without it the newest lines are kept in memory",
    );
    pub const LOG_FILES: ConfigOption<usize> = ConfigOption::new(
        "env.log.max",
        Some("10"),
        "how many older files of the log are kept in env.log.dir",
    );
    pub const LOG_FORMAT: ConfigOption<String> = ConfigOption::new(
        "millrace.log.format",
        Some("text"),
        "how the log is written: text, or json, an object a line; the environment variable MILLRACE_LOG_FORMAT too",
    );

    /// Rows of a batch at most. A batch is sent when it is full or when its input is idle.
    pub const BATCH_ROWS: ConfigOption<usize> =
        ConfigOption::new("millrace.batch.max-rows", Some("8192"), "rows of a batch at most");
    pub const SOURCE_PARALLELISM: ConfigOption<usize> = ConfigOption::new(
        "millrace.source.parallelism",
        None,
        "subtasks of sources that have no scan.parallelism; default: the job's parallelism",
    );
    pub const CHANNEL_BYTES: ConfigOption<MemorySize> = ConfigOption::new(
        "millrace.channel.max-bytes",
        Some("4mb"),
        "bytes that wait in a channel between two subtasks at most (and 65,536 rows)",
    );

    /// For tests: a checkpoint at a place of the input that is the same every time.
    pub const TEST_CHECKPOINT_AFTER: ConfigOption<u64> = ConfigOption::new(
        "millrace.test.checkpoint-after-rows",
        None,
        "every subtask of a source holds still after the batch with which it has given so many rows; when all of them \
         do, a checkpoint is taken, and they go on",
    );
    /// For tests: the job stops with that checkpoint.
    pub const TEST_STOP: ConfigOption<bool> = ConfigOption::new(
        "millrace.test.stop-at-checkpoint",
        Some("false"),
        "whether the job stops at the checkpoint of millrace.test.checkpoint-after-rows",
    );
    /// For tests: when a row was given, in event time.
    pub const TEST_WATERMARKS: ConfigOption<bool> = ConfigOption::new(
        "millrace.test.print-watermarks",
        Some("false"),
        "whether the connector print says with a line @MILLIS before a row how far the watermark is, where it rose",
    );
    /// For tests: what a cluster sends over a network is sent as the same bytes within a process.
    pub const TEST_WIRE: ConfigOption<bool> = ConfigOption::new(
        "millrace.test.wire",
        Some("false"),
        "whether what goes from one subtask to another is encoded and decoded on its way",
    );
}

/// Whether an option is one that the engine reads; the rest of a configuration is told to the user.
pub fn is_read(key: &str) -> bool {
    keys().any(|known| known == key) || READ_FAMILIES.iter().any(|family| key.starts_with(family))
}

/// Reporters have names of the user's own: who reads them tells what is without effect.
const READ_FAMILIES: &[&str] = &["s3.", "metrics.reporter."];

/// Refuses unknown `millrace.*` keys, and gives the keys that are without effect here.
pub fn check(config: &crate::Configuration) -> crate::Result<Vec<String>> {
    let mut without_effect = Vec::new();
    for (key, _) in config.iter().filter(|(key, _)| !is_read(key)) {
        if key.starts_with("millrace.") {
            let known: Vec<_> = keys().filter(|k| k.starts_with("millrace.")).collect();
            return Err(
                crate::Error::user(format!("the configuration option '{key}' is unknown"))
                    .with_hint(format!("options of the engine's own are: {}", known.join(", "))),
            );
        }
        without_effect.push(key.to_owned());
    }
    Ok(without_effect)
}

#[cfg(test)]
mod tests {
    use crate::Configuration;

    #[test]
    fn an_unknown_option_of_our_own_is_refused_and_one_of_flinks_is_told() {
        let mut config = Configuration::default();
        config.set("pipeline.object-reuse", "true");
        config.set("parallelism.default", "2");
        assert_eq!(super::check(&config).unwrap(), ["pipeline.object-reuse"]);
        for option in [
            &super::LOST_OUTPUT.key,
            &super::UPSERT_MATERIALIZE.key,
            &"state.checkpoints.dir",
        ] {
            assert!(super::is_read(option), "{option}");
        }
        config.set("millrace.batch.max-row", "1");
        assert!(
            super::check(&config)
                .unwrap_err()
                .to_string()
                .contains("millrace.batch.max-rows")
        );
    }
}
