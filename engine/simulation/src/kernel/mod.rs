//! The machines, in one process: a scheduler of threads, their clocks, and a network.
//!
//! What is simulated calls the C library as ever (the standard library does, so do crossbeam, Tokio and RocksDB), and
//! meets functions of this crate there: to start a thread, to wait on a lock, to ask for the time or for randomness,
//! to talk over a socket. Nothing of it knows, and there is no second way through the code for the simulation's sake.
//!
//! Threads are those of the operating system, of which exactly one runs at any time, until it waits. What it waits for,
//! and everything else that happens, is an *event* at a time of the simulation; when a thread waits, the earliest event
//! comes next, and time jumps to it. How long what takes is drawn from the seed, so all that happens follows from it.
//!
//! Threads belong to *processes*, and those to *hosts*, which have an address, a clock of their own, and links between
//! them. A process that is killed has its threads never run again; its memory stays where it is, unreachable for all
//! others, until the simulation's own process ends. So there is one simulation in a process, ever: who runs many forks.
//!
//! Invariants: the kernel's data is touched by the running thread only; nothing here waits by the machine's own means,
//! but a thread for its turn; a thread of C++ is never stopped while it may hold a lock of the whole process (see
//! `Wait::is_native`).
//!
//! Layout: `threads` processes, threads and whose turn it is, `random` the seed's numbers, `net` hosts and what is on
//! its way between sockets, and the functions of the C library: `calls` threads, time and randomness, `locks` what
//! C++ waits with, `sockets`. `real` are the originals.

mod calls;
mod locks;
mod net;
mod random;
mod real;
mod sockets;
mod threads;

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

pub use net::{Address, Host};
pub use random::Random;
pub use threads::{Clock, Process, steadily};

use net::Net;
use threads::Threads;

/// Nanoseconds since the simulation began.
pub type Time = u64;

pub const MICROSECOND: Time = 1_000;
pub const MILLISECOND: Time = 1_000_000;
pub const SECOND: Time = 1_000_000_000;

/// How slow things are; drawn once a simulation.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A thread whose turn it is waits for so long at most, as a rule.
    pub turn: Time,
    /// In how many of a thousand turns it waits much longer, and up to how long.
    pub slow_turns: u64,
    pub slow_turn: Time,
    /// What is sent is on its way for so long: the least and the most.
    pub way: (Time, Time),
    /// In how many of a thousand chances a thread that could go on makes way for others.
    pub preemptions: u64,
}

struct Kernel {
    now: Time,
    threads: Threads,
    net: Net,
    random: Random,
    /// What `getrandom` gives.
    entropy: Random,
    pace: Pace,
    /// Of all that has happened, in its order.
    trace: u64,
    lines: Lines,
    hung: fn(String),
}

/// What was logged.
struct Lines {
    all: std::collections::VecDeque<String>,
    most: usize,
    /// Shown at once.
    echo: bool,
}

static KERNEL: AtomicPtr<Kernel> = AtomicPtr::new(std::ptr::null_mut());
static IS_OVER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// This thread's number; 0: it is not simulated.
    static ME: Cell<u32> = const { Cell::new(0) };
    /// It is in the kernel, whose own calls of the C library are meant as such.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// It is in the middle of something that has to be whole.
    static STEADY: Cell<bool> = const { Cell::new(false) };
}

/// Whether the C library's functions are the simulation's for this thread, now.
fn is_simulated() -> bool {
    ME.get() != 0 && !INSIDE.get()
}

/// Works on the kernel. Only the running thread may; nothing within may wait.
fn with<T>(work: impl FnOnce(&mut Kernel) -> T) -> T {
    debug_assert!(!INSIDE.get(), "the kernel calls itself");
    let kernel = KERNEL.load(Ordering::Relaxed);
    assert!(!kernel.is_null(), "no simulation runs");
    INSIDE.set(true);
    // SAFETY: it lives for ever, and of all threads only the one that runs comes here; it does not come here twice.
    let outcome = work(unsafe { &mut *kernel });
    INSIDE.set(false);
    outcome
}

/// Settings of a simulation.
pub struct Settings {
    pub seed: u64,
    pub pace: Pace,
    /// Lines of the log that are kept.
    pub lines: usize,
    /// The log is shown as it is written.
    pub echo: bool,
    /// Told what all threads wait for, when nothing more can happen. Must not return.
    pub hung: fn(String),
}

/// Runs `main` as the first process, which has no host and is never killed, and returns when it has. What else runs by
/// then never goes on. Once a process.
pub fn run(settings: Settings, main: impl FnOnce() + Send + 'static) {
    calls::force_link();
    let seed = Random::new(settings.seed);
    let kernel = Kernel {
        now: 0,
        threads: Threads::default(),
        net: Net::default(),
        random: seed.part(1),
        entropy: seed.part(2),
        pace: settings.pace,
        trace: settings.seed,
        lines: Lines {
            all: Default::default(),
            most: settings.lines,
            echo: settings.echo,
        },
        hung: settings.hung,
    };
    let set = KERNEL.swap(Box::into_raw(Box::new(kernel)), Ordering::Relaxed);
    assert!(set.is_null(), "a process simulates once");
    threads::prepare();
    let world = with(|kernel| kernel.threads.add_process("world", None));
    threads::first(world, move || {
        main();
        INSIDE.set(true);
        IS_OVER.store(1, Ordering::Release);
        real::wake(&IS_OVER);
        threads::stand_still();
    });
    while IS_OVER.load(Ordering::Acquire) == 0 {
        real::wait(&IS_OVER, 0);
    }
}

/// The simulation's time, which no process sees.
pub fn now() -> Time {
    with(|kernel| kernel.now)
}

/// Numbers for what is outside of all processes.
pub fn random<T>(draw: impl FnOnce(&mut Random) -> T) -> T {
    with(|kernel| draw(&mut kernel.random))
}

/// A hash of all that has happened so far.
pub fn trace() -> u64 {
    with(|kernel| kernel.trace)
}

/// Mixes something into the hash of what has happened.
pub fn note(what: &[u8]) {
    with(|kernel| kernel.mix(what));
}

/// Writes a line to the log, with the time and who wrote it.
pub fn log(line: &str) {
    if ME.get() == 0 {
        eprintln!("{line}");
        return;
    }
    with(|kernel| {
        let (process, thread) = kernel.threads.names(ME.get());
        let line = format!(
            "{:>12.6} {process}/{thread}: {line}",
            kernel.now as f64 / SECOND as f64
        );
        kernel.mix(line.as_bytes());
        kernel.lines.add(line);
    });
}

/// The lines that were kept.
pub fn lines() -> Vec<String> {
    with(|kernel| kernel.lines.all.iter().cloned().collect())
}

impl Lines {
    fn add(&mut self, line: String) {
        if self.echo {
            eprintln!("{line}");
        }
        if self.all.len() >= self.most {
            self.all.pop_front();
        }
        self.all.push_back(line);
    }
}

impl Kernel {
    fn mix(&mut self, what: &[u8]) {
        for byte in what {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn mix_number(&mut self, number: u64) {
        self.trace = (self.trace ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}
