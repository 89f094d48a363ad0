//! State of many keys in little memory: Millrace and Apache Flink in containers, from 100,000 keys to 20 million,
//! uniform and by Zipf's law.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Cgroup};
use crate::flink::{Confined, Settings};
use crate::job;
use crate::lab::{self, Engine, Lab, Run};
use crate::machine::Machine;
use crate::progress::Log;
use crate::results::{self, Folder};

const JOB: &str = include_str!("../jobs/state/keys.sql");
/// Files of the input: one for each subtask of the sources.
const FILES: u64 = 2;
/// Zipf's exponent.
const EXPONENT: f64 = 0.99;
const EACH: Duration = Duration::from_millis(100);
/// After the last key has been seen for the first time, and before anything is measured.
const SETTLE: f64 = 3.0;
/// Managed memory of Millrace, in its container of 512 MiB.
const MANAGED: &str = "SET 'taskmanager.memory.managed.size' = '160mb';";
const LIMIT: u64 = 512;
/// Seconds after which a run is given up that, as fast as it was in the last of them, would need longer than so many
/// to see each key once.
const GIVEN_UP: f64 = 120.0;
const LAST: f64 = 60.0;
const LONGEST: f64 = 900.0;
/// What Apache Flink is given, MiB, one after the other, until it finishes: until it would go through the whole input
/// within so many seconds.
const FLINK_LIMITS: [u64; 4] = [768, 1024, 1536, 2048];
const FINISHED: f64 = 3600.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    Uniform,
    Zipf,
}

impl Distribution {
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Uniform => "uniform",
            Distribution::Zipf => "Zipf 0.99",
        }
    }
}

/// `millrace-bench keys`
#[derive(Debug, Args, Clone)]
pub struct Options {
    /// Keys of the state
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000, 20_000_000])]
    pub keys: Vec<u64>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Distribution::Uniform, Distribution::Zipf])]
    pub distributions: Vec<Distribution>,
    /// Rows after each key has been there once, at most [default: 384,000,000 for up to 100,000 keys, 192,000,000 for
    /// up to a million, else 24,000,000]
    #[arg(long)]
    pub rows: Option<u64>,
    /// Seconds that are measured, at most
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Millrace, Engine::Flink])]
    pub engines: Vec<Engine>,
    /// The engine's binary [default: beside this program]
    #[arg(long)]
    pub millrace: Option<PathBuf>,
    /// Memory of Millrace's container, MiB
    #[arg(long, default_value_t = LIMIT)]
    pub limit: u64,
    /// Memory that Apache Flink's container has at least, of 768, 1024, 1536 and 2048 MiB
    #[arg(long, default_value_t = FLINK_LIMITS[0])]
    pub flink_limit: u64,
}

/// One engine with one number of keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub engine: String,
    pub keys: u64,
    pub distribution: Distribution,
    /// Rows a second once all keys are there.
    pub rate: f64,
    /// Rows a second until then.
    pub fill_rate: f64,
    pub seconds: f64,
    /// The container's memory, and the most of it that was in use.
    pub limit_mib: u64,
    pub peak_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    pub date: String,
    pub machine: Machine,
    pub points: Vec<Point>,
}

impl Keys {
    pub fn rate(&self, engine: &str, keys: u64, distribution: Distribution) -> Option<f64> {
        let mut points = self.points.iter();
        let point = points.find(|p| p.engine == engine && p.keys == keys && p.distribution == distribution);
        point.map(|p| p.rate)
    }

    /// Instead of the point of the same engine, keys and distribution, if there is one.
    fn replace(&mut self, point: Point) {
        let place = |p: &Point| (p.engine.clone(), p.keys, p.distribution);
        self.points.retain(|p| place(p) != place(&point));
        self.points.push(point);
    }

    /// The memory, in MiB, that an engine needed for no more keys than these: less is too little for them too, as
    /// each key comes once before any distribution shows.
    fn limit_of_fewer(&self, engine: &str, keys: u64) -> u64 {
        let fewer = |p: &&Point| p.engine == engine && p.keys <= keys;
        self.points
            .iter()
            .filter(fewer)
            .map(|p| p.limit_mib)
            .max()
            .unwrap_or(0)
    }
}

pub fn run(options: &Options, folder: &Folder) -> Result<()> {
    cgroup::check()?;
    let mut lab = Lab::without_broker(options.millrace.as_deref())?;
    // The numbers of keys may be measured one after the other.
    let before = folder.load::<Keys>(results::KEYS)?;
    let mut result = Keys {
        date: results::today(),
        machine: lab.machine.clone(),
        points: before.map(|keys| keys.points).unwrap_or_default(),
    };
    for keys in &options.keys {
        for distribution in &options.distributions {
            let input = lab.folder("keys")?;
            let rows = options.rows.unwrap_or(match keys {
                0..=100_000 => 384_000_000,
                0..=1_000_000 => 192_000_000,
                _ => 24_000_000,
            });
            write_input(&input.folder, *keys, *distribution, rows)?;
            for engine in &options.engines {
                let point = match engine {
                    Engine::Copy => continue,
                    Engine::Millrace => millrace(&mut lab, &input.folder, *keys, *distribution, options)?,
                    Engine::Flink => {
                        let at_least = result.limit_of_fewer("flink", *keys).max(options.flink_limit);
                        flink(
                            &mut lab,
                            &input.folder,
                            *keys,
                            *distribution,
                            options,
                            at_least,
                            *keys + rows,
                        )?
                    }
                };
                println!(
                    "{:>10} keys, {:<9} {:<9} {:>10.0} rows/s over {:>4.1} s ({:.0} rows/s before), {} of {} MiB",
                    keys,
                    distribution.name(),
                    point.engine,
                    point.rate,
                    point.seconds,
                    point.fill_rate,
                    point.peak_bytes >> 20,
                    point.limit_mib
                );
                result.replace(point);
            }
            std::fs::remove_dir_all(&input.folder)?;
            folder.save(results::KEYS, &result)?;
        }
    }
    Ok(())
}

/// Files with each key once, in an order that has nothing to do with the keys', and then rows by the
/// distribution.
pub fn write_input(folder: &Path, keys: u64, distribution: Distribution, rows: u64) -> Result<()> {
    let mut files = (0..FILES)
        .map(|number| {
            let file = File::create(folder.join(format!("part-{number}.csv")))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        })
        .collect::<Result<Vec<_>>>()?;
    let step = coprime(keys);
    let mut random = Random(keys ^ 0x9e37_79b9_7f4a_7c15);
    let zipf = Zipf::new(keys, EXPONENT);
    for row in 0..keys + rows {
        let key = match distribution {
            _ if row < keys => scatter(row, step, keys),
            Distribution::Uniform => ((u128::from(random.next()) * u128::from(keys)) >> 64) as u64,
            // The most frequent keys are not neighbours.
            Distribution::Zipf => scatter(zipf.rank(random.unit()), step, keys),
        };
        writeln!(files[(row % FILES) as usize], "{key}")?;
    }
    for mut file in files {
        file.flush()?;
    }
    Ok(())
}

/// A permutation of the numbers below `keys`.
fn scatter(row: u64, step: u64, keys: u64) -> u64 {
    (u128::from(row) * u128::from(step) % u128::from(keys)) as u64
}

/// A number that has no divisor in common with `keys`, about 0.618 of it.
fn coprime(keys: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let first = (keys as f64 * 0.618_033_988_75) as u64;
    (first.max(1)..).find(|n| gcd(*n, keys) == 1).unwrap_or(1)
}

/// SplitMix64: the same rows in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Zipf's law as YCSB draws from it (Gray et al., SIGMOD 1994): exact for the two most frequent ranks, an
/// approximation by a power law for the others.
struct Zipf {
    keys: f64,
    zeta: f64,
    exponent: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    fn new(keys: u64, exponent: f64) -> Zipf {
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-exponent)).sum::<f64>();
        let all = zeta(keys);
        let n = keys as f64;
        Zipf {
            keys: n,
            zeta: all,
            exponent,
            alpha: 1.0 / (1.0 - exponent),
            eta: (1.0 - (2.0 / n).powf(1.0 - exponent)) / (1.0 - zeta(2) / all),
        }
    }

    /// From 0, the most frequent.
    fn rank(&self, unit: f64) -> u64 {
        let at = unit * self.zeta;
        if at < 1.0 {
            return 0;
        }
        if at < 1.0 + 0.5f64.powf(self.exponent) {
            return 1;
        }
        let rank = self.keys * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.keys as u64 - 1)
    }
}

fn write_sql(run: &Run, input: &Path, settings: &str) -> Result<PathBuf> {
    let checkpoints = format!("file://{}", run.folder.join("checkpoints").display());
    let input = format!("file://{}", input.display());
    let values = [
        ("${name}", run.name.as_str()),
        ("${checkpoints}", &checkpoints),
        ("${input}", &input),
        ("${settings}", settings),
    ];
    let path = run.folder.join("job.sql");
    std::fs::write(&path, job::fill(JOB, &values)?)?;
    Ok(path)
}

/// When how many rows had been read.
#[derive(Default)]
struct Curve(Vec<(f64, u64)>);

impl Curve {
    /// The steady part: from some time after `keys` rows on. None while it is too short.
    fn steady(&self, keys: u64, seconds: f64) -> Option<Steady> {
        let filled = self.0.iter().find(|(_, rows)| *rows >= keys)?;
        let first = self.0.iter().find(|(at, _)| *at >= filled.0 + SETTLE)?;
        let last = self.0.iter().rfind(|(at, _)| *at <= first.0 + seconds)?;
        let length = last.0 - first.0;
        (length > 0.0).then(|| Steady {
            rate: (last.1 - first.1) as f64 / length,
            seconds: length,
            fill_rate: filled.1 as f64 / filled.0,
        })
    }

    /// When all keys will have been seen, if it goes on as it did last. None once they have been seen, and as long as
    /// it is too early to tell.
    fn seconds_to(&self, keys: u64) -> Option<f64> {
        let (now, rows) = *self.0.last()?;
        if now <= GIVEN_UP || rows >= keys {
            return None;
        }
        let before = self.0.iter().rfind(|(at, _)| *at <= now - LAST)?;
        let rate = (rows - before.1) as f64 / (now - before.0);
        Some(now + (keys - rows) as f64 / rate)
    }

    fn is_long_enough(&self, keys: u64, seconds: f64) -> bool {
        let end = self.0.last().map_or(0.0, |last| last.0);
        let filled = self.0.iter().find(|(_, rows)| *rows >= keys);
        filled.is_some_and(|filled| end >= filled.0 + SETTLE + seconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Steady {
    rate: f64,
    seconds: f64,
    fill_rate: f64,
}

fn point(engine: Engine, keys: u64, distribution: Distribution, steady: Option<Steady>) -> Result<Point> {
    let steady = steady.with_context(|| {
        format!(
            "{} went through {keys} keys too quickly to be timed: take more with --rows",
            engine.name()
        )
    })?;
    Ok(Point {
        engine: engine.name().to_owned(),
        keys,
        distribution,
        rate: steady.rate,
        fill_rate: steady.fill_rate,
        seconds: steady.seconds,
        limit_mib: 0,
        peak_bytes: 0,
    })
}

fn millrace(
    lab: &mut Lab,
    input: &Path,
    keys: u64,
    distribution: Distribution,
    options: &Options,
) -> Result<Point> {
    let run = lab.folder("millrace-keys")?;
    let sql = write_sql(&run, input, MANAGED)?;
    let group = Cgroup::new("millrace-bench-millrace", options.limit << 20)?;
    let start = Instant::now();
    let mut process = lab.talkative_millrace(&run, &sql, Some(&group))?;
    let mut log = Log::new(&run.log());
    let mut curve = Curve::default();
    while !curve.is_long_enough(keys, options.seconds) {
        if lab::ended(&mut process, "millrace run")? {
            break;
        }
        let rows = log.look()?.last().map(|completed| completed.source_rows);
        curve
            .0
            .extend(rows.map(|rows| (start.elapsed().as_secs_f64(), rows)));
        thread::sleep(EACH);
    }
    let peak_bytes = group.peak();
    process.kill()?;
    std::fs::remove_dir_all(&run.folder)?;
    Ok(Point {
        limit_mib: options.limit,
        peak_bytes,
        ..point(
            Engine::Millrace,
            keys,
            distribution,
            curve.steady(keys, options.seconds),
        )?
    })
}

fn flink(
    lab: &mut Lab,
    input: &Path,
    keys: u64,
    distribution: Distribution,
    options: &Options,
    at_least: u64,
    rows: u64,
) -> Result<Point> {
    let mut failure = None;
    let last = FLINK_LIMITS[FLINK_LIMITS.len() - 1];
    for mib in FLINK_LIMITS.into_iter().filter(|mib| *mib >= at_least) {
        match flink_within(lab, input, keys, distribution, options, mib) {
            Ok(point) => {
                let seconds = rows as f64 / point.rate;
                if seconds <= FINISHED || mib == last {
                    return Ok(point);
                }
                println!(
                    "Apache Flink does not finish in {mib} MiB: at {:.0} rows/s it would take {seconds:.0} s",
                    point.rate
                );
            }
            Err(error) => {
                println!("Apache Flink does not finish in {mib} MiB: {error:#}");
                failure = Some(error);
            }
        }
    }
    Err(failure.context("no limit was tried")?)
}

fn flink_within(
    lab: &mut Lab,
    input: &Path,
    keys: u64,
    distribution: Distribution,
    options: &Options,
    mib: u64,
) -> Result<Point> {
    let run = lab.folder("flink-keys")?;
    let sql = write_sql(&run, input, "")?;
    let confined = Confined::new(mib)?;
    let session = lab.confined_flink(Settings::CONFINED, &confined)?;
    let mut client = session.submit(&sql, &run.log())?;
    let mut start: Option<Instant> = None;
    let mut curve = Curve::default();
    while !curve.is_long_enough(keys, options.seconds) {
        thread::sleep(EACH * 2);
        if session.finished(&mut client)?.is_some() {
            break;
        }
        let Some(id) = client.job()? else { continue };
        let start = start.get_or_insert_with(Instant::now);
        let rows = session.source_rows(id)?;
        let seconds = start.elapsed().as_secs_f64();
        curve.0.push((seconds, rows));
        // It is not waited for what would take a quarter of an hour.
        if curve.seconds_to(keys).is_some_and(|end| end > LONGEST) {
            bail!("{rows} rows within {seconds:.0} s");
        }
    }
    let peak_bytes = confined.group.peak();
    drop(session);
    std::fs::remove_dir_all(&run.folder)?;
    Ok(Point {
        limit_mib: mib,
        peak_bytes,
        ..point(
            Engine::Flink,
            keys,
            distribution,
            curve.steady(keys, options.seconds),
        )?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_there_once_before_any_comes_again() {
        let scratch = millrace_testkit::scratch::Scratch::new("keys").unwrap();
        let folder = scratch.join("in");
        std::fs::create_dir_all(&folder).unwrap();
        write_input(&folder, 1000, Distribution::Zipf, 50).unwrap();
        let mut seen = vec![0; 1000];
        for number in 0..FILES {
            let text = std::fs::read_to_string(folder.join(format!("part-{number}.csv"))).unwrap();
            for line in text.lines().take(1000 / FILES as usize) {
                seen[line.parse::<usize>().unwrap()] += 1;
            }
            assert_eq!(text.lines().count(), 525);
        }
        assert!(seen.iter().all(|n| *n == 1));
    }

    #[test]
    fn the_most_frequent_keys_by_zipf_are_as_frequent_as_the_law_says() {
        let zipf = Zipf::new(100_000, EXPONENT);
        let mut random = Random(7);
        let mut counts = vec![0u32; 100_000];
        let draws = 1_000_000;
        for _ in 0..draws {
            counts[zipf.rank(random.unit()) as usize] += 1;
        }
        for rank in [0, 1] {
            let expected = ((rank + 1) as f64).powf(-EXPONENT) / zipf.zeta * f64::from(draws);
            let seen = f64::from(counts[rank]);
            assert!(
                (seen / expected - 1.0).abs() < 0.05,
                "{rank}: {seen}, not {expected}"
            );
        }
        let tail: u32 = counts[1000..].iter().sum();
        assert!(tail > draws as u32 / 4 && tail < draws as u32 / 2, "{tail}");
    }

    #[test]
    fn the_steady_part_begins_when_all_keys_are_there() {
        let curve = Curve(vec![(1.0, 50), (2.0, 100), (5.0, 160), (7.0, 200), (9.0, 240)]);
        let steady = curve.steady(100, 2.5).unwrap();
        assert_eq!(steady.rate, 20.0);
        assert_eq!(steady.seconds, 2.0);
        assert_eq!(steady.fill_rate, 50.0);
        assert!(curve.steady(1000, 2.5).is_none());
        assert!(curve.is_long_enough(100, 4.0) && !curve.is_long_enough(100, 4.5));
    }

    #[test]
    fn the_end_is_told_from_the_last_minute() {
        let early = Curve(vec![(1.0, 50), (100.0, 100)]);
        assert_eq!(early.seconds_to(1000), None);
        let slower = Curve(vec![(1.0, 500), (100.0, 600), (160.0, 660)]);
        assert_eq!(slower.seconds_to(1000), Some(500.0));
        assert_eq!(slower.seconds_to(660), None);
        let stuck = Curve(vec![(100.0, 600), (160.0, 600)]);
        assert_eq!(stuck.seconds_to(1000), Some(f64::INFINITY));
    }
}
