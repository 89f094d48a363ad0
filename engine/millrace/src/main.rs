//! The `millrace` command: its arguments, those of Flink's image, and the wiring of the engine's parts.

mod application;
mod arguments;
mod cluster;
mod config;
mod entrypoint;
mod logging;
mod memory;
mod plan;
mod progress;
mod rest;
mod run;
mod state;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use millrace_core::Result;

use crate::arguments::{Arguments, Command, State};

fn main() -> ExitCode {
    millrace_cluster::metrics::set_allocator(memory::allocated);
    let words: Vec<_> = std::env::args_os().collect();
    if entrypoint::is_meant(words.first().map(|word| word.as_os_str())) {
        return report(entrypoint::run(words));
    }
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::StandaloneJob(job) => cluster::standalone_job(&job),
        Command::JobManager(settings) => cluster::job_manager(&settings),
        Command::TaskManager(settings) => cluster::task_manager(&settings),
        Command::Explain(explain) => run::explain(&explain),
        Command::State(State::Inspect(inspect)) => state::inspect(&inspect),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "millrace", &mut script);
            terminal::print(&String::from_utf8_lossy(&script))
        }
    };
    report(outcome)
}

fn report(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
