//! Runs simulations by their seeds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use millrace_simulation::runs::{self, Options, Told};
use tracing::Level;

/// A cluster of which every step follows from a seed
#[derive(Parser)]
#[command(name = "simulation")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This one alone, with all that it does
    #[arg(long)]
    seed: Option<u64>,
    /// The seeds of a file first: one a line
    #[arg(long, value_name = "FILE")]
    known: Option<String>,
    /// Prints how often which fault struck in which phase of a checkpoint
    #[arg(long)]
    coverage: bool,
    /// Each seed twice: both runs must be the same, step by step
    #[arg(long)]
    twice: bool,
    /// Sources with bugs in them, by `scripts/planted-bugs`: this one is switched on and must be found
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
    /// So many at once; without it, one a processor
    #[arg(long)]
    jobs: Option<usize>,
    /// The engine's debug messages too
    #[arg(long)]
    debug: bool,
}

/// What switches a planted bug on.
const PLANTED: &str = "MILLRACE_PLANTED";

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(name) = &arguments.planted {
        // SAFETY: there is one thread.
        unsafe { std::env::set_var(PLANTED, name) };
    }
    let mut seeds = match (&arguments.known, arguments.seed) {
        (Some(path), None) => runs::seeds_of(path)?,
        _ => Vec::new(),
    };
    match arguments.seed {
        Some(seed) => seeds.push(seed),
        None => seeds.extend(arguments.from..arguments.from + arguments.seeds),
    }
    let options = Options {
        jobs: arguments
            .jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        twice: arguments.twice,
        echo: arguments.seed.is_some(),
        level: if arguments.debug {
            Level::DEBUG
        } else {
            Level::INFO
        },
        stop_at_failure: arguments.planted.is_some(),
    };
    let began = Instant::now();
    let mut sums = Sums::default();
    runs::run(&seeds, &options, |seed, told| {
        sums.add(seed, told, arguments.planted.is_none())
    })?;
    if arguments.coverage {
        print!("{}", runs::table(&sums.coverage));
    }
    println!(
        "{} seeds, {} failed; {:.0} s simulated in {:.1} s, {} rows, {} head swaps",
        sums.count,
        sums.failed.len(),
        sums.simulated,
        began.elapsed().as_secs_f64(),
        sums.rows,
        sums.swaps,
    );
    match (&arguments.planted, sums.failed.first()) {
        (None, _) => Ok(sums.failed.is_empty()),
        (Some(name), Some((seed, why))) => {
            println!("{name}: found by seed {seed}, the {}th: {why}", sums.count);
            Ok(true)
        }
        (Some(name), None) => bail!("{name}: not found by {} seeds", sums.count),
    }
}

#[derive(Default)]
struct Sums {
    count: usize,
    failed: Vec<(u64, String)>,
    simulated: f64,
    rows: u64,
    swaps: u64,
    longest: Duration,
    coverage: BTreeMap<(String, String), u64>,
}

impl Sums {
    fn add(&mut self, seed: u64, told: &Told, shown: bool) {
        self.count += 1;
        self.simulated += told.simulated;
        self.rows += told.rows;
        self.swaps += told.swaps;
        self.longest = self.longest.max(told.took);
        for (pair, count) in &told.coverage {
            *self.coverage.entry(pair.clone()).or_default() += count;
        }
        let Some(why) = &told.failure else { return };
        self.failed.push((seed, why.clone()));
        if shown {
            for line in &told.lines {
                println!("{line}");
            }
            println!("seed {seed} FAILED: {why}\n    again: simulation --seed {seed}\n");
        }
    }
}
