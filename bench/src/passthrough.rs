//! Pass-through: every record of one topic into another, exactly-once, three ways side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::client::Offsets;
use crate::flink::{self, Session, Settings};
use crate::job::Format;
use crate::lab::{self, Engine, Lab};
use crate::message;
use crate::results::{self, FlinkSettings, FlinkTuning, Folder, Pass, Passthrough, Round, Tried};
use crate::stats;
use crate::topic::{self, PARTITIONS};
use crate::trace::{self, Trace};
use crate::usage::Watch;

/// `parallelism.default` in the jobs' texts.
const PARALLELISM: u32 = 2;
/// Rounds that may be void before the machine is given up.
const MOST_VOID: usize = 10;
const INPUT: &str = "bench-input";

/// `millrace-bench passthrough`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Messages in the input topic: enough for ten seconds of the fastest
    #[arg(long, default_value_t = 30_000_000)]
    pub messages: u64,
    /// Rounds that count
    #[arg(long, default_value_t = 4)]
    pub rounds: usize,
    /// Rounds before, which do not count: compilers and caches get warm
    #[arg(long, default_value_t = 1)]
    pub warm_up: usize,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Format::Json, Format::Raw])]
    pub formats: Vec<Format>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Copy, Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// Flink's settings by name [default: the fastest that `flink-settings` found]
    #[arg(long)]
    pub flink_settings: Option<String>,
    /// A round in which the copy loop stays under so many messages a second is void and repeated
    #[arg(long, default_value_t = 450_000.0)]
    pub floor: f64,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

/// Measures, and saves a file for each format.
pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    let mut lab = Lab::open(options.millrace.as_deref())?;
    fill(&lab, options.messages)?;
    for format in &options.formats {
        let settings = match &options.flink_settings {
            Some(name) => Settings::named(name)?,
            None if options.engines.contains(&Engine::Flink) => best_settings(folder, *format)?,
            None => Settings::DEFAULTS,
        };
        let mut session = None;
        if options.engines.contains(&Engine::Flink) {
            session = Some(lab.flink(settings)?);
        }
        let mut result = Passthrough {
            date: results::today(),
            machine: lab.machine.clone(),
            format: format.name().to_owned(),
            messages: options.messages,
            message_bytes: message::BYTES as u64,
            partitions: PARTITIONS as u32,
            parallelism: PARALLELISM,
            floor: options.floor,
            flink_settings: session.is_some().then(|| record(settings)),
            rounds: Vec::new(),
        };
        let mut bench = Bench {
            lab: &mut lab,
            session: session.as_mut(),
            settings,
            format: *format,
            options,
        };
        for round in 0..options.warm_up {
            println!("{}, warm-up", format.name());
            bench.round(round)?;
        }
        let (mut counted, mut void) = (0, 0);
        while counted < options.rounds {
            println!("{}, round {} of {}", format.name(), counted + 1, options.rounds);
            let round = bench.round(counted + void)?;
            match &round.void {
                Some(reason) => {
                    println!("  void: {reason}");
                    void += 1;
                }
                None => counted += 1,
            }
            result.rounds.push(round);
            if void > MOST_VOID {
                bail!("{void} rounds were void: the machine is too slow or too busy; see --floor");
            }
        }
        let name = match format {
            Format::Json => results::PASSTHROUGH_JSON,
            Format::Raw => results::PASSTHROUGH_RAW,
        };
        folder.save(name, &result)?;
    }
    Ok(())
}

/// `millrace-bench flink-settings`
#[derive(Debug, Args, Clone)]
pub struct TuneOptions {
    /// Messages in the input topic
    #[arg(long, default_value_t = 20_000_000)]
    pub messages: u64,
    /// Passes with each settings that count
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Passes before, which do not count
    #[arg(long, default_value_t = 1)]
    pub warm_up: usize,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Format::Json, Format::Raw])]
    pub formats: Vec<Format>,
    /// The engine's binary, for its version only [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

/// Tries Flink's settings one after another, each on a cluster of its own.
pub fn tune(options: &TuneOptions, folder: &Folder) -> Result<()> {
    let mut lab = Lab::open(options.millrace.as_deref())?;
    fill(&lab, options.messages)?;
    for format in &options.formats {
        let mut tuning = FlinkTuning {
            date: results::today(),
            machine: lab.machine.clone(),
            format: format.name().to_owned(),
            messages: options.messages,
            tried: Vec::new(),
        };
        for settings in flink::ALL {
            let mut session = lab.flink(settings)?;
            let mut passes = Vec::new();
            for round in 0..options.warm_up + options.rounds {
                let counts = round >= options.warm_up;
                println!(
                    "{}, {}, {}",
                    format.name(),
                    settings.name,
                    if counts { "counted" } else { "warm-up" }
                );
                let text = format.passthrough();
                let pass = flink_pass(&mut lab, &mut session, settings, text, options.messages)?;
                print(Engine::Flink, &pass);
                if counts {
                    passes.push(pass);
                }
            }
            tuning.tried.push(Tried {
                settings: record(settings),
                passes,
            });
        }
        folder.save(&results::flink_settings(format.name()), &tuning)?;
    }
    Ok(())
}

/// The fastest that was measured: without a measurement nothing could be called so.
fn best_settings(folder: &Folder, format: Format) -> Result<&'static Settings> {
    let tuning: Option<FlinkTuning> = folder.load(&results::flink_settings(format.name()))?;
    let fastest = tuning.as_ref().and_then(FlinkTuning::fastest).with_context(|| {
        format!(
            "which of Flink's settings are the fastest for {} was not measured: run `bench/run flink-settings`, \
             or name some with --flink-settings",
            format.name()
        )
    })?;
    Settings::named(&fastest.settings.name)
}

pub fn record(settings: &Settings) -> FlinkSettings {
    FlinkSettings {
        name: settings.name.to_owned(),
        options: settings.describe(),
    }
}

pub fn fill(lab: &Lab, messages: u64) -> Result<()> {
    lab.create_topic(INPUT)?;
    println!("writing {messages} messages");
    topic::load(&lab.bootstrap()?, INPUT, messages)
}

struct Bench<'a> {
    lab: &'a mut Lab,
    session: Option<&'a mut Session>,
    settings: &'static Settings,
    format: Format,
    options: &'a Options,
}

impl Bench<'_> {
    /// Each engine once; every round begins with another one.
    fn round(&mut self, number: usize) -> Result<Round> {
        let mut passes = BTreeMap::new();
        let mut order = self.options.engines.clone();
        let shift = number % order.len().max(1);
        order.rotate_left(shift);
        for engine in order {
            let pass = self
                .pass(engine)
                .with_context(|| format!("pass-through of {}", engine.name()))?;
            print(engine, &pass);
            passes.insert(engine.name().to_owned(), pass);
        }
        let copy = passes.get(Engine::Copy.name());
        let void = copy.filter(|pass| pass.rate < self.options.floor).map(|pass| {
            format!(
                "the copy loop made {:.0} messages/s, under {:.0}",
                pass.rate, self.options.floor
            )
        });
        Ok(Round { void, passes })
    }

    fn pass(&mut self, engine: Engine) -> Result<Pass> {
        let messages = self.options.messages;
        match engine {
            Engine::Copy => {
                let run = self.lab.run("copy")?;
                let mut process = self.lab.copy(&run, INPUT)?;
                let mut watch = Watch::new(vec![process.id()]);
                let output = offsets(self.lab, &run)?;
                let trace =
                    trace::follow(&output, &mut watch, |_| lab::ended(&mut process, "the copy loop"))?;
                finish(self.lab, &run, messages, &trace, trace.seconds)
            }
            Engine::Millrace => millrace_pass(self.lab, self.format.passthrough(), messages),
            Engine::Flink => {
                let session = self
                    .session
                    .as_deref_mut()
                    .context("no cluster of Flink was started")?;
                flink_pass(
                    self.lab,
                    session,
                    self.settings,
                    self.format.passthrough(),
                    messages,
                )
            }
        }
    }
}

fn offsets(lab: &Lab, run: &lab::Run) -> Result<Offsets> {
    Offsets::new(&lab.bootstrap()?, &run.name, PARTITIONS)
}

/// A job from the input topic on Millrace, which writes so many records.
pub fn millrace_pass(lab: &mut Lab, text: &str, written: u64) -> Result<Pass> {
    let run = lab.run("millrace")?;
    let sql = lab.sql(&run, text, INPUT, None)?;
    let output = offsets(lab, &run)?;
    let mut process = lab.millrace(&run, &sql)?;
    let mut watch = Watch::new(vec![process.id()]);
    let trace = trace::follow(&output, &mut watch, |_| lab::ended(&mut process, "millrace run"))?;
    finish(lab, &run, written, &trace, trace.seconds)
}

/// A job from the input topic on Apache Flink, which writes so many records.
pub fn flink_pass(
    lab: &mut Lab,
    session: &mut Session,
    settings: &Settings,
    text: &str,
    written: u64,
) -> Result<Pass> {
    let run = lab.run("flink")?;
    let sql = lab.sql(&run, text, INPUT, Some(settings))?;
    session.wait_idle()?;
    let mut watch = Watch::new(session.process_ids());
    watch.reset_peak();
    let output = offsets(lab, &run)?;
    let mut client = session.submit(&sql, &run.log())?;
    let mut seconds = 0.0;
    let mut looks = 0u32;
    let trace = trace::follow(&output, &mut watch, |records| {
        // The JobManager is not to be kept busy with questions.
        looks += 1;
        if records < written && !looks.is_multiple_of(10) {
            return Ok(false);
        }
        let finished = session.finished(&mut client)?;
        seconds = finished.unwrap_or(seconds);
        Ok(finished.is_some())
    })?;
    finish(lab, &run, written, &trace, seconds)
}

/// Checks that the output is complete, and works out the figures.
fn finish(lab: &Lab, run: &lab::Run, written: u64, trace: &Trace, job_seconds: f64) -> Result<Pass> {
    let committed = topic::committed(&lab.bootstrap()?, &run.name, written)?;
    if committed != written {
        bail!("{written} records belong into the output, {committed} were committed to it");
    }
    let Some(steady) = stats::steady(&trace.samples, written) else {
        bail!("{written} records were written too quickly to be timed: take more with --messages");
    };
    lab.clear(run)?;
    Ok(Pass {
        rate: steady.rate,
        cpu_seconds_per_million: steady.cpu_seconds_per_million,
        peak_bytes: trace.peak_bytes,
        steady_seconds: steady.seconds,
        job_seconds,
    })
}

pub fn print(engine: Engine, pass: &Pass) {
    println!(
        "  {:<9} {:>9.0} messages/s  {:>5.2} CPU s/M  {:>6.0} MiB  job {:>5.1} s",
        engine.name(),
        pass.rate,
        pass.cpu_seconds_per_million,
        pass.peak_bytes as f64 / f64::from(1 << 20),
        pass.job_seconds
    );
}
