//! `millrace state`.

use millrace_cluster::state_folder;
use millrace_core::{Error, Result};
use millrace_state::inspect::inspect as look_into;
use millrace_state::job::find_checkpoint;
use millrace_state::keyed::RunFolder;
use tokio::runtime::Runtime;

use crate::arguments::Inspect;
use crate::logging::Role;
use crate::{config, terminal};

pub fn inspect(arguments: &Inspect) -> Result<()> {
    let config = config::load(&arguments.settings, Role::Command)?;
    let runtime =
        Runtime::new().map_err(|e| Error::external("the I/O threads could not be started").with_source(e))?;
    let (store, metadata) = find_checkpoint(&arguments.path, &config, runtime.handle())?;
    let scratch = RunFolder::create(&state_folder(&config)?)?;
    let inspection = look_into(store.as_ref(), &metadata, scratch.path())?;
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&inspection)
            .map_err(|e| Error::internal("the inspection does not become JSON").with_source(e))?,
        false => inspection.to_string().trim_end().to_owned(),
    };
    terminal::print(&format!("{text}\n"))
}
