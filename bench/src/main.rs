//! `millrace-bench`: see `--help`, and bench/run.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use millrace_bench::results::Folder;
use millrace_bench::{checkpoints, copy, kafka_keyed, keyed, keys, latency, passthrough, report, startup};

/// Measures Millrace beside Apache Flink and a bare copy loop, and writes bench/RESULTS.md.
#[derive(Debug, Parser)]
#[command(name = "millrace-bench", version)]
struct Arguments {
    /// Where RESULTS.md and results/ are
    #[arg(long, global = true, default_value = "bench")]
    folder: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, each with its defaults
    All {
        /// See `passthrough`
        #[arg(long)]
        floor: Option<f64>,
    },
    /// From Kafka to Kafka, exactly-once: rate, CPU time, memory
    Passthrough(passthrough::Options),
    /// From sending to reading, at a set rate
    Latency(latency::Options),
    /// Keyed jobs from a generator into nothing
    Keyed(keyed::Options),
    /// Keyed jobs from Kafka to Kafka, exactly-once
    KafkaKeyed(kafka_keyed::Options),
    /// State of up to 20 million keys in a container of 512 MiB
    Keys(keys::Options),
    /// Incremental checkpoints of a state of a gibibyte
    Checkpoints(checkpoints::Options),
    /// From the start of the process to the first record
    Startup(startup::Options),
    /// Finds the fastest of Apache Flink's settings; `passthrough` uses it from then on
    FlinkSettings(passthrough::TuneOptions),
    /// Writes RESULTS.md and the plots again from what was measured
    Report,
    /// The bare copy loop by itself
    #[command(hide = true)]
    Copy(copy::Options),
}

/// The options that a subcommand has when none are given.
#[derive(Debug, Parser)]
struct Defaults<T: clap::Args> {
    #[command(flatten)]
    options: T,
}

fn defaults<T: clap::Args>() -> T {
    Defaults::parse_from(["millrace-bench"]).options
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let results = Folder(arguments.folder.join("results"));
    match arguments.command {
        Command::Copy(options) => return copy::run(&options),
        Command::All { floor } => {
            passthrough::tune(&defaults(), &results)?;
            let mut options: passthrough::Options = defaults();
            options.floor = floor.unwrap_or(options.floor);
            passthrough::run(&options, &results)?;
            latency::run(&defaults(), &results)?;
            startup::run(&defaults(), &results)?;
            keyed::run(&defaults(), &results)?;
            kafka_keyed::run(&defaults(), &results)?;
            keys::run(&defaults(), &results)?;
            checkpoints::run(&defaults(), &results)?;
        }
        Command::Passthrough(options) => passthrough::run(&options, &results)?,
        Command::Latency(options) => latency::run(&options, &results)?,
        Command::Keyed(options) => keyed::run(&options, &results)?,
        Command::KafkaKeyed(options) => kafka_keyed::run(&options, &results)?,
        Command::Keys(options) => keys::run(&options, &results)?,
        Command::Checkpoints(options) => checkpoints::run(&options, &results)?,
        Command::Startup(options) => startup::run(&options, &results)?,
        Command::FlinkSettings(options) => passthrough::tune(&options, &results)?,
        Command::Report => {}
    }
    let target = arguments.folder.join("RESULTS.md");
    report::write(&results, &target)?;
    println!("written: {}", target.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_benchmark_has_defaults() {
        Arguments::command().debug_assert();
        assert_eq!(defaults::<passthrough::Options>().messages, 30_000_000);
        assert_eq!(defaults::<passthrough::TuneOptions>().messages, 20_000_000);
        assert!(defaults::<latency::Options>().seconds >= 30);
        assert!(defaults::<startup::Options>().tries >= 10);
    }
}
