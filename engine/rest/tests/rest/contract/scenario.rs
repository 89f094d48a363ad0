//! Everything that a client, a probe, the operator or the dashboard asks, in an order that works on any engine.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace_testkit::wait;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::contract::jobs;
use crate::contract::record::Record;

const LIMIT: Duration = Duration::from_secs(60);
/// An id that nothing has.
const NOBODY: &str = "00000000000000000000000000000000";
const SQL_DRIVER: &str = "org.apache.flink.table.runtime.application.SqlDriver";

/// A file that can be uploaded to run SQL by Flink's SqlDriver.
pub struct Carrier {
    pub name: String,
    pub content: Vec<u8>,
}

/// A vertex's id, and ids of what it belongs to.
struct Ids {
    job: String,
    vertex: String,
}

/// All of it; `folder` is for savepoints. The cluster is at its end afterwards.
pub fn run<'a>(client: &'a Client, carrier: &Carrier, folder: &Path) -> Result<Record<'a>> {
    let mut record = Record::new(client);
    let r = &mut record;
    for path in [
        "/overview",
        "/v1/overview",
        "/config",
        "/jobs",
        "/jobs/overview",
        "/jars",
    ] {
        r.get(path, "empty", &[])?;
    }
    let jar = upload(r, carrier)?;
    let running = start(r, &jar, jobs::RUNS, json!({}))?;
    let ended = start(r, &jar, jobs::ENDS, json!({}))?;
    let broken = start(r, &jar, jobs::BREAKS, json!({}))?;
    plans(r, &jar)?;
    for (job, state) in [(&ended, "FINISHED"), (&broken, "FAILED"), (&running, "RUNNING")] {
        reaches(client, job, state)?;
    }
    let ids = wait_for_figures(client, &running)?;
    for path in ["/overview", "/jobs", "/jobs/overview", "/jars", "/datasets"] {
        r.get(path, "", &[])?;
    }
    job(r, "", &ids)?;
    for (name, id) in [("ended", &ended), ("failed", &broken)] {
        let vertex = first_vertex(client, id)?;
        job(
            r,
            name,
            &Ids {
                job: id.clone(),
                vertex,
            },
        )?;
    }
    metrics(r, &ids)?;
    task_managers(r)?;
    job_manager(r)?;
    let savepoint = savepoints(r, &ids.job, folder)?;
    r.get(
        "/jobs/:jobid/checkpoints",
        "with savepoints",
        &[("jobid", &ids.job)],
    )?;
    requirements(r, &ids)?;
    mistakes(r, &ids, &jar, &ended)?;
    stop(r, &ids.job, folder)?;
    restored(r, &jar, &savepoint)?;
    r.ask("DELETE", "/jars/:jarid", "", &[("jarid", &jar)], &Value::Null)?;
    let disposal = |path: &str| json!({"savepoint-path": path});
    for note in ["", "again"] {
        let answer = r.ask("POST", "/savepoint-disposal", note, &[], &disposal(&savepoint))?;
        operation(r, "/savepoint-disposal/:triggerid", note, &[], &answer)?;
    }
    r.ask("DELETE", "/cluster", "", &[], &Value::Null)?;
    Ok(record)
}

/// What a failure of a task is told as.
pub fn failure<'a>(client: &'a Client, carrier: &Carrier) -> Result<Record<'a>> {
    let mut record = Record::new(client);
    let r = &mut record;
    let uploaded = client.upload("/jars/upload", &carrier.name, &carrier.content)?;
    let jar = jar_id(&uploaded)?;
    let body = program(jobs::BREAKS, json!({}));
    let answer = client.json("POST", &format!("/jars/{jar}/run"), &body)?;
    let job = text(&answer.value()?, "jobid")?;
    reaches(client, &job, "FAILED")?;
    let values = [("jobid", job.as_str())];
    r.get("/jobs/:jobid/exceptions", "of a task", &values)?;
    r.get("/jobs/:jobid/exceptions?maxExceptions=1", "of a task", &values)?;
    Ok(record)
}

fn upload(r: &mut Record<'_>, carrier: &Carrier) -> Result<String> {
    let answer = r.client.upload("/jars/upload", &carrier.name, &carrier.content)?;
    r.keep("POST", "/jars/upload", "", &answer)?;
    let other = r.client.upload("/jars/upload", "notes.txt", b"no program")?;
    r.keep("POST", "/jars/upload", "no program", &other)?;
    r.ask("POST", "/jars/upload", "no file", &[], &json!({}))?;
    jar_id(&answer)
}

fn jar_id(uploaded: &Answer) -> Result<String> {
    let path = text(&uploaded.value()?, "filename")?;
    let id = path.rsplit('/').next().context("an upload without a name")?;
    Ok(id.to_owned())
}

fn program(sql: &str, more: Value) -> Value {
    let mut body = json!({"entryClass": SQL_DRIVER, "programArgsList": ["--script", sql]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

fn start(r: &mut Record<'_>, jar: &str, sql: &str, more: Value) -> Result<String> {
    let note = match r.answers.contains_key("POST /jars/:jarid/run") {
        true => format!("{} more", r.answers.len()),
        false => String::new(),
    };
    let answer = r.ask(
        "POST",
        "/jars/:jarid/run",
        &note,
        &[("jarid", jar)],
        &program(sql, more),
    )?;
    if !note.is_empty() {
        r.answers.remove(&format!("POST /jars/:jarid/run # {note}"));
    }
    text(&answer.value()?, "jobid")
}

fn plans(r: &mut Record<'_>, jar: &str) -> Result<()> {
    let jar = [("jarid", jar)];
    r.ask(
        "POST",
        "/jars/:jarid/plan",
        "",
        &jar,
        &program(jobs::RUNS, json!({})),
    )?;
    let missing = [("jarid", "missing.jar")];
    r.ask("POST", "/jars/:jarid/plan", "unknown", &missing, &json!({}))?;
    r.ask("POST", "/jars/:jarid/run", "unknown", &missing, &json!({}))?;
    r.ask("DELETE", "/jars/:jarid", "unknown", &missing, &Value::Null)?;
    let class = json!({"entryClass": "com.example.Job"});
    r.ask("POST", "/jars/:jarid/run", "unknown class", &jar, &class)?;
    Ok(())
}

fn reaches(client: &Client, job: &str, state: &str) -> Result<()> {
    wait::until(&format!("job {job} is {state}"), LIMIT, || {
        let now = text(&client.get(&format!("/jobs/{job}"))?, "state")?;
        match now == state {
            true => Ok(Some(Ok(()))),
            false if matches!(now.as_str(), "FAILED" | "FINISHED" | "CANCELED") => {
                let exceptions = client.get(&format!("/jobs/{job}/exceptions"))?;
                Ok(Some(Err(anyhow::anyhow!("it is {now}: {exceptions}"))))
            }
            false => bail!("it is {now}"),
        }
    })?
}

fn vertices(client: &Client, job: &str) -> Result<Vec<String>> {
    let job = client.get(&format!("/jobs/{job}"))?;
    let vertices = job["vertices"].as_array().context("a job without vertices")?;
    vertices.iter().map(|vertex| text(vertex, "id")).collect()
}

fn first_vertex(client: &Client, job: &str) -> Result<String> {
    vertices(client, job)?
        .into_iter()
        .next()
        .context("a job without a vertex")
}

/// All that is told a while after the job has begun; gives the vertex that reads from another.
fn wait_for_figures(client: &Client, job: &str) -> Result<Ids> {
    let vertex = vertices(client, job)?.pop().context("a job without a vertex")?;
    wait::until("figures of the job", LIMIT, || {
        let details = client.get(&format!("/jobs/{job}"))?;
        let vertices = details["vertices"].as_array().context("no vertices")?;
        let runs = vertices.iter().all(|v| v["tasks"]["RUNNING"] == v["parallelism"]);
        let counts = vertices
            .iter()
            .all(|v| v["metrics"]["read-records-complete"] == true);
        let pressure = client.get(&format!("/jobs/{job}/vertices/{vertex}/backpressure"))?;
        let watermarks = client.get(&format!("/jobs/{job}/vertices/{vertex}/watermarks"))?;
        let checkpoints = client.get(&format!("/jobs/{job}/checkpoints"))?;
        let complete = checkpoints["counts"]["completed"].as_u64() >= Some(2);
        let told = pressure["status"] == "ok" && watermarks[0]["id"].is_string();
        Ok((runs && counts && complete && told).then_some(()))
    })?;
    Ok(Ids {
        job: job.to_owned(),
        vertex,
    })
}

fn job(r: &mut Record<'_>, note: &str, ids: &Ids) -> Result<()> {
    let values = [
        ("jobid", ids.job.as_str()),
        ("vertexid", ids.vertex.as_str()),
        ("subtaskindex", "0"),
        ("attempt", if note == "failed" { "1" } else { "0" }),
    ];
    for path in [
        "/jobs/:jobid",
        "/jobs/:jobid/status",
        "/jobs/:jobid/config",
        "/jobs/:jobid/plan",
        "/jobs/:jobid/accumulators",
        "/jobs/:jobid/accumulators?includeSerializedValue=true",
        "/jobs/:jobid/execution-result",
        "/jobs/:jobid/resource-requirements",
        "/jobs/:jobid/checkpoints",
        "/jobs/:jobid/checkpoints/config",
        "/jobs/:jobid/jobmanager/config",
        "/jobs/:jobid/jobmanager/environment",
        "/jobs/:jobid/jobmanager/log-url",
        "/jobs/:jobid/vertices/:vertexid",
        "/jobs/:jobid/vertices/:vertexid/subtasktimes",
        "/jobs/:jobid/vertices/:vertexid/taskmanagers",
        "/jobs/:jobid/vertices/:vertexid/accumulators",
        "/jobs/:jobid/vertices/:vertexid/subtasks/accumulators",
        "/jobs/:jobid/vertices/:vertexid/backpressure",
        "/jobs/:jobid/vertices/:vertexid/watermarks",
        "/jobs/:jobid/vertices/:vertexid/flamegraph",
        "/jobs/:jobid/vertices/:vertexid/flamegraph?type=on_cpu&subtaskindex=0",
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex",
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt",
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt/accumulators",
    ] {
        r.get(path, note, &values)?;
    }
    if note == "failed" {
        // What is told of a failure depends on Flink's scheduler: `failure`.
        return Ok(());
    }
    r.get("/jobs/:jobid/exceptions", note, &values)?;
    if note.is_empty() {
        checkpoint(r, ids)?;
        r.ask(
            "PATCH",
            "/jobs/:jobid/clientHeartbeat",
            "",
            &values,
            &json!({"expiredTimestamp": 9_999_999_999_999_u64}),
        )?;
    }
    Ok(())
}

/// One of the last checkpoints, at each vertex.
fn checkpoint(r: &mut Record<'_>, ids: &Ids) -> Result<()> {
    let checkpoints = r.client.get(&format!("/jobs/{}/checkpoints", ids.job))?;
    let id = checkpoints["latest"]["completed"]["id"].to_string();
    let values = [
        ("jobid", ids.job.as_str()),
        ("checkpointid", &id),
        ("vertexid", &ids.vertex),
    ];
    r.get("/jobs/:jobid/checkpoints/details/:checkpointid", "", &values)?;
    r.get(
        "/jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid",
        "",
        &values,
    )?;
    let source = first_vertex(r.client, &ids.job)?;
    let values = [
        ("jobid", ids.job.as_str()),
        ("checkpointid", &id),
        ("vertexid", &source),
    ];
    r.get(
        "/jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid",
        "source",
        &values,
    )?;
    Ok(())
}

fn metrics(r: &mut Record<'_>, ids: &Ids) -> Result<()> {
    let values = [
        ("jobid", ids.job.as_str()),
        ("vertexid", &ids.vertex),
        ("subtaskindex", "0"),
    ];
    for path in [
        "/jobs/metrics",
        "/jobs/metrics?get=numRestarts",
        "/jobs/metrics?get=numRestarts&agg=min,max",
        "/jobs/metrics?get=numRestarts&jobs=:jobid",
        "/jobs/:jobid/metrics",
        "/jobs/:jobid/metrics?get=numRestarts,missing",
        "/jobs/:jobid/vertices/:vertexid/metrics",
        "/jobs/:jobid/vertices/:vertexid/metrics?get=0.numRecordsIn,1.numRecordsIn",
        "/jobs/:jobid/vertices/:vertexid/subtasks/metrics",
        "/jobs/:jobid/vertices/:vertexid/subtasks/metrics?get=numRecordsIn",
        "/jobs/:jobid/vertices/:vertexid/subtasks/metrics?get=numRecordsIn&agg=sum,avg&subtasks=0-1",
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/metrics",
        "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/metrics?get=numRecordsIn",
        "/jobs/:jobid/vertices/:vertexid/jm-operator-metrics",
        "/taskmanagers/metrics",
        "/taskmanagers/metrics?get=Status.JVM.Memory.Heap.Used",
        "/jobmanager/metrics",
        "/jobmanager/metrics?get=taskSlotsTotal,taskSlotsAvailable",
    ] {
        r.get(path, "", &values)?;
    }
    let nobody = [("jobid", NOBODY), ("vertexid", NOBODY)];
    for path in ["/jobs/:jobid/metrics", "/jobs/:jobid/vertices/:vertexid/metrics"] {
        r.get(path, "unknown", &nobody)?;
    }
    Ok(())
}

fn task_managers(r: &mut Record<'_>) -> Result<()> {
    let all = r.get("/taskmanagers", "", &[])?.value()?;
    let id = text(&all["taskmanagers"][0], "id")?;
    let logs = r.client.get(&format!("/taskmanagers/{id}/logs"))?;
    let file = text(&logs["logs"][0], "name")?;
    let values = [("taskmanagerid", id.as_str()), ("filename", &file)];
    for path in [
        "/taskmanagers/:taskmanagerid",
        "/taskmanagers/:taskmanagerid/metrics",
        "/taskmanagers/:taskmanagerid/metrics?get=Status.JVM.Memory.Heap.Used",
        "/taskmanagers/:taskmanagerid/logs",
        "/taskmanagers/:taskmanagerid/logs/:filename",
        "/taskmanagers/:taskmanagerid/log",
        "/taskmanagers/:taskmanagerid/stdout",
        "/taskmanagers/:taskmanagerid/thread-dump",
        "/taskmanagers/:taskmanagerid/profiler",
    ] {
        r.get(path, "", &values)?;
    }
    for path in [
        "/taskmanagers/:taskmanagerid",
        "/taskmanagers/:taskmanagerid/metrics",
        "/taskmanagers/:taskmanagerid/logs",
        "/taskmanagers/:taskmanagerid/log",
        "/taskmanagers/:taskmanagerid/thread-dump",
    ] {
        r.get(path, "unknown", &[("taskmanagerid", "nobody")])?;
    }
    let missing = [("taskmanagerid", id.as_str()), ("filename", "missing.log")];
    r.get("/taskmanagers/:taskmanagerid/logs/:filename", "unknown", &missing)?;
    Ok(())
}

fn job_manager(r: &mut Record<'_>) -> Result<()> {
    let logs = r.get("/jobmanager/logs", "", &[])?.value()?;
    let file = text(&logs["logs"][0], "name")?;
    for path in [
        "/jobmanager/config",
        "/jobmanager/environment",
        "/jobmanager/log",
        "/jobmanager/stdout",
        "/jobmanager/thread-dump",
        "/jobmanager/profiler",
    ] {
        r.get(path, "", &[])?;
    }
    r.get("/jobmanager/logs/:filename", "", &[("filename", &file)])?;
    r.get(
        "/jobmanager/logs/:filename",
        "unknown",
        &[("filename", "missing.log")],
    )?;
    r.get(
        "/jobmanager/logs/:filename",
        "outside",
        &[("filename", "..%2Fconfig.yaml")],
    )?;
    Ok(())
}

/// Gives the path of one that is complete.
fn savepoints(r: &mut Record<'_>, job: &str, folder: &Path) -> Result<String> {
    let target = folder.join("savepoints").display().to_string();
    let values = [("jobid", job)];
    let status = "/jobs/:jobid/savepoints/:triggerid";
    let complete =
        json!({"target-directory": target, "triggerId": "1".repeat(32), "formatType": "CANONICAL"});
    let answer = r.ask("POST", "/jobs/:jobid/savepoints", "", &values, &complete)?;
    let location = operation(r, status, "", &values, &answer)?;
    // Asked for once more it is the same operation.
    let again = r.ask("POST", "/jobs/:jobid/savepoints", "again", &values, &complete)?;
    let repeated = operation(r, status, "again", &values, &again)?;
    if location != repeated {
        bail!("one trigger id gave two savepoints: {location}, {repeated}");
    }
    let nowhere = json!({"target-directory": "/proc/nowhere", "formatType": "NATIVE"});
    let answer = r.ask("POST", "/jobs/:jobid/savepoints", "nowhere", &values, &nowhere)?;
    operation(r, status, "nowhere", &values, &answer)?;
    for (note, body) in [
        ("no JSON", json!("text")),
        ("no such format", json!({"formatType": "ODD"})),
    ] {
        r.ask("POST", "/jobs/:jobid/savepoints", note, &values, &body)?;
    }
    let checkpoint = json!({"checkpointType": "CONFIGURED"});
    let answer = r.ask("POST", "/jobs/:jobid/checkpoints", "", &values, &checkpoint)?;
    operation(r, "/jobs/:jobid/checkpoints/:triggerid", "", &values, &answer)?;
    let nobody = [("jobid", NOBODY)];
    for (path, status) in [
        ("/jobs/:jobid/savepoints", status),
        ("/jobs/:jobid/checkpoints", "/jobs/:jobid/checkpoints/:triggerid"),
        ("/jobs/:jobid/stop", status),
    ] {
        let answer = r.ask("POST", path, "unknown job", &nobody, &json!({}))?;
        let note = format!("of an unknown job by {path}");
        operation(r, status, &note, &nobody, &answer)?;
    }
    for path in [
        "/jobs/:jobid/savepoints/:triggerid",
        "/jobs/:jobid/checkpoints/:triggerid",
    ] {
        r.get(path, "unknown", &[("jobid", job), ("triggerid", NOBODY)])?;
        r.get(path, "no id", &[("jobid", job), ("triggerid", "x")])?;
    }
    for path in ["/savepoint-disposal/:triggerid", "/datasets/delete/:triggerid"] {
        r.get(path, "unknown", &[("triggerid", NOBODY)])?;
    }
    r.ask("POST", "/savepoint-disposal", "no path", &[], &json!({}))?;
    Ok(location)
}

/// Waits for the end of what was triggered; gives the location of a savepoint.
fn operation(
    r: &mut Record<'_>,
    path: &str,
    note: &str,
    values: &[(&str, &str)],
    triggered: &Answer,
) -> Result<String> {
    let id = text(&triggered.value()?, "request-id")?;
    let values = [values, &[("triggerid", id.as_str())]].concat();
    let mut filled = path.to_owned();
    for (name, value) in &values {
        filled = filled.replace(&format!(":{name}"), value);
    }
    wait::until("the end of an operation", LIMIT, || {
        let status = r.client.get(&filled)?;
        Ok((status["status"]["id"] == "COMPLETED").then_some(()))
    })?;
    let answer = r.get(path, note, &values)?.value()?;
    let location = answer["operation"]["location"].as_str();
    Ok(location.unwrap_or_default().to_owned())
}

fn requirements(r: &mut Record<'_>, ids: &Ids) -> Result<()> {
    let vertices = vertices(r.client, &ids.job)?;
    let bounds = |lower: i64, upper: i64| json!({"parallelism": {"lowerBound": lower, "upperBound": upper}});
    let all = |lower: i64, upper: i64| -> Value {
        let entries = vertices.iter().map(|id| (id.clone(), bounds(lower, upper)));
        Value::Object(entries.collect())
    };
    let path = "/jobs/:jobid/resource-requirements";
    let values = [("jobid", ids.job.as_str())];
    for (note, body) in [
        ("nothing", json!({})),
        ("upside down", all(2, 1)),
        ("unknown vertex", json!({NOBODY: bounds(1, 2)})),
        ("", all(1, 2)),
    ] {
        r.ask("PUT", path, note, &values, &body)?;
    }
    r.ask("PUT", path, "unknown job", &[("jobid", NOBODY)], &all(1, 2))?;
    r.get(path, "unknown job", &[("jobid", NOBODY)])?;
    Ok(())
}

/// What is not there, or not understood.
fn mistakes(r: &mut Record<'_>, ids: &Ids, jar: &str, ended: &str) -> Result<()> {
    for path in ["/nothing", "/v2/overview", "/assets/nothing", "/jars/upload"] {
        r.get(path, "", &[])?;
    }
    for (method, path) in [
        ("POST", "/overview"),
        ("PUT", "/jobs"),
        ("DELETE", "/jobs/overview"),
    ] {
        r.ask(method, path, "no such method", &[], &Value::Null)?;
    }
    for path in [
        "/jobs/:jobid",
        "/jobs/:jobid/status",
        "/jobs/:jobid/config",
        "/jobs/:jobid/plan",
        "/jobs/:jobid/checkpoints",
        "/jobs/:jobid/checkpoints/config",
        "/jobs/:jobid/exceptions",
        "/jobs/:jobid/execution-result",
        "/jobs/:jobid/accumulators",
        "/jobs/:jobid/yarn-cancel",
        "/jobs/:jobid/yarn-stop",
    ] {
        r.get(path, "unknown job", &[("jobid", NOBODY)])?;
    }
    r.get("/jobs/:jobid", "no id", &[("jobid", "x")])?;
    for tail in [
        "",
        "/subtasktimes",
        "/taskmanagers",
        "/accumulators",
        "/subtasks/accumulators",
        "/backpressure",
        "/watermarks",
        "/flamegraph",
        "/jm-operator-metrics",
        "/subtasks/metrics",
    ] {
        let values = [("jobid", ids.job.as_str()), ("vertexid", NOBODY)];
        r.get(
            &format!("/jobs/:jobid/vertices/:vertexid{tail}"),
            "unknown vertex",
            &values,
        )?;
    }
    let subtask = "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex";
    let attempt = "/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/attempts/:attempt";
    for (path, note, subtask, number) in [
        (subtask, "unknown", "9", ""),
        (subtask, "no number", "x", ""),
        (attempt, "unknown", "0", "9"),
    ] {
        let values = [
            ("jobid", ids.job.as_str()),
            ("vertexid", &ids.vertex),
            ("subtaskindex", subtask),
            ("attempt", number),
        ];
        r.get(path, note, &values)?;
    }
    let details = "/jobs/:jobid/checkpoints/details/:checkpointid";
    for (note, id) in [("unknown", "99999"), ("no number", "x")] {
        let values = [
            ("jobid", ids.job.as_str()),
            ("checkpointid", id),
            ("vertexid", &ids.vertex),
        ];
        r.get(details, note, &values)?;
        r.get(&format!("{details}/subtasks/:vertexid"), note, &values)?;
    }
    let values = [("jobid", ids.job.as_str())];
    r.get("/jobs/:jobid/exceptions?maxExceptions=x", "", &values)?;
    r.get("/jobs/:jobid/accumulators?other=x", "unknown parameter", &values)?;
    for (note, job, mode) in [
        ("unknown job", NOBODY, "cancel"),
        ("no such mode", ids.job.as_str(), "odd"),
        ("removed mode", &ids.job, "stop"),
        ("already ended", ended, "cancel"),
    ] {
        let path = format!("/jobs/:jobid?mode={mode}");
        r.ask("PATCH", &path, note, &[("jobid", job)], &Value::Null)?;
    }
    r.ask(
        "PATCH",
        "/jobs/:jobid/rescaling?parallelism=1",
        "",
        &values,
        &Value::Null,
    )?;
    let values = [("jobid", ids.job.as_str()), ("triggerid", NOBODY), ("jarid", jar)];
    r.get("/jobs/:jobid/rescaling/:triggerid", "", &values)?;
    r.ask("DELETE", "/datasets/:triggerid", "", &values, &Value::Null)?;
    Ok(())
}

fn stop(r: &mut Record<'_>, job: &str, folder: &Path) -> Result<()> {
    let target = folder.join("stopped").display().to_string();
    let values = [("jobid", job)];
    let body = json!({"targetDirectory": target, "drain": true, "formatType": "CANONICAL"});
    let answer = r.ask("POST", "/jobs/:jobid/stop", "", &values, &body)?;
    operation(
        r,
        "/jobs/:jobid/savepoints/:triggerid",
        "of a stop",
        &values,
        &answer,
    )?;
    reaches(r.client, job, "FINISHED")?;
    for path in [
        "/jobs/:jobid",
        "/jobs/:jobid/checkpoints",
        "/jobs/:jobid/execution-result",
    ] {
        r.get(path, "stopped", &values)?;
    }
    Ok(())
}

/// From a savepoint, and canceled in both ways.
fn restored(r: &mut Record<'_>, jar: &str, savepoint: &str) -> Result<()> {
    for (method, path) in [
        ("PATCH", "/jobs/:jobid?mode=cancel"),
        ("GET", "/jobs/:jobid/yarn-cancel"),
    ] {
        let job = start(
            r,
            jar,
            jobs::RUNS,
            json!({"savepointPath": savepoint, "claimMode": "NO_CLAIM"}),
        )?;
        wait::until("a checkpoint of the restored job", LIMIT, || {
            let checkpoints = r.client.get(&format!("/jobs/{job}/checkpoints"))?;
            Ok((checkpoints["counts"]["completed"].as_u64() >= Some(1)).then_some(()))
        })?;
        let values = [("jobid", job.as_str())];
        if method == "PATCH" {
            r.get("/jobs/:jobid/checkpoints", "restored", &values)?;
        }
        r.ask(method, path, "", &values, &Value::Null)?;
        reaches(r.client, &job, "CANCELED")?;
        if method == "PATCH" {
            r.get("/jobs/:jobid", "canceled", &values)?;
            r.get("/jobs/:jobid/execution-result", "canceled", &values)?;
            r.ask("PATCH", path, "canceled", &values, &Value::Null)?;
        }
    }
    r.get("/overview", "at the end", &[])?;
    Ok(())
}

fn text(value: &Value, name: &str) -> Result<String> {
    let text = value[name].as_str();
    Ok(text
        .with_context(|| format!("there is no {name} in {value}"))?
        .to_owned())
}
