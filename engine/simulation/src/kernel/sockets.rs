//! The C library's sockets, epoll and event counters. Descriptors of the machine's own files are passed on.

use std::ffi::c_void;
use std::mem::size_of;
use std::slice;

use libc::{
    c_int, c_uint, c_ulong, epoll_event, iovec, msghdr, pollfd, size_t, sockaddr, sockaddr_in, socklen_t,
    ssize_t, timeval,
};

use super::calls::{after, fail};
use super::net::{Address, FIRST_DESCRIPTOR, Host, Interest, Kind, Object, State, Thing};
use super::threads::{Wait, check_alive, may_be_preempted, wait};
use super::{is_simulated, real, with};

const NANOS_PER_MILLI: i64 = 1_000_000;

fn is_ours(descriptor: c_int) -> bool {
    descriptor >= FIRST_DESCRIPTOR && is_simulated()
}

fn object(descriptor: c_int) -> Option<Object> {
    with(|kernel| kernel.net.object(descriptor))
}

fn is_blocking(descriptor: c_int) -> bool {
    with(|kernel| {
        kernel
            .net
            .descriptors
            .get(&descriptor)
            .is_some_and(|d| d.is_blocking)
    })
}

fn read_address(address: *const sockaddr) -> Option<Address> {
    // SAFETY: the caller gives an address, whose family says what it is.
    unsafe {
        if c_int::from((*address).sa_family) != libc::AF_INET {
            return None;
        }
        let address = &*address.cast::<sockaddr_in>();
        Some(Address {
            host: Host(address.sin_addr.s_addr.to_ne_bytes()),
            port: u16::from_be(address.sin_port),
        })
    }
}

/// # Safety
/// As of `getsockname`: both are places of the caller's, or null.
unsafe fn write_address(address: Address, place: *mut sockaddr, len: *mut socklen_t) {
    if place.is_null() || len.is_null() {
        return;
    }
    let written = sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.host.0),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: by the caller's word; no more is written than there is room for.
    unsafe {
        let room = (*len as usize).min(size_of::<sockaddr_in>());
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(&written).cast::<u8>(),
            place.cast::<u8>(),
            room,
        );
        *len = size_of::<sockaddr_in>() as socklen_t;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if !is_simulated() {
        // SAFETY: numbers.
        return unsafe { real::SOCKET.get()(domain, kind, protocol) };
    }
    check_alive();
    let is_stream = kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) == libc::SOCK_STREAM;
    if domain != libc::AF_INET || !is_stream {
        return fail(libc::EAFNOSUPPORT);
    }
    with(|kernel| {
        let process = kernel.current();
        let object = kernel.net.add(process, Kind::Idle { bound: None });
        kernel.net.describe(object, kind & libc::SOCK_NONBLOCK == 0)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bind(descriptor: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::BIND.get()(descriptor, address, len) };
    }
    let Some(address) = read_address(address) else {
        return fail(libc::EAFNOSUPPORT);
    };
    with(|kernel| {
        let port = match address.port {
            0 => kernel.net.free_port(),
            port => port,
        };
        let object = kernel.net.object(descriptor);
        if let Some(thing) = object.and_then(|object| kernel.net.objects.get_mut(&object)) {
            thing.kind = Kind::Idle { bound: Some(port) };
        }
    });
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn listen(descriptor: c_int, backlog: c_int) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: numbers.
        return unsafe { real::LISTEN.get()(descriptor, backlog) };
    }
    let is_free = with(|kernel| {
        let object = kernel.net.object(descriptor)?;
        let Kind::Idle { bound: Some(port) } = kernel.net.objects.get(&object)?.kind else {
            return None;
        };
        let host = kernel.threads.host_of(kernel.current())?;
        Some(kernel.net.listen(object, Address { host, port }))
    });
    match is_free {
        Some(true) => 0,
        Some(false) => fail(libc::EADDRINUSE),
        None => fail(libc::EINVAL),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn connect(descriptor: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::CONNECT.get()(descriptor, address, len) };
    }
    check_alive();
    let (Some(remote), Some(object)) = (read_address(address), object(descriptor)) else {
        return fail(libc::EAFNOSUPPORT);
    };
    with(|kernel| kernel.connect(object, remote));
    if !is_blocking(descriptor) {
        return fail(libc::EINPROGRESS);
    }
    loop {
        match with(|kernel| kernel.net.stream(object).map(|s| s.state)) {
            Some(State::Connecting) => wait(Wait::Writable(object), None),
            Some(State::Open) => return 0,
            Some(State::Broken { error, .. }) => return fail(error),
            None => return fail(libc::EBADF),
        };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept(descriptor: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => unsafe { accept_one(descriptor, address, len, 0) },
        // SAFETY: as the caller has called it.
        false => unsafe { real::ACCEPT.get()(descriptor, address, len) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(
    descriptor: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => unsafe { accept_one(descriptor, address, len, flags) },
        // SAFETY: as the caller has called it.
        false => unsafe { real::ACCEPT4.get()(descriptor, address, len, flags) },
    }
}

/// # Safety
/// As of `accept4`.
unsafe fn accept_one(descriptor: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
    loop {
        check_alive();
        let Some(listener) = object(descriptor) else {
            return fail(libc::EBADF);
        };
        let accepted = with(|kernel| {
            let Kind::Listener { backlog, .. } = &mut kernel.net.objects.get_mut(&listener)?.kind else {
                return None;
            };
            let stream = backlog.pop_front()?;
            let remote = kernel.net.stream(stream)?.remote;
            Some((
                kernel.net.describe(stream, flags & libc::SOCK_NONBLOCK == 0),
                remote,
            ))
        });
        if let Some((accepted, remote)) = accepted {
            // SAFETY: by the caller's word.
            unsafe { write_address(remote, address, len) };
            return accepted;
        }
        if !is_blocking(descriptor) {
            return fail(libc::EAGAIN);
        }
        wait(Wait::Readable(listener), None);
    }
}

fn address_of(descriptor: c_int, is_local: bool) -> Option<Address> {
    with(|kernel| {
        let host = kernel.threads.host_of(kernel.current());
        let object = kernel.net.object(descriptor)?;
        match &kernel.net.objects.get(&object)?.kind {
            Kind::Stream(stream) if is_local => Some(stream.local),
            Kind::Stream(stream) if stream.state == State::Open => Some(stream.remote),
            Kind::Listener { address, .. } if is_local => Some(*address),
            Kind::Idle { bound } if is_local => Some(Address {
                host: host?,
                port: bound.unwrap_or(0),
            }),
            _ => None,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(descriptor: c_int, place: *mut sockaddr, len: *mut socklen_t) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::GETSOCKNAME.get()(descriptor, place, len) };
    }
    match address_of(descriptor, true) {
        Some(address) => {
            // SAFETY: by the caller's word.
            unsafe { write_address(address, place, len) };
            0
        }
        None => fail(libc::EBADF),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getpeername(descriptor: c_int, place: *mut sockaddr, len: *mut socklen_t) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::GETPEERNAME.get()(descriptor, place, len) };
    }
    match address_of(descriptor, false) {
        Some(address) => {
            // SAFETY: by the caller's word.
            unsafe { write_address(address, place, len) };
            0
        }
        None => fail(libc::ENOTCONN),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn setsockopt(
    descriptor: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::SETSOCKOPT.get()(descriptor, level, option, value, len) };
    }
    if (level, option) == (libc::SOL_SOCKET, libc::SO_RCVTIMEO) {
        // SAFETY: what this option takes.
        let time = unsafe { &*value.cast::<timeval>() };
        let nanos = time.tv_sec * 1_000_000_000 + time.tv_usec * 1000;
        with(|kernel| {
            if let Some(descriptor) = kernel.net.descriptors.get_mut(&descriptor) {
                descriptor.timeout = (nanos > 0).then_some(nanos);
            }
        });
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockopt(
    descriptor: c_int,
    level: c_int,
    option: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::GETSOCKOPT.get()(descriptor, level, option, value, len) };
    }
    let number = match (level, option) {
        (libc::SOL_SOCKET, libc::SO_ERROR) => with(|kernel| {
            let object = kernel.net.object(descriptor)?;
            let stream = kernel.net.stream(object)?;
            match stream.state {
                State::Broken { error, told: false } => {
                    stream.state = State::Broken { error, told: true };
                    Some(error)
                }
                _ => None,
            }
        })
        .unwrap_or(0),
        _ => 0,
    };
    // SAFETY: places of the caller's; all that is asked for is numbers.
    unsafe {
        if *len as usize >= size_of::<c_int>() {
            value.cast::<c_int>().write_unaligned(number);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shutdown(descriptor: c_int, how: c_int) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: numbers.
        return unsafe { real::SHUTDOWN.get()(descriptor, how) };
    }
    check_alive();
    let Some(object) = object(descriptor) else {
        return fail(libc::EBADF);
    };
    with(|kernel| {
        if how != libc::SHUT_RD {
            kernel.shut(object);
        }
        if how != libc::SHUT_WR
            && let Some(stream) = kernel.net.stream(object)
        {
            stream.is_ended = true;
            kernel.changed(object);
        }
    });
    0
}

/// What a stream is good for.
enum Way {
    Open,
    Ended,
    Broken(c_int),
    None,
}

fn way(object: Object) -> Way {
    with(|kernel| match kernel.net.stream(object) {
        None => Way::None,
        Some(stream) => match stream.state {
            State::Connecting => Way::Open,
            State::Broken { error, told } => {
                stream.state = State::Broken { error, told: true };
                // Who has been told once reads the end, and writes into nothing.
                match told {
                    true => Way::Ended,
                    false => Way::Broken(error),
                }
            }
            State::Open => Way::Open,
        },
    })
}

fn put(descriptor: c_int, bytes: &[u8]) -> ssize_t {
    loop {
        check_alive();
        let Some(object) = object(descriptor) else {
            return fail(libc::EBADF) as ssize_t;
        };
        match way(object) {
            Way::Broken(error) => return fail(error) as ssize_t,
            Way::Ended => return fail(libc::EPIPE) as ssize_t,
            Way::None => return fail(libc::ENOTCONN) as ssize_t,
            Way::Open => {}
        }
        if with(|kernel| kernel.net.stream(object).is_some_and(|s| s.is_shut)) {
            return fail(libc::EPIPE) as ssize_t;
        }
        let taken = match bytes.is_empty() {
            true => return 0,
            false => with(|kernel| kernel.send_bytes(object, bytes)),
        };
        if taken > 0 {
            may_be_preempted();
            return taken as ssize_t;
        }
        if !is_blocking(descriptor) {
            return fail(libc::EAGAIN) as ssize_t;
        }
        wait(Wait::Writable(object), None);
    }
}

fn take(descriptor: c_int, into: &mut [u8], is_taken: bool) -> ssize_t {
    loop {
        check_alive();
        let Some(object) = object(descriptor) else {
            return fail(libc::EBADF) as ssize_t;
        };
        let (count, is_ended) = with(|kernel| {
            let count = kernel.receive(object, into, is_taken);
            (count, kernel.net.stream(object).is_some_and(|s| s.is_ended))
        });
        if count > 0 || into.is_empty() {
            return count as ssize_t;
        }
        match way(object) {
            Way::Broken(error) => return fail(error) as ssize_t,
            Way::Ended => return 0,
            Way::None => return fail(libc::ENOTCONN) as ssize_t,
            Way::Open if is_ended => return 0,
            Way::Open => {}
        }
        if !is_blocking(descriptor) {
            return fail(libc::EAGAIN) as ssize_t;
        }
        let timeout = with(|kernel| kernel.net.descriptors.get(&descriptor).and_then(|d| d.timeout));
        if !wait(Wait::Readable(object), timeout.map(after)) {
            return fail(libc::EAGAIN) as ssize_t;
        }
    }
}

/// # Safety
/// So many bytes there are the caller's.
unsafe fn bytes<'a>(place: *const c_void, len: usize) -> &'a [u8] {
    match len {
        0 => &[],
        // SAFETY: by the caller's word.
        _ => unsafe { slice::from_raw_parts(place.cast(), len) },
    }
}

/// # Safety
/// So many bytes there are the caller's to write.
unsafe fn bytes_mut<'a>(place: *mut c_void, len: usize) -> &'a mut [u8] {
    match len {
        0 => &mut [],
        // SAFETY: by the caller's word.
        _ => unsafe { slice::from_raw_parts_mut(place.cast(), len) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(descriptor: c_int, place: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => put(descriptor, unsafe { bytes(place, len) }),
        // SAFETY: as the caller has called it.
        false => unsafe { real::SEND.get()(descriptor, place, len, flags) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(descriptor: c_int, place: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => take(
            descriptor,
            unsafe { bytes_mut(place, len) },
            flags & libc::MSG_PEEK == 0,
        ),
        // SAFETY: as the caller has called it.
        false => unsafe { real::RECV.get()(descriptor, place, len, flags) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(descriptor: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => unsafe {
            let message = &*message;
            put_all(
                descriptor,
                slice::from_raw_parts(message.msg_iov, message.msg_iovlen),
            )
        },
        // SAFETY: as the caller has called it.
        false => unsafe { real::SENDMSG.get()(descriptor, message, flags) },
    }
}

/// # Safety
/// What the vectors name is the caller's.
unsafe fn put_all(descriptor: c_int, vectors: &[iovec]) -> ssize_t {
    // SAFETY: by the caller's word.
    let pieces = vectors.iter().map(|v| unsafe { bytes(v.iov_base, v.iov_len) });
    put(descriptor, &pieces.collect::<Vec<_>>().concat())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(descriptor: c_int, place: *mut c_void, len: size_t) -> ssize_t {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::READ.get()(descriptor, place, len) };
    }
    let counted = with(|kernel| {
        let object = kernel.net.object(descriptor)?;
        match &mut kernel.net.objects.get_mut(&object)?.kind {
            Kind::Counter { count } => Some(std::mem::take(count)),
            _ => None,
        }
    });
    match counted {
        Some(0) => fail(libc::EAGAIN) as ssize_t,
        Some(count) => {
            // SAFETY: who reads a counter has room for it.
            unsafe { place.cast::<u64>().write_unaligned(count) };
            8
        }
        // SAFETY: as the caller has called it.
        None => take(descriptor, unsafe { bytes_mut(place, len) }, true),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(descriptor: c_int, place: *const c_void, len: size_t) -> ssize_t {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::WRITE.get()(descriptor, place, len) };
    }
    let is_counter = with(|kernel| {
        let object = kernel.net.object(descriptor)?;
        match &mut kernel.net.objects.get_mut(&object)?.kind {
            Kind::Counter { count } => {
                // SAFETY: who writes to a counter gives a number.
                *count += unsafe { place.cast::<u64>().read_unaligned() };
                kernel.changed(object);
                Some(())
            }
            _ => None,
        }
    });
    match is_counter {
        Some(()) => {
            may_be_preempted();
            8
        }
        // SAFETY: as the caller has called it.
        None => put(descriptor, unsafe { bytes(place, len) }),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readv(descriptor: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::READV.get()(descriptor, vectors, count) };
    }
    // SAFETY: as the caller has called it.
    let vectors = unsafe { slice::from_raw_parts(vectors, count as usize) };
    match vectors.iter().find(|v| v.iov_len > 0) {
        None => 0,
        // SAFETY: as the caller has called it.
        Some(first) => take(
            descriptor,
            unsafe { bytes_mut(first.iov_base, first.iov_len) },
            true,
        ),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(descriptor: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
    match is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        true => unsafe { put_all(descriptor, slice::from_raw_parts(vectors, count as usize)) },
        // SAFETY: as the caller has called it.
        false => unsafe { real::WRITEV.get()(descriptor, vectors, count) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(descriptor: c_int) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: a number.
        return unsafe { real::CLOSE.get()(descriptor) };
    }
    check_alive();
    with(|kernel| kernel.close(descriptor));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::FCNTL.get()(descriptor, command, argument) };
    }
    match command {
        libc::F_DUPFD_CLOEXEC | libc::F_DUPFD => with(|kernel| {
            let Some(described) = kernel.net.descriptors.get(&descriptor) else {
                return fail(libc::EBADF);
            };
            let (object, is_blocking) = (described.object, described.is_blocking);
            kernel.net.describe(object, is_blocking)
        }),
        libc::F_SETFL => {
            set_blocking(descriptor, argument & libc::O_NONBLOCK as usize == 0);
            0
        }
        libc::F_GETFL => match is_blocking(descriptor) {
            true => libc::O_RDWR,
            false => libc::O_RDWR | libc::O_NONBLOCK,
        },
        _ => 0,
    }
}

fn set_blocking(descriptor: c_int, is_blocking: bool) {
    with(|kernel| {
        if let Some(descriptor) = kernel.net.descriptors.get_mut(&descriptor) {
            descriptor.is_blocking = is_blocking;
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(descriptor: c_int, request: c_ulong, argument: usize) -> c_int {
    if !is_ours(descriptor) {
        // SAFETY: as the caller has called it.
        return unsafe { real::IOCTL.get()(descriptor, request, argument) };
    }
    if request == libc::FIONBIO {
        // SAFETY: what this request takes.
        set_blocking(descriptor, unsafe { *(argument as *const c_int) } == 0);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn eventfd(count: c_uint, flags: c_int) -> c_int {
    if !is_simulated() {
        // SAFETY: numbers.
        return unsafe { real::EVENTFD.get()(count, flags) };
    }
    check_alive();
    with(|kernel| {
        let process = kernel.current();
        let kind = Kind::Counter { count: count.into() };
        let object = kernel.net.add(process, kind);
        kernel.net.describe(object, flags & libc::EFD_NONBLOCK == 0)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_create1(flags: c_int) -> c_int {
    if !is_simulated() {
        // SAFETY: a number.
        return unsafe { real::EPOLL_CREATE1.get()(flags) };
    }
    check_alive();
    with(|kernel| {
        let process = kernel.current();
        let interests = Default::default();
        let object = kernel.net.add(process, Kind::Epoll { interests });
        kernel.net.describe(object, true)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *mut epoll_event,
) -> c_int {
    if !is_ours(epoll) {
        // SAFETY: as the caller has called it.
        return unsafe { real::EPOLL_CTL.get()(epoll, operation, descriptor, event) };
    }
    // SAFETY: an event of the caller's, or null.
    let event = unsafe { event.as_ref() }.copied();
    with(|kernel| {
        let Some(epoll) = kernel.net.object(epoll) else {
            return fail(libc::EBADF);
        };
        // A file of the machine's (signals come through one) is never ready.
        let Some(watched) = kernel.net.object(descriptor) else {
            return 0;
        };
        let armed = kernel.net.readiness(watched);
        let Some(Thing {
            kind: Kind::Epoll { interests },
            ..
        }) = kernel.net.objects.get_mut(&epoll)
        else {
            return fail(libc::EINVAL);
        };
        match (operation, event) {
            (libc::EPOLL_CTL_DEL, _) => {
                interests.remove(&watched);
            }
            (_, Some(event)) => {
                assert_ne!(event.events & libc::EPOLLET as u32, 0, "only edges are simulated");
                // Errors come unasked.
                let events = event.events | (libc::EPOLLERR | libc::EPOLLHUP) as u32;
                let armed = armed & events;
                let data = event.u64;
                interests.insert(watched, Interest { events, data, armed });
                if armed != 0 {
                    kernel.wake(Wait::Poll(epoll), usize::MAX);
                }
            }
            (_, None) => return fail(libc::EFAULT),
        }
        if let Some(thing) = kernel.net.objects.get_mut(&watched) {
            match operation {
                libc::EPOLL_CTL_DEL => thing.watchers.remove(&epoll),
                _ => thing.watchers.insert(epoll),
            };
        }
        0
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    if !is_ours(epoll) {
        // SAFETY: as the caller has called it.
        return unsafe { real::EPOLL_WAIT.get()(epoll, events, most, timeout) };
    }
    let Some(object) = object(epoll) else {
        return fail(libc::EBADF);
    };
    let until = (timeout > 0).then(|| after(i64::from(timeout) * NANOS_PER_MILLI));
    let mut is_over = timeout == 0;
    loop {
        check_alive();
        let told = with(|kernel| {
            let Some(Thing {
                kind: Kind::Epoll { interests },
                ..
            }) = kernel.net.objects.get_mut(&object)
            else {
                return Vec::new();
            };
            let ready = interests.values_mut().filter(|interest| interest.armed != 0);
            let told = ready.take(most as usize).map(|interest| epoll_event {
                events: std::mem::take(&mut interest.armed),
                u64: interest.data,
            });
            told.collect()
        });
        if !told.is_empty() || is_over {
            for (index, event) in told.iter().enumerate() {
                // SAFETY: there is room for so many.
                unsafe { *events.add(index) = *event };
            }
            return told.len() as c_int;
        }
        is_over = !wait(Wait::Poll(object), until);
    }
}

/// Of one descriptor, which is what connecting within a time needs.
#[unsafe(no_mangle)]
unsafe extern "C" fn poll(descriptors: *mut pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    // SAFETY: so many of the caller's.
    let all = unsafe { slice::from_raw_parts_mut(descriptors, count as usize) };
    let [polled] = all else {
        // SAFETY: as the caller has called it.
        return unsafe { real::POLL.get()(descriptors, count, timeout) };
    };
    if !is_ours(polled.fd) {
        // SAFETY: as the caller has called it.
        return unsafe { real::POLL.get()(descriptors, count, timeout) };
    }
    let until = (timeout >= 0).then(|| after(i64::from(timeout) * NANOS_PER_MILLI));
    let Some(object) = object(polled.fd) else {
        return fail(libc::EBADF);
    };
    let mut is_over = timeout == 0;
    loop {
        check_alive();
        let readiness = with(|kernel| kernel.net.readiness(object)) as libc::c_short;
        let asked = polled.events | libc::POLLERR | libc::POLLHUP;
        polled.revents = readiness & asked;
        if polled.revents != 0 || is_over {
            return c_int::from(polled.revents != 0);
        }
        let wanted = match polled.events & libc::POLLIN {
            0 => Wait::Writable(object),
            _ => Wait::Readable(object),
        };
        is_over = !wait(wanted, until);
    }
}
