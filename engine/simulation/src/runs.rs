//! Many simulations, each in a process of its own: what one leaves behind is gone with it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use millrace_cluster::JobSpec;
use tracing::Level;

use crate::faults::{Fault, Phase};
use crate::job::{self, Shape};
use crate::kernel::{self, SECOND};
use crate::logging::Log;
use crate::processes::FOLDER;
use crate::world::{self, BROKERS, Report, Scenario};

/// A simulation that runs for so long by the machine's clock hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// Lines of the log that a failed one shows.
const LINES: usize = 200;

#[derive(Debug, Clone)]
pub struct Options {
    /// At once.
    pub jobs: usize,
    /// Each seed is run twice, and must do the same both times.
    pub twice: bool,
    /// Lines are shown as they are written.
    pub echo: bool,
    pub level: Level,
    /// None after the first that fails.
    pub stop_at_failure: bool,
}

/// What one seed came to, as its process tells it.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub failure: Option<String>,
    pub trace: u64,
    /// In seconds of the simulation, and of the machine.
    pub simulated: f64,
    pub took: Duration,
    pub rows: u64,
    pub swaps: u64,
    pub coverage: BTreeMap<(String, String), u64>,
    /// The end of its log, where it failed.
    pub lines: Vec<String>,
}

/// Jobs as they are planned, before anything is simulated.
pub struct Specs {
    unbounded: JobSpec,
    bounded: JobSpec,
}

impl Specs {
    pub fn plan() -> Result<Specs> {
        let bootstrap = world::bootstrap(BROKERS);
        let plan = |is_bounded| {
            job::plan(&Shape {
                bootstrap: &bootstrap,
                parallelism: 1,
                is_bounded,
                settings: &[],
            })
        };
        Ok(Specs {
            unbounded: plan(false)?,
            bounded: plan(true)?,
        })
    }

    fn of(&self, scenario: &Scenario, folder: &str) -> JobSpec {
        let mut spec = match scenario.is_bounded {
            true => self.bounded.clone(),
            false => self.unbounded.clone(),
        };
        let mut random = kernel::Random::new(scenario.seed).part(8);
        let millis = |duration: Duration| format!("{} ms", duration.as_millis());
        let scheduler = match random.chance(500) {
            true => "adaptive",
            false => "default",
        };
        let settings = [
            ("parallelism.default", scenario.parallelism.to_string()),
            ("execution.checkpointing.dir", FOLDER.to_owned()),
            ("execution.checkpointing.interval", millis(scenario.interval)),
            (
                "execution.checkpointing.timeout",
                format!("{} s", random.range(2..12)),
            ),
            (
                "execution.checkpointing.tolerable-failed-checkpoints",
                random.range(0..4).to_string(),
            ),
            (
                "execution.checkpointing.num-retained",
                random.range(1..3).to_string(),
            ),
            (
                "restart-strategy.exponential-delay.initial-backoff",
                "100 ms".to_owned(),
            ),
            ("restart-strategy.exponential-delay.max-backoff", "1 s".to_owned()),
            ("slot.request.timeout", "20 s".to_owned()),
            ("jobmanager.scheduler", scheduler.to_owned()),
            (
                "jobmanager.adaptive-scheduler.submission.resource-wait-timeout",
                "20 s".to_owned(),
            ),
            (
                "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout",
                "500 ms".to_owned(),
            ),
            (
                "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout",
                "1 s".to_owned(),
            ),
            (
                "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
                "2 s".to_owned(),
            ),
            ("taskmanager.memory.managed.size", "32mb".to_owned()),
            ("millrace.batch.max-rows", random.range(1..20).to_string()),
            ("io.tmp.dirs", folder.to_owned()),
        ];
        for (key, value) in settings {
            spec.config.set(key, value);
        }
        spec
    }
}

/// Runs seeds, and tells of each as it ends.
pub fn run(seeds: &[u64], options: &Options, mut told: impl FnMut(u64, &Told)) -> Result<()> {
    let specs = Specs::plan()?;
    Log::init(options.level);
    let mut waiting: Vec<(u64, Option<u64>)> = seeds.iter().rev().map(|seed| (*seed, None)).collect();
    let mut running: Vec<Child> = Vec::new();
    let mut has_failed = false;
    loop {
        while running.len() < options.jobs
            && !(has_failed && options.stop_at_failure)
            && let Some((seed, before)) = waiting.pop()
        {
            let cpu = (0..options.jobs).find(|cpu| running.iter().all(|child| child.cpu != *cpu));
            running.push(Child::start(seed, before, cpu.unwrap_or(0), &specs, options)?);
        }
        if running.is_empty() {
            return Ok(());
        }
        let index = next_ended(&mut running)?;
        let child = running.remove(index);
        let (seed, before) = (child.seed, child.before);
        let mut outcome = child.end();
        if outcome.failure.is_none() {
            match before {
                None if options.twice => {
                    waiting.push((seed, Some(outcome.trace)));
                    continue;
                }
                Some(before) if before != outcome.trace => {
                    outcome.failure = Some("the same seed did something else the second time".to_owned());
                }
                _ => {}
            }
        }
        has_failed |= outcome.failure.is_some();
        told(seed, &outcome);
    }
}

/// A simulation in its process.
struct Child {
    seed: u64,
    /// The trace of its first run, where this is the second.
    before: Option<u64>,
    cpu: usize,
    pid: libc::pid_t,
    output: OwnedFd,
    heard: Vec<u8>,
    began: Instant,
    is_killed: bool,
}

fn folder_of(pid: libc::pid_t) -> String {
    let root = match fs::metadata("/dev/shm") {
        Ok(_) => "/dev/shm".to_owned(),
        Err(_) => std::env::temp_dir().display().to_string(),
    };
    format!("{root}/millrace-simulation-{pid}")
}

impl Child {
    fn start(seed: u64, before: Option<u64>, cpu: usize, specs: &Specs, options: &Options) -> Result<Child> {
        let mut ends = [0; 2];
        // SAFETY: a place for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            bail!("no pipe: {}", std::io::Error::last_os_error());
        }
        // SAFETY: both are new, and nobody else's.
        let (output, input) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => bail!("no process: {}", std::io::Error::last_os_error()),
            0 => {
                drop(output);
                simulate(seed, cpu, specs, options, fs::File::from(input))
            }
            _ => Ok(Child {
                seed,
                before,
                cpu,
                pid,
                output,
                heard: Vec::new(),
                began: Instant::now(),
                is_killed: false,
            }),
        }
    }

    /// Hears what is there; whether nothing more comes.
    fn hear(&mut self) -> bool {
        use std::os::fd::AsRawFd;
        let mut piece = [0; 1 << 16];
        // SAFETY: the descriptor is ours, and there is so much room.
        let count = unsafe { libc::read(self.output.as_raw_fd(), piece.as_mut_ptr().cast(), piece.len()) };
        match count {
            1.. => {
                self.heard.extend_from_slice(&piece[..count as usize]);
                false
            }
            _ => true,
        }
    }

    fn end(self) -> Told {
        let mut status = 0;
        // SAFETY: a child of ours, which is waited for once.
        unsafe { libc::waitpid(self.pid, &mut status, 0) };
        let _ = fs::remove_dir_all(folder_of(self.pid));
        let mut told = Told::read(&self.heard).unwrap_or_else(|| Told {
            failure: Some(match self.is_killed {
                true => format!("it ran for longer than {} s", LONGEST.as_secs()),
                false => format!("its process ended without a word, with status {status:#x}"),
            }),
            lines: String::from_utf8_lossy(&self.heard)
                .lines()
                .map(str::to_owned)
                .collect(),
            ..Told::default()
        });
        told.took = self.began.elapsed();
        told
    }
}

/// Waits until one has ended; which.
fn next_ended(running: &mut [Child]) -> Result<usize> {
    use std::os::fd::AsRawFd;
    loop {
        let mut polled: Vec<libc::pollfd> = running
            .iter()
            .map(|child| libc::pollfd {
                fd: child.output.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: so many there are.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 1000) };
        if ready < 0 {
            bail!("waiting for simulations: {}", std::io::Error::last_os_error());
        }
        for (index, polled) in polled.iter().enumerate() {
            if polled.revents != 0 && running[index].hear() {
                return Ok(index);
            }
        }
        for child in running.iter_mut() {
            if child.began.elapsed() > LONGEST && !child.is_killed {
                child.is_killed = true;
                // SAFETY: a child of ours that was not waited for.
                unsafe { libc::kill(child.pid, libc::SIGKILL) };
            }
        }
    }
}

/// The child's part. It does not come back.
fn simulate(seed: u64, cpu: usize, specs: &Specs, options: &Options, output: fs::File) -> ! {
    pin(cpu);
    // SAFETY: a number.
    let folder = folder_of(unsafe { libc::getpid() });
    let scenario = Scenario::of(seed);
    let spec = specs.of(&scenario, &folder);
    let settings = kernel::Settings {
        seed,
        pace: scenario.pace,
        lines: LINES,
        echo: options.echo,
        hung,
    };
    OUTPUT.set(output).expect("a process simulates once");
    kernel::run(settings, move || {
        let report = world::run(scenario, spec, folder);
        let lines = match report.failure {
            Some(_) => kernel::lines(),
            None => Vec::new(),
        };
        kernel::steadily(|| tell(&report, &lines));
    });
    leave()
}

static OUTPUT: std::sync::OnceLock<fs::File> = std::sync::OnceLock::new();

fn tell(report: &Report, lines: &[String]) {
    if let Some(mut output) = OUTPUT.get() {
        drop(output.write_all(Told::write(report, lines).as_bytes()));
    }
}

/// Without a word to anybody, for threads stand everywhere.
fn leave() -> ! {
    // SAFETY: it ends the process.
    unsafe { libc::_exit(0) }
}

fn hung(waits: String) {
    let report = Report {
        failure: Some(format!("nothing can happen any more:\n{waits}")),
        ..Report::default()
    };
    tell(&report, &[]);
    leave()
}

/// One at a time runs: on one processor they wake each other soonest.
fn pin(cpu: usize) {
    // SAFETY: a set of our own.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let count = libc::sysconf(libc::_SC_NPROCESSORS_ONLN).max(1) as usize;
        libc::CPU_SET(cpu % count, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

impl Told {
    /// As JSON.
    fn write(report: &Report, lines: &[String]) -> String {
        let coverage: Vec<_> = report
            .coverage
            .iter()
            .map(|((fault, phase), count)| (fault.name(), phase.name(), count))
            .collect();
        serde_json::json!({
            "failure": report.failure,
            "trace": format!("{:016x}", report.trace),
            "simulated": report.time as f64 / SECOND as f64,
            "rows": report.rows,
            "swaps": report.swaps,
            "coverage": coverage,
            "lines": lines,
        })
        .to_string()
    }

    fn read(bytes: &[u8]) -> Option<Told> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let triple = |entry: &serde_json::Value| {
            let name = |i: usize| Some(entry.get(i)?.as_str()?.to_owned());
            Some(((name(0)?, name(1)?), entry.get(2)?.as_u64()?))
        };
        let text = |line: &serde_json::Value| line.as_str().map(str::to_owned);
        Some(Told {
            failure: value.get("failure").and_then(text),
            trace: u64::from_str_radix(value.get("trace")?.as_str()?, 16).ok()?,
            simulated: value.get("simulated")?.as_f64()?,
            took: Duration::ZERO,
            rows: value.get("rows")?.as_u64()?,
            swaps: value.get("swaps")?.as_u64()?,
            coverage: value
                .get("coverage")?
                .as_array()?
                .iter()
                .filter_map(triple)
                .collect(),
            lines: value.get("lines")?.as_array()?.iter().filter_map(text).collect(),
        })
    }
}

/// How often each fault struck in each phase, as a table.
pub fn table(coverage: &BTreeMap<(String, String), u64>) -> String {
    let of = |fault: Fault, phase: Phase| {
        let key = (fault.name().to_owned(), phase.name().to_owned());
        coverage.get(&key).copied().unwrap_or(0)
    };
    let mut text = format!("{:28}", "");
    for phase in Phase::ALL {
        text.push_str(&format!(
            " {:>9.9}",
            phase.name().split(' ').next().unwrap_or_default()
        ));
    }
    text.push('\n');
    for fault in Fault::ALL {
        text.push_str(&format!("{:28}", fault.name()));
        for phase in Phase::ALL {
            text.push_str(&format!(" {:>9}", of(fault, phase)));
        }
        text.push('\n');
    }
    let all = Fault::ALL
        .iter()
        .flat_map(|f| Phase::ALL.iter().map(|p| of(*f, *p)));
    let (met, count) = (all.clone().filter(|n| *n > 0).count(), all.count());
    text.push_str(&format!(
        "{met} of {count} pairs of a fault and a phase were met\n"
    ));
    text
}

/// Seeds of a file, one a line; what follows a `#` is for people.
pub fn seeds_of(path: &str) -> Result<Vec<u64>> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| line.parse().with_context(|| format!("{path}: {line}")))
        .collect()
}
