//! The dashboard of Apache Flink on a running job, in a browser: every page is opened and shows what belongs there, no
//! request fails, the console has no error, and numbers move.
//!
//! `REST_SCREENSHOTS` names a folder for pictures of the pages; without it they go away with the test.

mod devtools;

use std::collections::HashMap;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use devtools::Browser;
use millrace_testkit::{cache, wait};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT};
use crate::contract::jobs;

/// The dashboard's files, as the image has them.
fn dashboard(cluster: &std::path::Path) -> Result<PathBuf> {
    let folder = cache::installed("downloads/dashboard", "images")?;
    let jar = fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "jar"));
    let jar = jar.with_context(|| format!("no jar in {}", folder.display()))?;
    let unpacked = cluster.join("dashboard");
    zip::ZipArchive::new(fs::File::open(jar)?)?.extract(&unpacked)?;
    Ok(unpacked.join("web"))
}

/// What a browser has complained of, and is no complaint of the test's own.
#[derive(Default)]
struct Complaints {
    urls: HashMap<String, String>,
    found: Vec<String>,
}

impl Complaints {
    fn listen(&mut self, events: &[Value]) {
        for event in events {
            let params = &event["params"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let id = text(&params["requestId"]);
            match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    self.urls.insert(id, text(&params["request"]["url"]));
                }
                "Network.responseReceived" if params["response"]["status"].as_u64() >= Some(400) => {
                    let (status, url) = (&params["response"]["status"], &params["response"]["url"]);
                    self.found.push(format!("{status}: {url}"));
                }
                // Polls that a page no longer waits for are given up.
                "Network.loadingFailed" if params["canceled"] != true => {
                    let url = self.urls.get(&id).cloned().unwrap_or_default();
                    self.found.push(format!("{}: {url}", text(&params["errorText"])));
                }
                "Runtime.exceptionThrown" => {
                    self.found
                        .push(format!("exception: {}", params["exceptionDetails"]));
                }
                "Runtime.consoleAPICalled" if params["type"] == "error" || params["type"] == "assert" => {
                    self.found.push(format!("console: {}", params["args"]));
                }
                "Log.entryAdded" if params["entry"]["level"] == "error" => {
                    self.found.push(format!(
                        "log: {} {}",
                        params["entry"]["text"], params["entry"]["url"]
                    ));
                }
                _ => {}
            }
        }
    }
}

/// A person at the dashboard.
struct Visitor {
    browser: Browser,
    complaints: Complaints,
    base: String,
    pictures: PathBuf,
    pages: usize,
}

impl Visitor {
    fn new(cluster: &Cluster) -> Result<Visitor> {
        let pictures = match env::var_os("REST_SCREENSHOTS") {
            Some(folder) => PathBuf::from(folder),
            None => cluster.folder.path().join("pictures"),
        };
        fs::create_dir_all(&pictures)?;
        Ok(Visitor {
            browser: Browser::start()?,
            complaints: Complaints::default(),
            base: format!("http://127.0.0.1:{}/", cluster.port),
            pictures,
            pages: 0,
        })
    }

    /// Opens a page and waits until it shows these texts.
    fn open(&mut self, route: &str, shows: &[&str]) -> Result<()> {
        self.browser.open(&format!("{}#{route}", self.base))?;
        self.sees(route, shows)
    }

    /// Waits until the page shows these texts, and takes a picture of it.
    fn sees(&mut self, name: &str, shows: &[&str]) -> Result<()> {
        let seen = shows.iter().try_for_each(|text| self.browser.wait_text(text));
        self.pages += 1;
        let file = format!(
            "{:02}{}.png",
            self.pages,
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        );
        self.browser.screenshot(&self.pictures.join(file))?;
        let events = self.browser.events()?;
        self.complaints.listen(&events);
        seen.with_context(|| format!("page {name}"))
    }

    /// Clicks on something of this text, and waits until the page shows these texts.
    fn click(&mut self, selector: &str, text: &str, shows: &[&str]) -> Result<()> {
        self.browser.click(selector, text)?;
        self.sees(&format!("-{text}"), shows)
    }

    fn has_no_complaint(&mut self) -> Result<()> {
        let events = self.browser.events()?;
        self.complaints.listen(&events);
        let found = &self.complaints.found;
        ensure!(found.is_empty(), "the browser complains:\n{}", found.join("\n"));
        Ok(())
    }
}

/// The number in a column of the table's row whose text has this in it.
fn number(browser: &mut Browser, row: &str, column: &str) -> Result<f64> {
    let script = format!(
        "(() => {{
            for (const table of document.querySelectorAll('nz-table')) {{
                const heads = [...table.querySelectorAll('thead th')].map(th => th.textContent.trim());
                const at = heads.findIndex(head => head.startsWith({}));
                if (at < 0) continue;
                const rows = [...table.querySelectorAll('tbody tr')];
                const row = rows.find(tr => tr.textContent.includes({}));
                if (row) return row.querySelectorAll('td')[at].textContent.trim();
            }}
            return '';
        }})()",
        json!(column),
        json!(row)
    );
    let text = browser
        .value(&script)?
        .as_str()
        .unwrap_or_default()
        .replace(',', "");
    text.parse()
        .with_context(|| format!("'{text}' in column {column} of {row} is no number"))
}

#[test]
fn every_page_shows_a_running_job() -> Result<()> {
    let files = millrace_testkit::scratch::Scratch::new("dashboard")?;
    let web = dashboard(files.path())?.display().to_string();
    let options = [
        ("millrace.dashboard.dir", web.as_str()),
        ("web.refresh-interval", "1 s"),
        ("jobmanager.scheduler", "adaptive"),
    ];
    let cluster = Cluster::start("browser", 2, 2, &options)?;
    let broken = cluster.run(jobs::BREAKS)?;
    cluster.reaches(&broken, "FAILED")?;
    let ended = cluster.run(jobs::ENDS)?;
    cluster.reaches(&ended, "FINISHED")?;
    let job = cluster.run(jobs::RUNS)?;
    let vertex = wait::until("the job's second vertex", LIMIT, || {
        let details = cluster.client.get(&format!("/jobs/{job}"))?;
        let checkpoints = cluster.client.get(&format!("/jobs/{job}/checkpoints"))?;
        let is_ready = checkpoints["counts"]["completed"].as_u64() >= Some(2);
        let id = details["vertices"][1]["id"].as_str().filter(|_| is_ready);
        Ok(id.map(str::to_owned))
    })?;
    let mut visitor = Visitor::new(&cluster)?;
    let v = &mut visitor;

    v.open(
        "/overview",
        &[
            "Available Task Slots",
            "Running Job List",
            "Completed Job List",
            "runs",
            "breaks",
        ],
    )?;
    v.open("/job/running", &["runs", "RUNNING"])?;
    v.open("/job/completed", &["ends", "FINISHED", "breaks", "FAILED"])?;

    let overview = format!("/job/running/{job}/overview");
    v.open(
        &overview,
        &["runs", "GroupAggregate", "Records Received", "RUNNING"],
    )?;
    let before = wait::until("records that were received", LIMIT, || {
        let received = number(&mut v.browser, "GroupAggregate", "Records Received")?;
        Ok((received > 0.0).then_some(received))
    })?;
    wait::until("more records that are received", LIMIT, || {
        let received = number(&mut v.browser, "GroupAggregate", "Records Received")?;
        Ok((received > before).then_some(()))
    })?;
    for (tab, shows) in [
        ("detail", &["GroupAggregate", "Parallelism"][..]),
        ("subtasks", &["RUNNING", "Start Time"]),
        ("taskmanagers", &["RUNNING", "Endpoint"]),
        ("watermarks", &["SubTask", "Watermark"]),
        ("accumulators", &["Vertex Accumulators"]),
        ("backpressure", &["Backpressure Status", "OK"]),
        ("metrics", &["Select Metric Name"]),
    ] {
        v.open(&format!("{overview}/{vertex}/{tab}"), shows)?;
    }

    v.open(
        &format!("/job/running/{job}/checkpoints"),
        &["Checkpoint Counts", "Latest Completed Checkpoint"],
    )?;
    v.click(
        "flink-job-checkpoints [role=tab]",
        "History",
        &["COMPLETED", "End to End Duration"],
    )?;
    v.click(
        "flink-job-checkpoints [role=tab]",
        "Summary",
        &["Minimum", "Maximum"],
    )?;
    v.click(
        "flink-job-checkpoints [role=tab]",
        "Configuration",
        &["Checkpointing Mode", "Exactly Once"],
    )?;
    v.open(&format!("/job/running/{job}/exceptions"), &["Exception"])?;
    v.open(&format!("/job/running/{job}/timeline"), &["runs"])?;
    v.open(
        &format!("/job/running/{job}/configuration"),
        &["Execution Configuration"],
    )?;
    v.open(&format!("/job/completed/{broken}/exceptions"), &["Exception"])?;
    v.open(&format!("/job/completed/{ended}/overview"), &["ends", "FINISHED"])?;

    let managers = cluster.client.get("/taskmanagers")?;
    let manager = managers["taskmanagers"][0]["id"]
        .as_str()
        .context("no TaskManager")?
        .to_owned();
    v.open("/task-manager", &["Task Managers", manager.as_str()])?;
    for (tab, shows) in [
        ("metrics", &["Memory"][..]),
        ("logs", &["registered at the JobManager"]),
        ("stdout", &[]),
        ("log-list", &["taskmanager.log"]),
        ("thread-dump", &["Id="]),
    ] {
        v.open(&format!("/task-manager/{manager}/{tab}"), shows)?;
    }
    for (tab, shows) in [
        ("metrics", &["Memory"][..]),
        ("config", &["rest.port"]),
        ("logs", &["listening"]),
        ("stdout", &[]),
        ("log", &["jobmanager.log"]),
        ("thread-dump", &["Id="]),
    ] {
        v.open(&format!("/job-manager/{tab}"), shows)?;
    }
    v.open("/submit", &["job.sql", "Add New"])?;
    v.has_no_complaint()
}

#[test]
fn a_job_is_cancelled_on_its_page() -> Result<()> {
    let files = millrace_testkit::scratch::Scratch::new("dashboard")?;
    let web = dashboard(files.path())?.display().to_string();
    let options = [
        ("millrace.dashboard.dir", web.as_str()),
        ("web.refresh-interval", "1 s"),
    ];
    let cluster = Cluster::start("browser-cancel", 1, 2, &options)?;
    let job = cluster.run(jobs::RUNS)?;
    cluster.reaches(&job, "RUNNING")?;
    let mut visitor = Visitor::new(&cluster)?;
    let v = &mut visitor;
    v.open(&format!("/job/running/{job}/overview"), &["Cancel Job"])?;
    v.browser.click("a, button, span", "Cancel Job")?;
    v.click("button", "Yes", &[])?;
    cluster.reaches(&job, "CANCELED")?;
    v.browser.wait_text("CANCELED")?;
    v.has_no_complaint()
}
