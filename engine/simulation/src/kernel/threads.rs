//! Processes and threads: whose turn it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{pthread_attr_t, pthread_key_t, pthread_t};

use super::net::{Delivery, Host};
use super::{INSIDE, Kernel, ME, MICROSECOND, STEADY, Time, is_simulated, real, with};

/// A process, by its number. A program that is started again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

/// What a thread waits for, by an address or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Its turn only.
    Turn,
    Sleep,
    Futex(usize),
    Mutex(usize),
    Condition(usize),
    Lock(usize),
    Join(u32),
    Readable(u32),
    Writable(u32),
    Poll(u32),
}

impl Wait {
    /// Waits of C++, which may be in the middle of something that all processes share (RocksDB has its threads in
    /// common): those go on though their process is killed or frozen, up to the next wait of another kind.
    fn is_native(self) -> bool {
        matches!(self, Wait::Mutex(_) | Wait::Condition(_) | Wait::Lock(_))
    }
}

struct Thread {
    process: Process,
    name: String,
    native: pthread_t,
    /// 1: it is its turn.
    turn: &'static AtomicU32,
    /// Counts its waits: an event of an earlier one says nothing.
    wait: u64,
    waits_for: Option<Wait>,
    woken: bool,
    finished: bool,
}

struct OfProcess {
    name: String,
    host: Option<Host>,
    alive: bool,
    frozen_until: Time,
    clock: Clock,
}

/// What a process takes the time for.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Nanoseconds since 1970 at the simulation's beginning.
    pub began: i64,
    /// How many nanoseconds it is fast a second.
    pub drift: i64,
}

/// 2023-11-14, to the day.
const BEGINNING: i64 = 1_700_000_000 * 1_000_000_000;
/// What machines' clocks count that are not of the day: since they were started.
const UPTIME: i64 = 1_000_000_000_000;

impl Default for Clock {
    fn default() -> Self {
        Clock {
            began: BEGINNING,
            drift: 0,
        }
    }
}

impl Clock {
    fn passed(self, time: Time) -> i64 {
        let time = i128::from(time);
        (time + time * i128::from(self.drift) / 1_000_000_000) as i64
    }

    /// Nanoseconds since 1970.
    pub fn of_day(self, time: Time) -> i64 {
        self.began + self.passed(time)
    }

    pub fn since_start(self, time: Time) -> i64 {
        UPTIME + self.passed(time)
    }

    /// When so many nanoseconds will have passed by this clock.
    pub fn after(self, time: Time, nanos: i64) -> Time {
        let nanos = i128::from(nanos.max(0));
        let real = nanos - nanos * i128::from(self.drift) / (1_000_000_000 + i128::from(self.drift));
        time.saturating_add(real.clamp(0, i128::from(u64::MAX / 2)) as u64)
    }
}

/// What happens at a time.
enum Event {
    Run { thread: u32, wait: u64 },
    Deliver(Delivery),
}

struct At {
    time: Time,
    /// Of two at one time, the one that was planned first.
    number: u64,
    event: Event,
}

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.number) == (other.time, other.number)
    }
}

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

#[derive(Default)]
pub struct Threads {
    /// By number less one.
    all: Vec<Thread>,
    processes: Vec<OfProcess>,
    waiting: BTreeMap<Wait, VecDeque<u32>>,
    events: BinaryHeap<Reverse<At>>,
    planned: u64,
    /// Of the thread that is started next.
    next_process: Option<Process>,
    by_native: BTreeMap<pthread_t, u32>,
}

impl Threads {
    fn thread(&mut self, number: u32) -> &mut Thread {
        &mut self.all[number as usize - 1]
    }

    pub fn add_process(&mut self, name: &str, host: Option<Host>) -> Process {
        self.processes.push(OfProcess {
            name: name.to_owned(),
            host,
            alive: true,
            frozen_until: 0,
            clock: Clock::default(),
        });
        Process(self.processes.len() as u32 - 1)
    }

    pub fn names(&self, thread: u32) -> (&str, &str) {
        let thread = &self.all[thread as usize - 1];
        (&self.processes[thread.process.0 as usize].name, &thread.name)
    }

    fn of(&self, process: Process) -> &OfProcess {
        &self.processes[process.0 as usize]
    }

    pub fn host_of(&self, process: Process) -> Option<Host> {
        self.of(process).host
    }

    fn plan(&mut self, time: Time, event: Event) {
        self.planned += 1;
        let number = self.planned;
        self.events.push(Reverse(At { time, number, event }));
    }

    fn stop_waiting(&mut self, thread: u32) {
        if let Some(wait) = self.thread(thread).waits_for
            && let Some(queue) = self.waiting.get_mut(&wait)
        {
            queue.retain(|waiting| *waiting != thread);
            if queue.is_empty() {
                self.waiting.remove(&wait);
            }
        }
    }

    /// What every thread of a process that lives waits for.
    fn describe(&self) -> String {
        let mut lines = Vec::new();
        for thread in self.all.iter().filter(|t| !t.finished) {
            let process = self.of(thread.process);
            if process.alive {
                lines.push(format!(
                    "{}/{}: {:?}",
                    process.name, thread.name, thread.waits_for
                ));
            }
        }
        lines.join("\n")
    }
}

impl Kernel {
    /// The running thread's process.
    pub fn current(&self) -> Process {
        self.threads.all[ME.get() as usize - 1].process
    }

    pub fn clock(&self) -> Clock {
        self.threads.of(self.current()).clock
    }

    pub fn deliver_at(&mut self, time: Time, delivery: Delivery) {
        self.threads.plan(time, Event::Deliver(delivery));
    }

    /// How long it takes until a thread that could run does.
    fn turn_in(&mut self) -> Time {
        let pace = self.pace;
        match self.random.chance(pace.slow_turns) {
            true => self.random.skewed(pace.slow_turn),
            false => self.random.range(0..pace.turn.max(1)),
        }
    }

    /// Lets up to so many of those that wait for this go on; how many there were.
    pub fn wake(&mut self, wait: Wait, most: usize) -> usize {
        let mut woken = 0;
        while woken < most
            && let Some(queue) = self.threads.waiting.get_mut(&wait)
        {
            let Some(thread) = queue.pop_front() else { break };
            if queue.is_empty() {
                self.threads.waiting.remove(&wait);
            }
            let time = self.now + self.turn_in();
            let waiting = self.threads.thread(thread);
            waiting.woken = true;
            waiting.waits_for = None;
            let wait = waiting.wait;
            self.threads.plan(time, Event::Run { thread, wait });
            woken += 1;
        }
        woken
    }

    fn begin_wait(&mut self, wait: Wait, until: Option<Time>) {
        let me = ME.get();
        let thread = self.threads.thread(me);
        thread.woken = false;
        thread.waits_for = Some(wait);
        let number = thread.wait;
        self.threads.waiting.entry(wait).or_default().push_back(me);
        if let Some(until) = until {
            let event = Event::Run {
                thread: me,
                wait: number,
            };
            self.threads.plan(until, event);
        }
    }

    /// Goes on to the next event of a thread that can run; which one.
    fn next_thread(&mut self) -> u32 {
        loop {
            let Some(Reverse(At { time, event, .. })) = self.threads.events.pop() else {
                let waits = self.threads.describe();
                (self.hung)(waits);
                unreachable!("a simulation that hangs is over");
            };
            self.now = self.now.max(time);
            let (thread, wait) = match event {
                Event::Deliver(delivery) => {
                    self.deliver(delivery);
                    continue;
                }
                Event::Run { thread, wait } => (thread, wait),
            };
            let Thread {
                process,
                wait: current,
                waits_for,
                finished,
                ..
            } = *self.threads.thread(thread);
            if finished || wait != current {
                continue;
            }
            let OfProcess {
                alive, frozen_until, ..
            } = *self.threads.of(process);
            let goes_on = waits_for.is_some_and(Wait::is_native);
            if !alive && !goes_on {
                continue;
            }
            if frozen_until > self.now && !goes_on {
                let thaw = frozen_until + self.turn_in();
                self.threads.plan(thaw, Event::Run { thread, wait });
                continue;
            }
            self.threads.stop_waiting(thread);
            let next = self.threads.thread(thread);
            next.wait += 1;
            next.waits_for = None;
            self.now += MICROSECOND;
            self.mix_number(self.now ^ (u64::from(thread) << 48));
            return thread;
        }
    }

    fn kill(&mut self, process: Process) {
        if !self.threads.of(process).alive {
            return;
        }
        self.threads.processes[process.0 as usize].alive = false;
        let threads = &self.threads;
        let dead: Vec<u32> = (1..=threads.all.len() as u32)
            .filter(|n| threads.all[*n as usize - 1].process == process)
            .collect();
        for thread in dead {
            let waits_for = self.threads.thread(thread).waits_for;
            if !waits_for.is_some_and(Wait::is_native) {
                self.threads.stop_waiting(thread);
            }
        }
        self.close_all(process);
    }
}

/// Waits, until woken or until a time; whether it was woken. A thread of a process that was killed does not come back.
pub fn wait(wait: Wait, until: Option<Time>) -> bool {
    if !wait.is_native() {
        check_alive();
    }
    let next = with(|kernel| {
        kernel.begin_wait(wait, until);
        kernel.next_thread()
    });
    hand_over(next);
    with(|kernel| kernel.threads.thread(ME.get()).woken)
}

/// A chance for others.
pub fn may_be_preempted() {
    if STEADY.get() {
        return;
    }
    check_alive();
    if with(|kernel| kernel.random.chance(kernel.pace.preemptions)) {
        make_way();
    }
}

/// Lets others go first whose turn is no later.
pub fn make_way() {
    let until = with(|kernel| kernel.now + kernel.turn_in());
    wait(Wait::Turn, Some(until));
}

/// Does something in one piece, which nothing comes in between, not even the end of the process: what processes share
/// that do not share it in truth (the model of an outside system) is locked only so.
pub fn steadily<T>(work: impl FnOnce() -> T) -> T {
    let was = STEADY.replace(true);
    let outcome = work();
    STEADY.set(was);
    outcome
}

/// A killed process's thread ends here.
pub fn check_alive() {
    if STEADY.get() {
        return;
    }
    let (alive, frozen) = with(|kernel| {
        let process = kernel.threads.of(kernel.current());
        (process.alive, process.frozen_until)
    });
    if !alive {
        leave();
    }
    if frozen > now() {
        let next = with(|kernel| {
            kernel.begin_wait(Wait::Turn, Some(frozen));
            kernel.next_thread()
        });
        hand_over(next);
    }
}

fn now() -> Time {
    with(|kernel| kernel.now)
}

/// Gives the turn to another thread, and waits for the next one of its own.
fn hand_over(next: u32) {
    let me = ME.get();
    if next == me {
        return;
    }
    let (mine, theirs) = with(|kernel| (kernel.threads.thread(me).turn, kernel.threads.thread(next).turn));
    give(theirs);
    await_turn(mine);
}

fn give(turn: &AtomicU32) {
    turn.store(1, Ordering::Release);
    real::wake(turn);
}

fn await_turn(turn: &AtomicU32) {
    while turn.swap(0, Ordering::Acquire) == 0 {
        real::wait(turn, 0);
    }
}

/// The running thread never runs again.
fn leave() -> ! {
    let next = with(|kernel| {
        let next = kernel.next_thread();
        kernel.threads.thread(next).turn
    });
    give(next);
    stand_still()
}

/// Without giving the turn away.
pub fn stand_still() -> ! {
    let never = AtomicU32::new(0);
    loop {
        real::wait(&never, 0);
    }
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// What a new thread is started with.
struct Born {
    number: u32,
    turn: &'static AtomicU32,
    start: Start,
    argument: *mut c_void,
}

/// Called when a thread has ended, behind the destructors of its variables.
static END: AtomicU32 = AtomicU32::new(u32::MAX);

/// Rounds of destructors that the C library runs, less one: others' come first.
const ROUNDS: usize = 3;

pub fn prepare() {
    let mut key: pthread_key_t = 0;
    // SAFETY: a place for the key, and a function of the right type.
    let made = unsafe { libc::pthread_key_create(&mut key, Some(end)) };
    assert_eq!(made, 0, "no key for threads");
    END.store(key, Ordering::Relaxed);
}

/// `left` are the rounds of destructors that are left, as an address.
unsafe extern "C" fn end(left: *mut c_void) {
    let left = left as usize;
    if left > 1 {
        // SAFETY: the key was made.
        unsafe { libc::pthread_setspecific(END.load(Ordering::Relaxed), (left - 1) as *const c_void) };
        return;
    }
    let me = ME.get();
    let next = with(|kernel| {
        let thread = kernel.threads.thread(me);
        thread.finished = true;
        kernel.wake(Wait::Join(me), usize::MAX);
        let next = kernel.next_thread();
        kernel.threads.thread(next).turn
    });
    ME.set(0);
    give(next);
}

extern "C" fn trampoline(born: *mut c_void) -> *mut c_void {
    // SAFETY: what `start` has leaked for this one thread.
    let born = unsafe { Box::from_raw(born.cast::<Born>()) };
    let Born {
        number,
        turn,
        start,
        argument,
    } = *born;
    ME.set(number);
    INSIDE.set(true);
    // SAFETY: the key was made; the value is a number.
    unsafe { libc::pthread_setspecific(END.load(Ordering::Relaxed), ROUNDS as *const c_void) };
    await_turn(turn);
    INSIDE.set(false);
    start(argument)
}

/// Starts a thread. Those of C++ (the ones without attributes) are nobody's and outlive every process: RocksDB's are
/// shared by all of its stores.
pub fn start(
    native: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> i32 {
    let turn: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let number = with(|kernel| {
        let process = match (kernel.threads.next_process.take(), attributes.is_null()) {
            (Some(process), _) => process,
            (None, true) => Process(0),
            (None, false) => kernel.current(),
        };
        kernel.threads.all.push(Thread {
            process,
            name: String::new(),
            native: 0,
            turn,
            wait: 0,
            waits_for: Some(Wait::Turn),
            woken: false,
            finished: false,
        });
        kernel.threads.all.len() as u32
    });
    let born = Box::into_raw(Box::new(Born {
        number,
        turn,
        start,
        argument,
    }));
    // SAFETY: as the caller has called it; `trampoline` takes what `born` is.
    let outcome = unsafe { real::PTHREAD_CREATE.get()(native, attributes, trampoline, born.cast()) };
    with(|kernel| {
        if outcome != 0 {
            kernel.threads.thread(number).finished = true;
            return;
        }
        // SAFETY: the call has filled it in.
        let native = unsafe { *native };
        kernel.threads.thread(number).native = native;
        kernel.threads.by_native.insert(native, number);
        let time = kernel.now + kernel.turn_in();
        kernel.threads.plan(
            time,
            Event::Run {
                thread: number,
                wait: 0,
            },
        );
    });
    outcome
}

/// The first thread of all, which begins at once.
pub fn first(process: Process, main: impl FnOnce() + Send + 'static) {
    let kernel = super::KERNEL.load(Ordering::Relaxed);
    // SAFETY: nothing runs yet.
    let threads = unsafe { &mut (*kernel).threads };
    let turn: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(1)));
    threads.all.push(Thread {
        process,
        name: "main".to_owned(),
        native: 0,
        turn,
        wait: 1,
        waits_for: None,
        woken: false,
        finished: false,
    });
    extern "C" fn begin(main: *mut c_void) -> *mut c_void {
        // SAFETY: what was leaked below.
        let main = unsafe { Box::from_raw(main.cast::<Box<dyn FnOnce() + Send>>()) };
        main();
        ptr::null_mut()
    }
    let main: Box<Box<dyn FnOnce() + Send>> = Box::new(Box::new(main));
    let born = Box::into_raw(Box::new(Born {
        number: 1,
        turn,
        start: begin,
        argument: Box::into_raw(main).cast(),
    }));
    let mut native: pthread_t = 0;
    // SAFETY: a place for the thread, no attributes, and what `trampoline` takes.
    let outcome = unsafe { real::PTHREAD_CREATE.get()(&mut native, ptr::null(), trampoline, born.cast()) };
    assert_eq!(outcome, 0, "no thread could be started");
}

/// Waits for a thread's end, so that to join it takes no time.
pub fn await_end(native: pthread_t) {
    let number = with(|kernel| {
        let number = kernel.threads.by_native.remove(&native)?;
        (!kernel.threads.thread(number).finished).then_some(number)
    });
    if let Some(number) = number {
        loop {
            wait(Wait::Join(number), None);
            if with(|kernel| kernel.threads.thread(number).finished) {
                return;
            }
        }
    }
}

/// Names the running thread.
pub fn name(name: &str) {
    with(|kernel| kernel.threads.thread(ME.get()).name = name.to_owned());
}

impl Process {
    /// A new process on a host; `main` is its first thread. It ends by being killed, also when `main` returns.
    pub fn start(name: &str, host: Host, clock: Clock, main: impl FnOnce() + Send + 'static) -> Process {
        let process = with(|kernel| {
            let process = kernel.threads.add_process(name, Some(host));
            kernel.threads.processes[process.0 as usize].clock = clock;
            kernel.threads.next_process = Some(process);
            process
        });
        let thread = std::thread::Builder::new()
            .name("main".to_owned())
            .spawn(move || {
                main();
                process.kill();
                check_alive();
            });
        drop(thread.expect("a thread can be started"));
        process
    }

    /// The process of this thread; none outside of a simulation.
    pub fn current() -> Option<Process> {
        is_simulated().then(|| with(|kernel| kernel.current()))
    }

    /// Its threads do not run again, and its connections break.
    pub fn kill(self) {
        with(|kernel| kernel.kill(self));
    }

    /// Its threads do not run for so long.
    pub fn freeze(self, time: Time) {
        with(|kernel| {
            let until = kernel.now + time;
            let process = &mut kernel.threads.processes[self.0 as usize];
            process.frozen_until = process.frozen_until.max(until);
        });
    }

    pub fn is_alive(self) -> bool {
        with(|kernel| kernel.threads.of(self).alive)
    }

    pub fn set_clock(self, change: impl FnOnce(&mut Clock)) {
        with(|kernel| change(&mut kernel.threads.processes[self.0 as usize].clock));
    }

    pub fn host(self) -> Option<Host> {
        with(|kernel| kernel.threads.host_of(self))
    }
}
