//! Apache Flink's image: a session cluster, the SQL gateway, the SQL client.

use millrace_images::{answers, as_anybody, container, docker, flink_ends, limited, named, without_leftover};
use millrace_testkit::ports;
use testcontainers::ImageExt;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;

#[test]
fn flinks_sql_gateway_answers() {
    let gateway = limited(container("flink"), 1024)
        .with_mapped_port(ports::free().unwrap(), 8083.tcp())
        .with_cmd(["sql-gateway", "-Dsql-gateway.endpoint.rest.address=0.0.0.0"])
        .start()
        .unwrap();
    let port = gateway.get_host_port_ipv4(8083).unwrap();
    let text = answers(&format!("http://127.0.0.1:{port}/v1/info"), |_| true).unwrap();
    assert!(text.contains("Apache Flink"), "{text}");
    flink_ends(&gateway);
}

#[test]
fn a_session_cluster_takes_its_properties_has_metrics_and_a_sql_client() {
    let name = "images-session-jobmanager";
    let properties = "metrics.reporters: prom\n\
        metrics.reporter.prom.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory\n\
        metrics.reporter.prom.port: 9249\n\
        high-availability.cluster-id: 'from FLINK_PROPERTIES'";
    let manager = limited(container("flink"), 1700)
        .with_network("images-session")
        .with_container_name(without_leftover(name.to_owned()))
        .with_hostname(name)
        .with_env_var("FLINK_PROPERTIES", properties)
        .with_mapped_port(ports::free().unwrap(), 8081.tcp())
        .with_mapped_port(ports::free().unwrap(), 9249.tcp())
        .with_cmd(["jobmanager"])
        .start()
        .unwrap();
    let worker = limited(as_anybody(container("flink")), 2048)
        .with_network("images-session")
        .with_env_var("JOB_MANAGER_RPC_ADDRESS", name)
        .with_env_var("TASK_MANAGER_NUMBER_OF_TASK_SLOTS", "3")
        .with_cmd(["taskmanager"])
        .start()
        .unwrap();
    let url = |port: u16, path: &str| {
        format!(
            "http://127.0.0.1:{}/{path}",
            manager.get_host_port_ipv4(port).unwrap()
        )
    };
    answers(&url(8081, "overview"), |text| text.contains(r#""slots-total":3"#)).unwrap();
    let configuration = answers(&url(8081, "jobmanager/config"), |_| true).unwrap();
    assert!(configuration.contains("from FLINK_PROPERTIES"), "{configuration}");
    answers(&url(9249, "metrics"), |text| {
        text.contains("flink_jobmanager_numRegisteredTaskManagers")
    })
    .unwrap();

    // The SQL client runs a file there.
    let jobs = crate::readable(&[(
        "job.sql",
        b"SET 'sql-client.execution.result-mode' = 'tableau';\nSELECT 40 + 2 AS answer;\n",
    )]);
    let said = docker(&[
        "run",
        "--rm",
        "--read-only",
        "--tmpfs=/tmp",
        "--network=images-session",
        &format!("--env=FLINK_PROPERTIES=rest.address: {name}"),
        &format!("--volume={}:/jobs:ro", jobs.path().display()),
        &named("flink").reference(),
        "sql-client",
        "-f",
        "/jobs/job.sql",
    ])
    .unwrap();
    assert!(said.contains("| +I |          42 |"), "{said}");
    assert!(!said.contains("[ERROR]"), "{said}");
    flink_ends(&worker);
    flink_ends(&manager);
}
