//! The C library's threads, futexes, clocks and randomness. To a thread that is not simulated all of them are what
//! they are.
//!
//! Functions with an open end (`syscall`, `open`) are defined with as many arguments as they ever have: on x86-64 and
//! on ARM64 these come in the same registers.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{
    c_char, c_int, c_long, c_uint, clockid_t, pthread_attr_t, pthread_t, size_t, ssize_t, time_t, timespec,
    timeval,
};

use super::threads::{self, Wait, check_alive, make_way, may_be_preempted, wait};
use super::{Time, is_simulated, real, with};

/// A read of the clock takes so long.
const READ: Time = 200;
const NANOS: i64 = 1_000_000_000;

/// Has the linker take these functions, and not the C library's.
pub fn force_link() {
    let all = [
        syscall as *const () as usize,
        clock_gettime as *const () as usize,
        pthread_create as *const () as usize,
        super::locks::pthread_mutex_lock as *const () as usize,
        super::sockets::socket as *const () as usize,
    ];
    std::hint::black_box(all);
}

/// As the C library reports an error.
pub fn fail(error: c_int) -> c_int {
    // SAFETY: the address of this thread's own.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn nanos_of(time: &timespec) -> i64 {
    time.tv_sec.saturating_mul(NANOS).saturating_add(time.tv_nsec)
}

fn timespec_of(nanos: i64) -> timespec {
    timespec {
        tv_sec: nanos.div_euclid(NANOS),
        tv_nsec: nanos.rem_euclid(NANOS),
    }
}

/// What a clock of the running thread's process shows.
fn clock(which: clockid_t) -> i64 {
    with(|kernel| {
        kernel.now += READ;
        let clock = kernel.clock();
        match which {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => clock.of_day(kernel.now),
            _ => clock.since_start(kernel.now),
        }
    })
}

/// When it will be, by a clock.
pub fn at(which: clockid_t, time: &timespec) -> Time {
    let left = nanos_of(time).saturating_sub(clock(which));
    with(|kernel| kernel.clock().after(kernel.now, left))
}

/// When so long will have passed.
pub fn after(nanos: i64) -> Time {
    with(|kernel| kernel.clock().after(kernel.now, nanos))
}

fn sleep(until: Time) {
    wait(Wait::Sleep, Some(until));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if is_simulated() {
        match number {
            libc::SYS_futex => {
                // SAFETY: as the caller has called it.
                let (word, timeout) = unsafe { (&*(a as *const AtomicU32), (d as *const timespec).as_ref()) };
                return futex(word, b as c_int, c as u32, timeout).into();
            }
            libc::SYS_getrandom => {
                // SAFETY: as the caller has called it.
                return unsafe { getrandom(a as *mut c_void, b, c as c_uint) } as c_long;
            }
            _ => {}
        }
    }
    // SAFETY: as the caller has called it.
    unsafe { real::SYSCALL.get()(number, a, b, c, d, e, f) }
}

fn futex(word: &AtomicU32, operation: c_int, value: u32, timeout: Option<&timespec>) -> c_int {
    let place = std::ptr::from_ref(word) as usize;
    match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        which @ (libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) => {
            if word.load(Ordering::SeqCst) != value {
                return fail(libc::EAGAIN);
            }
            let until = timeout.map(|timeout| match which {
                libc::FUTEX_WAIT => after(nanos_of(timeout)),
                _ if operation & libc::FUTEX_CLOCK_REALTIME != 0 => at(libc::CLOCK_REALTIME, timeout),
                _ => at(libc::CLOCK_MONOTONIC, timeout),
            });
            match wait(Wait::Futex(place), until) {
                true => 0,
                false => fail(libc::ETIMEDOUT),
            }
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            check_alive();
            let woken = with(|kernel| kernel.wake(Wait::Futex(place), value as usize));
            may_be_preempted();
            woken as c_int
        }
        other => panic!("the simulation knows no futex operation {other}"),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(which: clockid_t, time: *mut timespec) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::CLOCK_GETTIME.get()(which, time) };
    }
    // SAFETY: the caller gives a place for it.
    unsafe { *time = timespec_of(clock(which)) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::GETTIMEOFDAY.get()(time, zone) };
    }
    let nanos = clock(libc::CLOCK_REALTIME);
    // SAFETY: the caller gives a place for it.
    unsafe {
        *time = timeval {
            tv_sec: nanos.div_euclid(NANOS),
            tv_usec: nanos.rem_euclid(NANOS) / 1000,
        }
    };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(place: *mut time_t) -> time_t {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::TIME.get()(place) };
    }
    let seconds = clock(libc::CLOCK_REALTIME).div_euclid(NANOS);
    // SAFETY: a place for it, or null.
    if let Some(place) = unsafe { place.as_mut() } {
        *place = seconds;
    }
    seconds
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::NANOSLEEP.get()(time, left) };
    }
    // SAFETY: the caller gives a time.
    sleep(after(nanos_of(unsafe { &*time })));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    which: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::CLOCK_NANOSLEEP.get()(which, flags, time, left) };
    }
    // SAFETY: the caller gives a time.
    let time = unsafe { &*time };
    sleep(match flags & libc::TIMER_ABSTIME {
        0 => after(nanos_of(time)),
        _ => at(which, time),
    });
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn usleep(micros: c_uint) -> c_int {
    if !is_simulated() {
        // SAFETY: a number.
        return unsafe { real::USLEEP.get()(micros) };
    }
    sleep(after(i64::from(micros) * 1000));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sched_yield() -> c_int {
    if !is_simulated() {
        // SAFETY: nothing is given.
        return unsafe { real::SCHED_YIELD.get()() };
    }
    make_way();
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(place: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::GETRANDOM.get()(place, len, flags) };
    }
    // SAFETY: so many bytes are the caller's.
    let bytes = unsafe { std::slice::from_raw_parts_mut(place.cast::<u8>(), len) };
    with(|kernel| kernel.entropy.fill(bytes));
    len as ssize_t
}

/// Where RocksDB takes the names of its sessions from.
const UUIDS: &CStr = c"/proc/sys/kernel/random/uuid";

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the caller gives a path.
    if is_simulated() && unsafe { CStr::from_ptr(path) } == UUIDS {
        return uuid();
    }
    // SAFETY: as the caller has called it.
    unsafe { real::OPEN.get()(path, flags, mode) }
}

/// A file to read one from.
fn uuid() -> c_int {
    let mut hex = [0; 16];
    with(|kernel| kernel.entropy.fill(&mut hex));
    let number = u128::from_le_bytes(hex);
    let hex = format!("{number:032x}");
    let text = format!(
        "{}-{}-4{}-8{}-{}\n",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    );
    // SAFETY: a name, and what is written lives through the call.
    unsafe {
        let file = libc::memfd_create(c"uuid".as_ptr(), libc::MFD_CLOEXEC);
        if file >= 0 {
            real::WRITE.get()(file, text.as_ptr().cast(), text.len());
            libc::lseek(file, 0, libc::SEEK_SET);
        }
        file
    }
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    native: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::PTHREAD_CREATE.get()(native, attributes, start, argument) };
    }
    if !attributes.is_null() {
        check_alive();
    }
    threads::start(native, attributes, start, argument)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(native: pthread_t, value: *mut *mut c_void) -> c_int {
    if is_simulated() {
        threads::await_end(native);
    }
    // SAFETY: as the caller has called it.
    unsafe { real::PTHREAD_JOIN.get()(native, value) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(_: pthread_t, name: *const c_char) -> c_int {
    if is_simulated() {
        // SAFETY: the caller gives a name; those who name threads here name themselves.
        threads::name(&unsafe { CStr::from_ptr(name) }.to_string_lossy());
    }
    0
}
