//! `millrace taskmanager`, and what a JobManager of one application is made of.

use millrace_cluster::process::TaskManagerProcess;
use millrace_core::{Error, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Settings;
use crate::{config, logging};

/// Until SIGTERM or SIGINT.
pub fn task_manager(settings: &Settings) -> Result<()> {
    logging::init();
    let config = config::load(settings)?;
    let runtime =
        Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))?;
    let process = TaskManagerProcess::new(&config, millrace_connectors::registry(), runtime.handle())?;
    let unheard = |e| Error::external("signals cannot be listened for").with_source(e);
    let listening = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::terminate()).map_err(unheard)?,
            signal(SignalKind::interrupt()).map_err(unheard)?,
        )
    };
    let (mut terminate, mut interrupt) = listening;
    runtime.block_on(async {
        tokio::select! {
            () = process.run() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tracing::info!("the TaskManager ends");
    // What is left of clients and connections goes with the process.
    std::mem::forget(runtime);
    Ok(())
}
