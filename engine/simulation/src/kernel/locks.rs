//! Mutexes, conditions and locks as C and C++ have them. As one thread runs at a time, a mutex is the C library's own,
//! of which only waiting is ours; a condition is nothing but those who wait for it.

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};

use super::threads::{Wait, wait};
use super::{Time, calls, is_simulated, real, with};

fn wake(what: Wait, most: usize) {
    with(|kernel| kernel.wake(what, most));
}

/// Tries until it is had.
fn acquire(what: Wait, attempt: impl Fn() -> c_int) -> c_int {
    loop {
        match attempt() {
            libc::EBUSY => wait(what, None),
            outcome => return outcome,
        };
    }
}

fn lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's mutex.
    acquire(Wait::Mutex(mutex as usize), || unsafe {
        real::MUTEX_TRYLOCK.get()(mutex)
    })
}

fn unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's mutex.
    let outcome = unsafe { real::MUTEX_UNLOCK.get()(mutex) };
    wake(Wait::Mutex(mutex as usize), 1);
    outcome
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    match is_simulated() {
        true => lock(mutex),
        // SAFETY: as the caller has called it.
        false => unsafe { real::MUTEX_LOCK.get()(mutex) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    match is_simulated() {
        true => unlock(mutex),
        // SAFETY: as the caller has called it.
        false => unsafe { real::MUTEX_UNLOCK.get()(mutex) },
    }
}

fn condition(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: Option<Time>) -> c_int {
    unlock(mutex);
    let woken = wait(Wait::Condition(cond as usize), until);
    lock(mutex);
    match woken {
        true => 0,
        false => libc::ETIMEDOUT,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_wait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    match is_simulated() {
        true => condition(cond, mutex, None),
        // SAFETY: as the caller has called it.
        false => unsafe { real::COND_WAIT.get()(cond, mutex) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    match is_simulated() {
        // SAFETY: the caller gives a time, by the clock that conditions have unless told otherwise.
        true => condition(
            cond,
            mutex,
            Some(calls::at(libc::CLOCK_REALTIME, unsafe { &*until })),
        ),
        // SAFETY: as the caller has called it.
        false => unsafe { real::COND_TIMEDWAIT.get()(cond, mutex, until) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_clockwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    match is_simulated() {
        // SAFETY: the caller gives a time.
        true => condition(cond, mutex, Some(calls::at(clock, unsafe { &*until }))),
        // SAFETY: as the caller has called it.
        false => unsafe { real::COND_CLOCKWAIT.get()(cond, mutex, clock, until) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_signal(cond: *mut pthread_cond_t) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::COND_SIGNAL.get()(cond) };
    }
    wake(Wait::Condition(cond as usize), 1);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_broadcast(cond: *mut pthread_cond_t) -> c_int {
    if !is_simulated() {
        // SAFETY: as the caller has called it.
        return unsafe { real::COND_BROADCAST.get()(cond) };
    }
    wake(Wait::Condition(cond as usize), usize::MAX);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int {
    match is_simulated() {
        // SAFETY: the caller's lock.
        true => acquire(Wait::Lock(lock as usize), || unsafe {
            real::RWLOCK_TRYRDLOCK.get()(lock)
        }),
        // SAFETY: as the caller has called it.
        false => unsafe { real::RWLOCK_RDLOCK.get()(lock) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int {
    match is_simulated() {
        // SAFETY: the caller's lock.
        true => acquire(Wait::Lock(lock as usize), || unsafe {
            real::RWLOCK_TRYWRLOCK.get()(lock)
        }),
        // SAFETY: as the caller has called it.
        false => unsafe { real::RWLOCK_WRLOCK.get()(lock) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: as the caller has called it.
    let outcome = unsafe { real::RWLOCK_UNLOCK.get()(lock) };
    if is_simulated() {
        wake(Wait::Lock(lock as usize), usize::MAX);
    }
    outcome
}
