//! Latency: how long a record takes from its sending through an engine to a reader, at a set rate.
//!
//! The load is open-loop: each record carries the time at which it was *due*, so a stall is counted
//! for every record that it delays, also for those that the generator could not send meanwhile.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace_testkit::process::Process;

use crate::client::{Consumer, Producer};
use crate::flink::{Client, Session, Settings};
use crate::lab::{self, Engine, Lab, Run, STOP};
use crate::results::{self, Folder, Latency, LatencyRun};
use crate::stats::{self, Percentiles};
use crate::topic::PARTITIONS;
use crate::{job, message};

/// Until the first record must have come through.
const FIRST: Duration = Duration::from_secs(120);
/// After the measured time, until the last of its records must have come through.
const LAST: Duration = Duration::from_secs(30);

/// `millrace-bench latency`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Messages a second
    #[arg(long, default_value_t = 10_000)]
    pub rate: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Seconds before, after the first record came through
    #[arg(long, default_value_t = 20)]
    pub warm_up: u64,
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
}

/// Measures, and saves the result.
pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    if options.rate == 0 || options.seconds == 0 {
        bail!("a latency needs a rate and a time above 0");
    }
    let mut lab = Lab::open(options.millrace.as_deref())?;
    let mut result = Latency {
        date: results::today(),
        machine: lab.machine.clone(),
        messages_per_second: options.rate,
        warm_up_seconds: options.warm_up,
        seconds: options.seconds,
        runs: Vec::new(),
    };
    let mut session = None;
    if options.engines.contains(&Engine::Flink) {
        session = Some(lab.flink(Settings::DEFAULTS)?);
    }
    for round in 1..=options.rounds {
        println!("latency, round {round} of {}", options.rounds);
        let (run, input) = topics(&mut lab, "kafka")?;
        measured(&mut result, "kafka", measure(&lab, options, &input, &input)?);
        clear(&lab, &run, &input)?;
        for engine in &options.engines {
            let (run, input) = topics(&mut lab, engine.name())?;
            let mut job = match engine {
                Engine::Copy => {
                    bail!("a copy loop commits each second: its latency says nothing")
                }
                Engine::Millrace => {
                    let sql = lab.sql(&run, job::LATENCY, &input, None)?;
                    Job::Millrace(lab.millrace(&run, &sql)?)
                }
                Engine::Flink => {
                    let session = session.as_mut().context("no cluster of Flink was started")?;
                    let sql = lab.sql(&run, job::LATENCY, &input, Some(Settings::DEFAULTS))?;
                    Job::Flink(session.submit(&sql, &run.log())?, session)
                }
            };
            let percentiles = match measure(&lab, options, &input, &run.name) {
                Ok(percentiles) => percentiles,
                Err(error) => return Err(job.explain(error)),
            };
            job.stop()?;
            measured(&mut result, engine.name(), percentiles);
            clear(&lab, &run, &input)?;
        }
    }
    folder.save(results::LATENCY, &result)
}

fn topics(lab: &mut Lab, what: &str) -> Result<(Run, String)> {
    let run = lab.run(&format!("latency-{what}"))?;
    let input = format!("{}-input", run.name);
    lab.create_topic(&input)?;
    Ok((run, input))
}

fn clear(lab: &Lab, run: &Run, input: &str) -> Result<()> {
    lab.kafka()?.delete_topic(input)?;
    lab.clear(run)
}

fn measured(result: &mut Latency, engine: &str, milliseconds: Percentiles) {
    println!(
        "  {engine:<9} p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms",
        milliseconds.p50, milliseconds.p90, milliseconds.p99, milliseconds.p999, milliseconds.max
    );
    result.runs.push(LatencyRun {
        engine: engine.to_owned(),
        milliseconds,
    });
}

/// A job without an end.
enum Job<'a> {
    Millrace(Process),
    Flink(Client, &'a mut Session),
}

impl Job<'_> {
    /// Adds what the job itself says to an error.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        match self {
            Job::Millrace(process) => error.context(format!("millrace run:\n{}", process.log_tail())),
            Job::Flink(client, session) => match client.job() {
                Ok(Some(id)) => error.context(session.failure(id)),
                Ok(None) => error,
                Err(refused) => refused,
            },
        }
    }

    fn stop(&mut self) -> Result<()> {
        match self {
            Job::Millrace(process) => {
                if lab::ended(process, "millrace run")? {
                    bail!("millrace run ended by itself:\n{}", process.log_tail());
                }
                process.stop(STOP)?;
                Ok(())
            }
            Job::Flink(client, session) => {
                let id = client
                    .job()?
                    .context("Flink's SQL client is still at work")?
                    .to_owned();
                session.cancel(&id)
            }
        }
    }
}

fn micros_now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64)
}

/// Sends into one topic and reads the same records from the other.
fn measure(lab: &Lab, options: &Options, input: &str, output: &str) -> Result<Percentiles> {
    let bootstrap = lab.bootstrap()?;
    let from: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut reader = Consumer::new(
        &bootstrap,
        output,
        &from,
        4096,
        &[("isolation.level", "read_uncommitted")],
    )?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(&bootstrap, input, options.rate, &done));
        let latencies = receive(&mut reader, options, || sender.is_finished());
        done.store(true, Ordering::Relaxed);
        match sender.join() {
            Ok(sent) => sent.context("sending")?,
            Err(_) => bail!("the thread that sends has panicked"),
        }
        stats::percentiles(&mut latencies?).context("no record was measured")
    })
}

/// Sends each record when it is due, until told to stop.
fn send(bootstrap: &str, topic: &str, rate: u64, done: &AtomicBool) -> Result<()> {
    // A wait of a millisecond keeps the generator's share of the two cores small; it is part of
    // every engine's latency alike, and of the reader's without an engine.
    let mut producer = Producer::new(bootstrap, topic, &[("acks", "all"), ("linger.ms", "1")])?;
    let (start, epoch_us) = (Instant::now(), micros_now()?);
    let mut next = 0u64;
    let mut due: Vec<Vec<u8>> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let elapsed_us = start.elapsed().as_micros() as u64;
        let until = elapsed_us * rate / 1_000_000;
        due.clear();
        let first = next;
        while next < until {
            due.push(message::timestamped(next, epoch_us + next * 1_000_000 / rate));
            next += 1;
        }
        if !due.is_empty() {
            // The few records of one turn go into one partition; the partitions take turns.
            let partition = (first / 10 % PARTITIONS as u64) as i32;
            producer.write(partition, due.iter().map(Vec::as_slice))?;
        }
        producer.serve(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
    }
    producer.flush()
}

/// Latencies in microseconds of the records that were due in the measured time.
fn receive(reader: &mut Consumer, options: &Options, sender_ended: impl Fn() -> bool) -> Result<Vec<u64>> {
    let expected = options.rate * options.seconds;
    let mut latencies = Vec::with_capacity(expected as usize);
    let mut window: Option<(u64, u64)> = None;
    let begun = Instant::now();
    loop {
        let batch = reader.poll_first(Duration::from_millis(100))?;
        let now = micros_now()?;
        for received in batch.iter() {
            let sent = message::sent_us(received.value())
                .with_context(|| format!("no time in {}", String::from_utf8_lossy(received.value())))?;
            let (from, to) = *window.get_or_insert_with(|| {
                let from = now + options.warm_up * 1_000_000;
                (from, from + options.seconds * 1_000_000)
            });
            if sent >= from && sent < to {
                latencies.push(now.saturating_sub(sent));
            }
        }
        if sender_ended() {
            bail!("nothing is sent any more");
        }
        match window {
            None if begun.elapsed() > FIRST => bail!("no record came through in {} s", FIRST.as_secs()),
            Some(_) if latencies.len() as u64 >= expected => return Ok(latencies),
            Some((_, to)) if now > to + LAST.as_micros() as u64 => {
                bail!("{} of {expected} records came through", latencies.len())
            }
            _ => {}
        }
    }
}
