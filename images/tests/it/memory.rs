//! The engine under a memory limit, with a state that is larger.

use std::os::unix::fs::PermissionsExt;

use millrace_images::{READY, as_anybody, container, docker, ends_cleanly, limited, without_leftover};
use millrace_testkit::wait;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

const NETWORK: &str = "images-memory";
/// Keys, each of which comes once.
const KEYS: u64 = 20_000_000;

fn job() -> String {
    format!(
        "SET 'pipeline.name' = 'memory';\n\
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{KEYS}', \
         'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{KEYS}');\n\
         CREATE TABLE sums (n BIGINT, s BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'blackhole');\n\
         INSERT INTO sums SELECT n, SUM(n) FROM numbers GROUP BY n;\n"
    )
}

/// State of 20 million keys is several times what the process may have: nothing is killed for want of memory.
#[test]
fn a_taskmanager_keeps_to_its_memory_with_a_state_that_is_larger() {
    let jobs = crate::readable(&[("memory.sql", job().as_bytes())]);
    let state = tempfile::tempdir().unwrap();
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let manager = as_anybody(limited(container("millrace"), 256))
        .with_network(NETWORK)
        .with_container_name(without_leftover(NETWORK.to_owned()))
        .with_mount(crate::mounted(&jobs, "/jobs"))
        .with_cmd(["standalone-job", "/jobs/memory.sql", "-Dparallelism.default=1"])
        .start()
        .unwrap();
    let worker = as_anybody(limited(container("millrace"), 512))
        .with_network(NETWORK)
        .with_container_name(without_leftover(format!("{NETWORK}-taskmanager")))
        .with_mount(crate::mounted(&state, "/state"))
        .with_env_var("JOB_MANAGER_RPC_ADDRESS", NETWORK)
        .with_cmd([
            "taskmanager",
            "-Dtaskmanager.memory.process.size=512m",
            "-Dstate.backend.rocksdb.localdir=/state",
        ])
        .start()
        .unwrap();
    let state = |container: &Container<GenericImage>, what: &str| -> String {
        let format = format!("{{{{.State.{what}}}}}");
        let said = docker(&["inspect", "--format", &format, container.id()]).unwrap();
        said.trim().to_owned()
    };
    wait::until("the job's end", 5 * READY, || {
        assert_eq!(state(&worker, "Running"), "true", "the TaskManager has ended");
        Ok((state(&manager, "Running") == "false").then_some(()))
    })
    .unwrap();
    let log = docker(&["logs", "--tail", "20", manager.id()]).unwrap_or_default();
    assert_eq!(state(&manager, "ExitCode"), "0", "{log}");
    assert_eq!(state(&worker, "OOMKilled"), "false");
    ends_cleanly(&worker);
}
