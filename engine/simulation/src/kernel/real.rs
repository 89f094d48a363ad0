//! The C library's own functions, behind those of the same names that `calls`, `locks` and `sockets` define.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    c_char, c_int, c_long, c_uint, c_ulong, clockid_t, iovec, msghdr, pollfd, pthread_attr_t, pthread_cond_t,
    pthread_mutex_t, pthread_rwlock_t, pthread_t, size_t, sockaddr, socklen_t, ssize_t, time_t, timespec,
    timeval,
};

/// A function by its name, looked for at the first call.
pub struct Original<F> {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
    of: PhantomData<F>,
}

impl<F: Copy> Original<F> {
    const fn new(name: &'static CStr) -> Self {
        Original {
            name,
            address: AtomicPtr::new(ptr::null_mut()),
            of: PhantomData,
        }
    }

    pub fn get(&self) -> F {
        let mut address = self.address.load(Ordering::Relaxed);
        if address.is_null() {
            // SAFETY: a name that ends with a null byte; what is found lives as long as the process.
            address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            assert!(!address.is_null(), "the C library has no {:?}", self.name);
            self.address.store(address, Ordering::Relaxed);
        }
        // SAFETY: `F` is the function's type, by the declarations below.
        unsafe { std::mem::transmute_copy(&address) }
    }
}

// SAFETY: all that it holds is an address.
unsafe impl<F> Sync for Original<F> {}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type OfMutex = unsafe extern "C" fn(*mut pthread_mutex_t) -> c_int;
type OfCond = unsafe extern "C" fn(*mut pthread_cond_t) -> c_int;
type OfLock = unsafe extern "C" fn(*mut pthread_rwlock_t) -> c_int;
type OfAddress = unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
type ToAddress = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;
type Vectored = unsafe extern "C" fn(c_int, *const iovec, c_int) -> ssize_t;

pub static SYSCALL: Original<
    unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long,
> = Original::new(c"syscall");
pub static CLOCK_GETTIME: Original<unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int> =
    Original::new(c"clock_gettime");
pub static GETTIMEOFDAY: Original<unsafe extern "C" fn(*mut timeval, *mut c_void) -> c_int> =
    Original::new(c"gettimeofday");
pub static TIME: Original<unsafe extern "C" fn(*mut time_t) -> time_t> = Original::new(c"time");
pub static NANOSLEEP: Original<unsafe extern "C" fn(*const timespec, *mut timespec) -> c_int> =
    Original::new(c"nanosleep");
pub static CLOCK_NANOSLEEP: Original<
    unsafe extern "C" fn(clockid_t, c_int, *const timespec, *mut timespec) -> c_int,
> = Original::new(c"clock_nanosleep");
pub static USLEEP: Original<unsafe extern "C" fn(c_uint) -> c_int> = Original::new(c"usleep");
pub static SCHED_YIELD: Original<unsafe extern "C" fn() -> c_int> = Original::new(c"sched_yield");
pub static GETRANDOM: Original<unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t> =
    Original::new(c"getrandom");
pub static OPEN: Original<unsafe extern "C" fn(*const c_char, c_int, c_uint) -> c_int> =
    Original::new(c"open");

pub static PTHREAD_CREATE: Original<
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int,
> = Original::new(c"pthread_create");
pub static PTHREAD_JOIN: Original<unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int> =
    Original::new(c"pthread_join");
pub static MUTEX_LOCK: Original<OfMutex> = Original::new(c"pthread_mutex_lock");
pub static MUTEX_TRYLOCK: Original<OfMutex> = Original::new(c"pthread_mutex_trylock");
pub static MUTEX_UNLOCK: Original<OfMutex> = Original::new(c"pthread_mutex_unlock");
pub static COND_WAIT: Original<unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int> =
    Original::new(c"pthread_cond_wait");
pub static COND_TIMEDWAIT: Original<
    unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int,
> = Original::new(c"pthread_cond_timedwait");
pub static COND_CLOCKWAIT: Original<
    unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, clockid_t, *const timespec) -> c_int,
> = Original::new(c"pthread_cond_clockwait");
pub static COND_SIGNAL: Original<OfCond> = Original::new(c"pthread_cond_signal");
pub static COND_BROADCAST: Original<OfCond> = Original::new(c"pthread_cond_broadcast");
pub static RWLOCK_RDLOCK: Original<OfLock> = Original::new(c"pthread_rwlock_rdlock");
pub static RWLOCK_TRYRDLOCK: Original<OfLock> = Original::new(c"pthread_rwlock_tryrdlock");
pub static RWLOCK_WRLOCK: Original<OfLock> = Original::new(c"pthread_rwlock_wrlock");
pub static RWLOCK_TRYWRLOCK: Original<OfLock> = Original::new(c"pthread_rwlock_trywrlock");
pub static RWLOCK_UNLOCK: Original<OfLock> = Original::new(c"pthread_rwlock_unlock");

pub static SOCKET: Original<unsafe extern "C" fn(c_int, c_int, c_int) -> c_int> = Original::new(c"socket");
pub static BIND: Original<ToAddress> = Original::new(c"bind");
pub static LISTEN: Original<unsafe extern "C" fn(c_int, c_int) -> c_int> = Original::new(c"listen");
pub static CONNECT: Original<ToAddress> = Original::new(c"connect");
pub static ACCEPT: Original<OfAddress> = Original::new(c"accept");
pub static ACCEPT4: Original<unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t, c_int) -> c_int> =
    Original::new(c"accept4");
pub static GETSOCKNAME: Original<OfAddress> = Original::new(c"getsockname");
pub static GETPEERNAME: Original<OfAddress> = Original::new(c"getpeername");
pub static SETSOCKOPT: Original<
    unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
> = Original::new(c"setsockopt");
pub static GETSOCKOPT: Original<
    unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
> = Original::new(c"getsockopt");
pub static SHUTDOWN: Original<unsafe extern "C" fn(c_int, c_int) -> c_int> = Original::new(c"shutdown");
pub static SEND: Original<unsafe extern "C" fn(c_int, *const c_void, size_t, c_int) -> ssize_t> =
    Original::new(c"send");
pub static RECV: Original<unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t> =
    Original::new(c"recv");
pub static SENDMSG: Original<unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t> =
    Original::new(c"sendmsg");
pub static READ: Original<unsafe extern "C" fn(c_int, *mut c_void, size_t) -> ssize_t> =
    Original::new(c"read");
pub static WRITE: Original<unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t> =
    Original::new(c"write");
pub static READV: Original<Vectored> = Original::new(c"readv");
pub static WRITEV: Original<Vectored> = Original::new(c"writev");
pub static CLOSE: Original<unsafe extern "C" fn(c_int) -> c_int> = Original::new(c"close");
pub static FCNTL: Original<unsafe extern "C" fn(c_int, c_int, usize) -> c_int> = Original::new(c"fcntl");
pub static IOCTL: Original<unsafe extern "C" fn(c_int, c_ulong, usize) -> c_int> = Original::new(c"ioctl");
pub static EPOLL_CREATE1: Original<unsafe extern "C" fn(c_int) -> c_int> = Original::new(c"epoll_create1");
pub static EPOLL_CTL: Original<unsafe extern "C" fn(c_int, c_int, c_int, *mut libc::epoll_event) -> c_int> =
    Original::new(c"epoll_ctl");
pub static EPOLL_WAIT: Original<unsafe extern "C" fn(c_int, *mut libc::epoll_event, c_int, c_int) -> c_int> =
    Original::new(c"epoll_wait");
pub static EVENTFD: Original<unsafe extern "C" fn(c_uint, c_int) -> c_int> = Original::new(c"eventfd");
pub static POLL: Original<unsafe extern "C" fn(*mut pollfd, libc::nfds_t, c_int) -> c_int> =
    Original::new(c"poll");

/// Sleeps until the word is no longer `value`, by the machine itself.
pub fn wait(word: &std::sync::atomic::AtomicU32, value: u32) {
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the word lives through the call, and is only read.
    unsafe {
        SYSCALL.get()(
            libc::SYS_futex,
            ptr::from_ref(word) as usize,
            operation,
            value as usize,
            0,
            0,
            0,
        )
    };
}

/// Wakes who sleeps on the word.
pub fn wake(word: &std::sync::atomic::AtomicU32) {
    let operation = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the address is only compared.
    unsafe {
        SYSCALL.get()(
            libc::SYS_futex,
            ptr::from_ref(word) as usize,
            operation,
            1,
            0,
            0,
            0,
        )
    };
}
