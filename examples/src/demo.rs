//! A broker, the year's flights replayed into it, `millrace run examples/flights.sql`, and a look
//! at the output. Everything lies in `.run/demo`; a run that was stopped goes on from there.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use millrace_testkit::kafka::{Kafka, Options, Version};
use millrace_testkit::records::{self, Isolation};
use millrace_testkit::{cache, engine, ports, process, signals, wait};

use crate::dataset::Flights;
use crate::replay;

const FOLDER: &str = ".run/demo";
const JOB: &str = "examples/flights.sql";
/// The port in `examples/flights.sql`.
const PORT: u16 = 19_092;
const GROUP: &str = "flights";
const OUTPUT: &str = "delayed";
const SECONDS: u64 = 20;
/// The job's WHERE: a flight is in the output if it left more minutes late than this.
const LATE: i32 = 15;
const ROWS_SHOWN: usize = 8;

pub fn run() -> Result<()> {
    let stop = signals::watch();
    let folder = PathBuf::from(FOLDER);
    let finished = folder.join("finished");
    if finished.exists() {
        fs::remove_dir_all(&folder).context("removing what the finished run left")?;
    }
    fs::create_dir_all(&folder)?;
    let resumed = folder.join("checkpoints").exists();

    let flights = Arc::new(Flights::load(&cache::installed(
        "nycflights13/flights.csv",
        "flights",
    )?)?);
    let mut kafka = start_broker(&folder)?;
    println!(
        "broker   Kafka {} on {}, its data in {FOLDER}/kafka",
        kafka.version().number(),
        kafka.bootstrap()
    );
    let rate = flights.len() as u64 / SECONDS;
    println!(
        "input    {} flights of 2013 in the order of their time, {rate} a second",
        flights.len()
    );
    println!("job      {JOB}: Kafka -> filter, computed columns -> Kafka, exactly-once");
    if resumed {
        println!("resumed  from where the last run was stopped");
    }

    let outcome = drive(&folder, &kafka, &flights, rate, stop);
    if let Ok(Outcome::Finished) = outcome {
        show(&kafka, &flights)?;
        fs::write(&finished, "")?;
    }
    kafka.stop(0)?;
    if let Outcome::Stopped = outcome? {
        println!("stopped with a checkpoint; 'make run' goes on from here");
    }
    Ok(())
}

enum Outcome {
    Finished,
    Stopped,
}

fn start_broker(folder: &Path) -> Result<Kafka> {
    let is_free = TcpListener::bind(("127.0.0.1", PORT)).is_ok();
    let port = if is_free { PORT } else { ports::free()? };
    let options = Options {
        port: Some(port),
        folder: Some(folder.join("kafka")),
        ..Options::default()
    };
    let kafka = Kafka::start(Version::Kafka39, options)?;
    for topic in [replay::TOPIC, OUTPUT] {
        // A stopped run may have left before it had both.
        if records::end_offsets(&kafka.client(), topic, Isolation::ReadUncommitted).is_err() {
            kafka.create_topic(topic, replay::PARTITIONS)?;
        }
    }
    Ok(kafka)
}

/// Replay and engine side by side, until both are done or somebody stops us.
fn drive(
    folder: &Path,
    kafka: &Kafka,
    flights: &Arc<Flights>,
    rate: u64,
    stop: &'static AtomicBool,
) -> Result<Outcome> {
    if stop.load(Ordering::Relaxed) {
        return Ok(Outcome::Stopped);
    }
    let mut job = start_job(folder, kafka)?;
    let client = kafka.client();
    let replay = thread::spawn({
        let (client, flights) = (client.clone(), flights.clone());
        move || replay::run(&client, &flights, rate, stop)
    });
    let result = wait_for_both(&client, &mut job, &replay, stop);
    stop.store(true, Ordering::Relaxed);
    let ended = end_job(&mut job);
    let replayed = replay
        .join()
        .map_err(|_| anyhow::anyhow!("the replay panicked"))?;
    let outcome = result?;
    replayed?;
    ended?;
    Ok(outcome)
}

fn start_job(folder: &Path, kafka: &Kafka) -> Result<Child> {
    let job = job_file(folder, &kafka.bootstrap())?;
    let checkpoints = folder.canonicalize()?.join("checkpoints");
    let mut command = Command::new(engine::binary()?);
    command
        .arg("run")
        .arg(job)
        .args([
            "-D",
            &format!("execution.checkpointing.dir=file://{}", checkpoints.display()),
        ])
        .stdin(Stdio::null());
    process::spawn(command).context("starting millrace")
}

/// The job as it stands, or a copy that names the broker's port if the usual one was taken.
fn job_file(folder: &Path, bootstrap: &str) -> Result<PathBuf> {
    let usual = format!("127.0.0.1:{PORT}");
    if bootstrap == usual {
        return Ok(PathBuf::from(JOB));
    }
    let copy = folder.join("flights.sql");
    fs::write(&copy, fs::read_to_string(JOB)?.replace(&usual, bootstrap))?;
    Ok(copy)
}

fn wait_for_both(
    client: &rdkafka::ClientConfig,
    job: &mut Child,
    replay: &thread::JoinHandle<Result<bool>>,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let mut replayed_at: Option<Instant> = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(Outcome::Stopped);
        }
        if let Some(status) = job.try_wait()? {
            bail!("the engine ended by itself ({status})");
        }
        if replay.is_finished() {
            let since = replayed_at.get_or_insert_with(Instant::now);
            // The group's offsets are committed when a checkpoint is complete: equal to the
            // topic's ends, they say that the output of every record is decided.
            let ends = records::end_offsets(client, replay::TOPIC, Isolation::ReadUncommitted)?;
            if records::committed_offsets(client, GROUP, replay::TOPIC)? == ends {
                return Ok(Outcome::Finished);
            }
            if since.elapsed() > Duration::from_secs(120) {
                bail!("the engine has not caught up two minutes after the end of the input");
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// SIGTERM: the engine stops with a last checkpoint.
fn end_job(job: &mut Child) -> Result<()> {
    if job.try_wait()?.is_none() {
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(job.id() as i32, libc::SIGTERM) };
    }
    let status = wait::until(
        "the engine's end",
        Duration::from_secs(60),
        || Ok(job.try_wait()?),
    );
    match status {
        Ok(status) if status.success() => Ok(()),
        // So early that it did not listen for the signal yet, and had begun nothing.
        Ok(status) if status.signal() == Some(libc::SIGTERM) => Ok(()),
        Ok(status) => bail!("the engine ended with {status}"),
        Err(e) => {
            job.kill()?;
            job.wait()?;
            Err(e)
        }
    }
}

/// Reads the output back as a consumer that sees committed transactions only.
fn show(kafka: &Kafka, flights: &Flights) -> Result<()> {
    let client = kafka.client();
    let mut rows = 0;
    let mut first = Vec::new();
    records::scan(&client, OUTPUT, Isolation::ReadCommitted, |record| {
        rows += 1;
        if first.len() < ROWS_SHOWN {
            first.push(record.text());
        }
    })?;
    let expected = flights
        .events()
        .filter(|e| e.departure_delay.is_some_and(|d| d > LATE))
        .count();
    println!("\noutput   topic {OUTPUT}, read with isolation.level=read_committed:");
    for row in &first {
        println!("  {row}");
    }
    println!("  ...");
    println!(
        "rows     {rows} in the output, {expected} flights of the input left more than {LATE} minutes late"
    );
    if rows != expected {
        bail!("{rows} rows instead of {expected}");
    }
    Ok(())
}
