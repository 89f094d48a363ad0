//! `millrace run` and `millrace explain`.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use millrace_cluster::process::JobManager;
use millrace_cluster::{JobHandle, JobSpec, Outcome, SlotSource, Start, compatibility, submit, submit_to};
use millrace_core::{Configuration, Error, Result, options};
use millrace_dataflow::{Graph, Operator};
use millrace_sql::{Outcome as SqlOutcome, Session};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Explain, Run};
use crate::progress::Progress;
use crate::{config, logging, terminal};

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        false => std::fs::read_to_string(file).map(|t| text = t),
    };
    match read {
        Ok(()) => Ok(text),
        Err(e) => Err(Error::user("the SQL file cannot be read")
            .with_detail(file.display().to_string())
            .with_source(e)),
    }
}

pub fn explain(arguments: &Explain) -> Result<()> {
    logging::init();
    let config = config::load(&arguments.common.settings)?;
    let mut session = Session::new(config, millrace_connectors::registry());
    let mut jobs = Vec::new();
    for outcome in session.execute(&read(&arguments.common.file)?)? {
        match outcome {
            SqlOutcome::Job(job) => {
                let plan = millrace_dataflow::explain::explain(&job.graph);
                terminal::print(&format!("{plan}\n"))?;
                jobs.push(job);
            }
            SqlOutcome::Text(text) => terminal::print(&format!("{text}\n"))?,
            SqlOutcome::Done => {}
        }
    }
    let Some(path) = &arguments.compatible_with else {
        return Ok(());
    };
    let [job] = jobs.as_slice() else {
        return Err(Error::user("--compatible-with looks at one job")
            .with_detail(format!("the file has {}", jobs.len()))
            .with_hint("put each job into a file of its own"));
    };
    let runtime =
        Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))?;
    let name = job.name.clone().unwrap_or_else(|| default_name(&job.graph));
    let fates = compatibility::with_checkpoint(&job.graph, &name, &job.config, path, runtime.handle())?;
    terminal::print(&format!("== State of {path} ==\n{fates}"))?;
    fates.check(arguments.allow_non_restored_state)
}

/// In this process.
pub fn run(arguments: &Run) -> Result<()> {
    execute_file(arguments, Where::Here)
}

/// On the TaskManagers that register.
pub fn on_cluster(arguments: &Run) -> Result<()> {
    execute_file(arguments, Where::TaskManagers)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Here,
    TaskManagers,
}

fn execute_file(arguments: &Run, place: Where) -> Result<()> {
    logging::init();
    let config = config::load(&arguments.common.settings)?;
    let mut without_effect: HashSet<String> = options::check(&config)?.into_iter().collect();
    let registry = millrace_connectors::registry();
    let mut session = Session::new(config.clone(), registry.clone());
    let start = match (&arguments.from, arguments.fresh) {
        (Some(path), _) => Start::From(path.clone()),
        (None, true) => Start::Fresh,
        (None, false) => Start::Resume,
    };
    let mut specs = Vec::new();
    for outcome in session.execute(&read(&arguments.common.file)?)? {
        match outcome {
            SqlOutcome::Text(text) => terminal::print(&format!("{text}\n"))?,
            SqlOutcome::Done => {}
            SqlOutcome::Job(job) => {
                for key in options::check(&job.config)? {
                    // Those of the command line and config.yaml have been told already.
                    if without_effect.insert(key.clone()) {
                        tracing::warn!(key, "this option has no effect here");
                    }
                }
                let name = job.name.unwrap_or_else(|| default_name(&job.graph));
                specs.push(JobSpec {
                    name,
                    graph: job.graph,
                    config: job.config,
                    registry: registry.clone(),
                    start: start.clone(),
                });
            }
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = specs.iter().find(|s| !names.insert(s.name.clone())) {
        return Err(Error::user("two jobs of the file have the same name")
            .with_detail(twice.name.clone())
            .with_hint(
                "SET 'pipeline.name' to another one before each, or put the INSERTs into one STATEMENT SET",
            ));
    }
    if specs.is_empty() {
        return Ok(());
    }
    if specs.len() > 1 && arguments.from.is_some() {
        return Err(Error::user("--from starts one job, and the file has several")
            .with_hint("put each into a file of its own"));
    }
    execute(
        specs,
        arguments.quiet,
        Some(&config).filter(|_| place == Where::TaskManagers),
    )
}

/// Flink's name for a job without one.
fn default_name(graph: &Graph) -> String {
    let sinks: Vec<_> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.operator {
            Operator::Sink(sink) => Some(sink.table.name.as_str()),
            _ => None,
        })
        .collect();
    format!("insert-into_{}", sinks.join(","))
}

fn prints_rows(specs: &[JobSpec]) -> bool {
    specs
        .iter()
        .flat_map(|s| &s.graph.nodes)
        .any(|node| match &node.operator {
            Operator::Sink(sink) => sink.table.options.get("connector").is_some_and(|c| c == "print"),
            _ => false,
        })
}

/// Runs all jobs of a file side by side, until all have ended: as a JobManager, or in this process.
fn execute(specs: Vec<JobSpec>, quiet: bool, job_manager: Option<&Configuration>) -> Result<()> {
    let runtime =
        Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))?;
    let signals = signals(&runtime)?;
    let job_manager = match job_manager {
        Some(config) => Some(JobManager::start(config, runtime.handle())?),
        None => None,
    };
    let show = !quiet && !prints_rows(&specs);
    let mut jobs: Vec<JobHandle> = Vec::with_capacity(specs.len());
    for spec in specs {
        let submitted = match &job_manager {
            Some(JobManager { resources, .. }) => submit_to(
                spec,
                runtime.handle().clone(),
                SlotSource::Shared(resources.clone()),
            ),
            None => submit(spec, runtime.handle().clone()),
        };
        match submitted {
            Ok(job) => jobs.push(job),
            Err(error) => {
                // The jobs before it stop with a checkpoint, as at Ctrl-C.
                for job in jobs {
                    job.stopper().stop();
                    let _ = job.join();
                }
                return Err(error);
            }
        }
    }
    let mut progress: Vec<_> = jobs.iter().map(|_| Progress::new()).collect();
    while !jobs.iter().all(JobHandle::is_done) {
        if signals.recv_timeout(Duration::from_millis(50)).is_ok() {
            terminal::clear_line();
            tracing::info!("stopping with a checkpoint; the next run resumes (once more: at once, without)");
            jobs.iter().for_each(|job| job.stopper().stop());
        }
        if show {
            jobs.iter()
                .zip(&mut progress)
                .for_each(|(job, progress)| progress.show(job));
        }
    }
    terminal::clear_line();
    let mut first_error = None;
    for job in jobs {
        let status = job.status();
        let totals = status.totals();
        match job.join() {
            Ok(outcome) => {
                let ended = match outcome {
                    Outcome::Finished => "finished",
                    Outcome::Stopped => "stopped",
                };
                tracing::info!(
                    job = %status.name,
                    records_in = totals.records_in,
                    records_out = totals.records_out,
                    skipped = totals.skipped,
                    dropped = totals.dropped,
                    late = totals.late,
                    checkpoint = status.checkpoint.map(|c| c.id.0),
                    "{ended}"
                );
            }
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => tracing::error!(job = %status.name, %error, "the job failed"),
        }
    }
    // The process ends now. Clients that are still closing, or hang in the network, must neither
    // hold the exit nor meet a runtime that is going away.
    std::mem::forget(runtime);
    first_error.map_or(Ok(()), Err)
}

/// The first signal is handed on; the second ends the process at once.
fn signals(runtime: &Runtime) -> Result<std::sync::mpsc::Receiver<()>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let _guard = runtime.enter();
    let listen =
        |kind| signal(kind).map_err(|e| Error::external("signals cannot be listened for").with_source(e));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    runtime.spawn(async move {
        for turn in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if turn > 0 {
                // 128 + SIGINT, as shells count.
                std::process::exit(130);
            }
            let _ = sender.send(());
        }
    });
    Ok(receiver)
}
