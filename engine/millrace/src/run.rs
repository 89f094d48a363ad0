//! `millrace run` and `millrace explain`.

use std::sync::Arc;
use std::time::Duration;

use millrace_cluster::{Discard, JobHandle, JobSpec, Start, compatibility, submit};
use millrace_core::{Error, JobId, Result};
use millrace_dataflow::Operator;
use millrace_sql::{Outcome as SqlOutcome, Session};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::arguments::{Explain, Run};
use crate::logging::Role;
use crate::progress::{self, Progress};
use crate::{config, plan, terminal};

pub fn explain(arguments: &Explain) -> Result<()> {
    let config = config::load(&arguments.common.settings, Role::Command)?;
    let mut session = Session::new(config, millrace_connectors::registry());
    let mut jobs = Vec::new();
    for outcome in session.execute(&plan::read(&arguments.common.file)?)? {
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
    let name = job.name.clone().unwrap_or_else(|| plan::default_name(&job.graph));
    let fates = compatibility::with_checkpoint(&job.graph, &name, &job.config, path, runtime.handle())?;
    terminal::print(&format!("== State of {path} ==\n{fates}"))?;
    fates.check(arguments.allow_non_restored_state)
}

/// In this process.
pub fn run(arguments: &Run) -> Result<()> {
    let config = config::load(&arguments.common.settings, Role::Command)?;
    let start = match (&arguments.from, arguments.fresh) {
        (Some(path), _) => Start::From(path.as_str().into()),
        (None, true) => Start::Fresh,
        (None, false) => Start::Resume,
    };
    let planned = plan::jobs(&plan::read(&arguments.common.file)?, &config, |text| {
        terminal::print(&format!("{text}\n"))
    })?;
    if planned.len() > 1 && arguments.from.is_some() {
        return Err(Error::user("--from starts one job, and the file has several")
            .with_hint("put each into a file of its own"));
    }
    let registry = millrace_connectors::registry();
    let specs = planned.into_iter().map(|job| JobSpec {
        id: JobId::from_name(&job.name),
        name: job.name,
        graph: job.graph,
        config: job.config,
        registry: registry.clone(),
        start: start.clone(),
        discard: Discard::default(),
    });
    let specs: Vec<JobSpec> = specs.collect();
    if specs.is_empty() {
        return Ok(());
    }
    let runtime =
        Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))?;
    let show = !arguments.quiet && !prints_rows(&specs);
    let outcome = until_ended(
        specs,
        |spec| submit(spec, runtime.handle().clone()),
        show,
        &signals(&runtime, Arc::default())?,
    );
    // The process ends now. Clients that are still closing, or hang in the network, must neither
    // hold the exit nor meet a runtime that is going away.
    std::mem::forget(runtime);
    outcome
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

/// Runs all jobs of a file side by side, until all have ended. A signal stops them with a checkpoint.
fn until_ended(
    specs: Vec<JobSpec>,
    submit: impl Fn(JobSpec) -> Result<JobHandle>,
    show: bool,
    signals: &std::sync::mpsc::Receiver<()>,
) -> Result<()> {
    let mut jobs: Vec<JobHandle> = Vec::with_capacity(specs.len());
    for spec in specs {
        match submit(spec) {
            Ok(job) => jobs.push(job),
            Err(error) => {
                // The jobs before it stop with a checkpoint, as at Ctrl-C.
                for job in jobs {
                    job.control().stop();
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
            jobs.iter().for_each(|job| job.control().stop());
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
        match job.join() {
            Ok(_) => progress::ended(&status),
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => tracing::error!(job = %status.name, %error, "the job failed"),
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// The first signal is handed on, and so is what somebody else says; the second signal ends the process at once.
pub fn signals(runtime: &Runtime, told: Arc<Notify>) -> Result<std::sync::mpsc::Receiver<()>> {
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
                () = told.notified() => {}
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
