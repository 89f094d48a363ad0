//! `millrace taskmanager` and `millrace standalone-job`.

use std::sync::Arc;

use millrace_cluster::process::{JobManager, Session, TaskManagerProcess, bind_address};
use millrace_cluster::{ClaimMode, Discard, JobSpec, Restore, Start, words};
use millrace_core::{ConfigOption, Configuration, Error, JobId, Result, options};
use millrace_rest::metrics::{self, Reporter};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::application::{End, FileApplication};
use crate::arguments::{Settings, StandaloneJob};
use crate::logging::Role;
use crate::plan::{self, Planned};
use crate::{config, rest, run, terminal};

fn runtime() -> Result<Runtime> {
    Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))
}

/// Serves metrics, where they are wanted. Without a port that is free the process runs without them.
fn show_metrics(
    config: &Configuration,
    bind_host: &ConfigOption<String>,
    runtime: &Runtime,
    source: metrics::Source,
) -> Result<()> {
    let Some(reporter) = Reporter::from_config(config)? else {
        return Ok(());
    };
    let host = bind_address(config.get_optional(bind_host)?.as_deref())?;
    if let Err(error) = metrics::serve(&reporter, host, source, runtime.handle()) {
        tracing::warn!(%error, "there are no metrics for Prometheus");
    }
    Ok(())
}

fn show_job_manager(config: &Configuration, manager: &JobManager, runtime: &Runtime) -> Result<()> {
    let (metrics, role) = (manager.metrics.clone(), manager.role());
    let source = Arc::new(move || metrics.groups(&role.borrow().clone()));
    show_metrics(config, &options::JOB_MANAGER_BIND_HOST, runtime, source)
}

/// Comes back at SIGTERM or SIGINT.
async fn told_to_end() -> Result<()> {
    let unheard = |e| Error::external("signals cannot be listened for").with_source(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Until SIGTERM or SIGINT, and then until its subtasks run elsewhere; the second signal ends it at once.
pub fn task_manager(settings: &Settings) -> Result<()> {
    let config = config::load(settings, Role::TaskManager)?;
    let runtime = runtime()?;
    let process = TaskManagerProcess::new(&config, millrace_connectors::registry(), runtime.handle())?;
    let metrics = process.metrics.clone();
    show_metrics(
        &config,
        &options::TASK_MANAGER_BIND_HOST,
        &runtime,
        Arc::new(move || metrics.groups()),
    )?;
    let patience = config.get(&options::DRAIN_TIMEOUT)?;
    runtime.block_on(async {
        tokio::select! {
            () = process.run() => Ok(()),
            ended = async {
                told_to_end().await?;
                tracing::info!(?patience, "the TaskManager is to end; its subtasks are moved to others");
                tokio::select! {
                    () = process.drain(patience) => Ok(()),
                    again = told_to_end() => again,
                }
            } => ended,
        }
    })?;
    tracing::info!("the TaskManager ends");
    // What is left of clients and connections goes with the process.
    std::mem::forget(runtime);
    Ok(())
}

/// A session cluster's JobManager: jobs come by REST. Until SIGTERM or SIGINT.
pub fn job_manager(settings: &Settings) -> Result<()> {
    let config = config::load(settings, Role::JobManager)?;
    let runtime = runtime()?;
    let mut manager = JobManager::listen(&config, millrace_connectors::registry(), runtime.handle())?;
    show_job_manager(&config, &manager, &runtime)?;
    let shutdown = Arc::new(Notify::new());
    let rest = rest::start(&manager, &config, runtime.handle(), shutdown.clone())?;
    manager.start(&rest.advertised, Arc::new(Session))?;
    runtime.block_on(async {
        tokio::select! {
            ended = told_to_end() => ended,
            () = shutdown.notified() => Ok(()),
        }
    })?;
    tracing::info!("the JobManager ends");
    rest.close();
    manager.close(false);
    std::mem::forget(runtime);
    Ok(())
}

/// An application cluster's JobManager: it runs the jobs of a file on the TaskManagers that register.
pub fn standalone_job(arguments: &StandaloneJob) -> Result<()> {
    let mut config = config::load(&arguments.common.settings, Role::JobManager)?;
    if let Some(path) = &arguments.from {
        config.set(options::RESTORE_PATH.key, path);
    }
    if arguments.allow_non_restored_state {
        config.set(options::RESTORE_IGNORES_UNCLAIMED.key, "true");
    }
    if let Some(mode) = &arguments.claim_mode {
        config.set(options::CLAIM_MODE.key, mode);
    }
    let planned = plan::jobs(&plan::read(&arguments.common.file)?, &config, |text| {
        terminal::print(&format!("{text}\n"))
    })?;
    if planned.len() > 1 && (arguments.job_id.is_some() || arguments.from.is_some()) {
        return Err(Error::user(
            "a job id or a checkpoint to start from is for one job, and the file has several",
        )
        .with_hint("put each into a file of its own"));
    }
    let id = match &arguments.job_id {
        Some(id) => Some(id.parse()?),
        None => config
            .get_optional(&options::JOB_ID)?
            .map(|id| id.parse())
            .transpose()?,
    };
    let specs: Vec<JobSpec> = planned
        .into_iter()
        .map(|job| {
            let id = id.unwrap_or_else(|| JobId::from_name(&job.name));
            submission(job, id)
        })
        .collect::<Result<_>>()?;
    if specs.is_empty() {
        return Ok(());
    }
    // The jobs of an application are those of its file.
    config.set(options::WEB_SUBMIT.key, "false");
    let runtime = runtime()?;
    let shutdown = Arc::new(Notify::new());
    let signals = run::signals(&runtime, shutdown.clone())?;
    let mut manager = JobManager::listen(&config, millrace_connectors::registry(), runtime.handle())?;
    show_job_manager(&config, &manager, &runtime)?;
    let application = Arc::new(FileApplication::new(specs));
    let rest = rest::start(&manager, &config, runtime.handle(), shutdown)?;
    manager.start(&rest.advertised, application.clone())?;
    let outcome = application.until_ended(&manager, &signals);
    if outcome.is_ok() {
        words::application_completed();
    }
    rest.close();
    manager.close(matches!(outcome, Ok(End::Application)) || outcome.is_err());
    std::mem::forget(runtime);
    outcome.map(|_| ())
}

/// A planned job as a cluster runs it.
pub fn submission(job: Planned, id: JobId) -> Result<JobSpec> {
    let start = match restore(&job.config)? {
        None => Start::Resume,
        // A JobManager that starts again goes on with what it has.
        Some(restore) => Start::ResumeOrFrom(restore),
    };
    let retention = job.config.get(&options::EXTERNALIZED_CHECKPOINTS)?;
    let discards = match retention.to_ascii_uppercase().as_str() {
        "RETAIN_ON_CANCELLATION" => false,
        "DELETE_ON_CANCELLATION" | "NO_EXTERNALIZED_CHECKPOINTS" => true,
        _ => {
            return Err(Error::user(format!(
                "{} has a wrong value",
                options::EXTERNALIZED_CHECKPOINTS.key
            ))
            .with_detail(retention)
            .with_hint(
                "it takes RETAIN_ON_CANCELLATION, DELETE_ON_CANCELLATION or NO_EXTERNALIZED_CHECKPOINTS",
            ));
        }
    };
    Ok(JobSpec {
        id,
        name: job.name,
        graph: job.graph,
        config: job.config,
        registry: millrace_connectors::registry(),
        start,
        discard: Discard {
            finished: discards,
            cancelled: discards,
        },
    })
}

fn restore(config: &Configuration) -> Result<Option<Restore>> {
    let Some(path) = config.get_optional(&options::RESTORE_PATH)? else {
        return Ok(None);
    };
    let claim = config.get(&options::CLAIM_MODE)?;
    let claim = match claim.to_ascii_uppercase().as_str() {
        "NO_CLAIM" => ClaimMode::NoClaim,
        "CLAIM" => ClaimMode::Claim,
        _ => {
            return Err(
                Error::user(format!("{} has a wrong value", options::CLAIM_MODE.key))
                    .with_detail(claim)
                    .with_hint("it takes NO_CLAIM or CLAIM"),
            );
        }
    };
    Ok(Some(Restore {
        path,
        allow_non_restored_state: config.get(&options::RESTORE_IGNORES_UNCLAIMED)?,
        claim,
    }))
}
