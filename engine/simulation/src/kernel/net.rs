//! Hosts, and TCP between them: streams of bytes that arrive in order, late, or not at all.
//!
//! Between two hosts whose link is cut nothing arrives; what is on its way then, and what is sent meanwhile, comes some
//! time after the link is whole again, as what TCP sends again does. A connection breaks where its process is killed,
//! or where somebody breaks it; a host that is cut off tells nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use libc::c_int;

use super::threads::{Process, Wait};
use super::{Kernel, MILLISECOND, Time};

/// A machine, by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub [u8; 4]);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub host: Host,
    pub port: u16,
}

/// The number of a socket, an epoll or an event counter, whatever descriptors mean it.
pub type Object = u32;

/// Descriptors of simulated objects are no smaller; those of the machine are.
pub const FIRST_DESCRIPTOR: c_int = 1 << 24;
/// Bytes that are sent and not read, at most.
const WINDOW: usize = 256 << 10;
/// What waited for a cut link comes so long after it is whole, at most.
const SENT_AGAIN: Time = 300 * MILLISECOND;

pub struct Descriptor {
    pub object: Object,
    pub is_blocking: bool,
    /// Of a receive, in nanoseconds.
    pub timeout: Option<i64>,
}

#[derive(Default)]
pub struct Net {
    pub descriptors: BTreeMap<c_int, Descriptor>,
    pub objects: BTreeMap<Object, Thing>,
    listeners: BTreeMap<Address, Object>,
    next_descriptor: c_int,
    next_object: Object,
    next_port: u16,
    cuts: BTreeSet<(Host, Host)>,
    held: Vec<(Host, Host, Delivery)>,
}

pub struct Thing {
    pub process: Process,
    /// Descriptors of it.
    pub uses: usize,
    pub kind: Kind,
    /// Epolls that watch it.
    pub watchers: BTreeSet<Object>,
}

pub enum Kind {
    /// Not connected, and not listening; with a port where one was bound.
    Idle {
        bound: Option<u16>,
    },
    Listener {
        address: Address,
        backlog: VecDeque<Object>,
    },
    Stream(Stream),
    Epoll {
        interests: BTreeMap<Object, Interest>,
    },
    Counter {
        count: u64,
    },
}

pub struct Stream {
    pub local: Address,
    pub remote: Address,
    pub peer: Option<Object>,
    pub state: State,
    pub received: VecDeque<u8>,
    /// Nothing more comes.
    pub is_ended: bool,
    pub is_shut: bool,
    /// Sent, and not read by the other side.
    pub unread: usize,
    /// When what was sent last arrives: what follows does no earlier.
    last_arrival: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Connecting,
    Open,
    Broken { error: c_int, told: bool },
}

pub struct Interest {
    pub events: u32,
    pub data: u64,
    /// Events that have come since they were told last.
    pub armed: u32,
}

/// What arrives at a time.
pub enum Delivery {
    Connect { from: Object },
    Accepted { to: Object },
    Bytes { to: Object, bytes: Vec<u8> },
    End { to: Object },
    Reset { to: Object, error: c_int },
}

impl Net {
    pub fn add(&mut self, process: Process, kind: Kind) -> Object {
        self.next_object += 1;
        let thing = Thing {
            process,
            uses: 0,
            kind,
            watchers: BTreeSet::new(),
        };
        self.objects.insert(self.next_object, thing);
        self.next_object
    }

    pub fn describe(&mut self, object: Object, is_blocking: bool) -> c_int {
        let descriptor = FIRST_DESCRIPTOR + self.next_descriptor;
        self.next_descriptor += 1;
        if let Some(thing) = self.objects.get_mut(&object) {
            thing.uses += 1;
        }
        let described = Descriptor {
            object,
            is_blocking,
            timeout: None,
        };
        self.descriptors.insert(descriptor, described);
        descriptor
    }

    pub fn object(&self, descriptor: c_int) -> Option<Object> {
        self.descriptors.get(&descriptor).map(|d| d.object)
    }

    pub fn stream(&mut self, object: Object) -> Option<&mut Stream> {
        match &mut self.objects.get_mut(&object)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// A port that nobody has.
    pub fn free_port(&mut self) -> u16 {
        self.next_port = self.next_port % 20_000 + 1;
        40_000 + self.next_port
    }

    pub fn listen(&mut self, object: Object, address: Address) -> bool {
        if self.listeners.contains_key(&address) {
            return false;
        }
        self.listeners.insert(address, object);
        if let Some(thing) = self.objects.get_mut(&object) {
            thing.kind = Kind::Listener {
                address,
                backlog: VecDeque::new(),
            };
        }
        true
    }

    fn is_cut(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// What it is ready for, in epoll's flags.
    pub fn readiness(&self, object: Object) -> u32 {
        let Some(thing) = self.objects.get(&object) else {
            return 0;
        };
        let flag = |is_set: bool, flag: c_int| if is_set { flag as u32 } else { 0 };
        match &thing.kind {
            Kind::Stream(stream) => {
                let is_broken = matches!(stream.state, State::Broken { .. });
                let is_connecting = stream.state == State::Connecting;
                let is_readable = !stream.received.is_empty() || stream.is_ended || is_broken;
                let is_writable = is_broken || (!is_connecting && stream.unread < WINDOW);
                flag(is_readable, libc::EPOLLIN)
                    | flag(is_writable, libc::EPOLLOUT)
                    | flag(stream.is_ended || is_broken, libc::EPOLLRDHUP)
                    | flag(is_broken, libc::EPOLLHUP | libc::EPOLLERR)
            }
            Kind::Listener { backlog, .. } => flag(!backlog.is_empty(), libc::EPOLLIN),
            Kind::Counter { count } => flag(*count > 0, libc::EPOLLIN) | libc::EPOLLOUT as u32,
            Kind::Idle { .. } | Kind::Epoll { .. } => 0,
        }
    }
}

impl Kernel {
    /// Tells who waits for an object that it is ready for something anew.
    pub fn changed(&mut self, object: Object) {
        let readiness = self.net.readiness(object);
        if readiness & libc::EPOLLIN as u32 != 0 {
            self.wake(Wait::Readable(object), usize::MAX);
        }
        if readiness & libc::EPOLLOUT as u32 != 0 {
            self.wake(Wait::Writable(object), usize::MAX);
        }
        let Some(thing) = self.net.objects.get(&object) else {
            return;
        };
        for watcher in thing.watchers.clone() {
            let Some(Thing {
                kind: Kind::Epoll { interests },
                ..
            }) = self.net.objects.get_mut(&watcher)
            else {
                continue;
            };
            let Some(interest) = interests.get_mut(&object) else {
                continue;
            };
            interest.armed |= readiness & interest.events;
            if interest.armed != 0 {
                self.wake(Wait::Poll(watcher), usize::MAX);
            }
        }
    }

    fn way(&mut self) -> Time {
        let (least, most) = self.pace.way;
        least + self.random.skewed(most.saturating_sub(least).max(1))
    }

    /// Sends from a stream to its other side, behind what it has sent before.
    fn send(&mut self, from: Object, delivery: Delivery) {
        let way = self.way();
        let now = self.now;
        let Some(stream) = self.net.stream(from) else {
            return;
        };
        stream.last_arrival = stream.last_arrival.max(now + way);
        let time = stream.last_arrival;
        self.deliver_at(time, delivery);
    }

    /// A connection is asked for.
    pub fn connect(&mut self, object: Object, remote: Address) {
        let process = self.current();
        let host = self.threads.host_of(process).unwrap_or(remote.host);
        let bound = match self.net.objects.get(&object).map(|thing| &thing.kind) {
            Some(Kind::Idle { bound: Some(port) }) => *port,
            _ => self.net.free_port(),
        };
        let stream = Stream {
            local: Address { host, port: bound },
            remote,
            peer: None,
            state: State::Connecting,
            received: VecDeque::new(),
            is_ended: false,
            is_shut: false,
            unread: 0,
            last_arrival: 0,
        };
        if let Some(thing) = self.net.objects.get_mut(&object) {
            thing.kind = Kind::Stream(stream);
        }
        self.send(object, Delivery::Connect { from: object });
    }

    /// How many of the bytes are taken: none where there is no room.
    pub fn send_bytes(&mut self, object: Object, bytes: &[u8]) -> usize {
        let Some(stream) = self.net.stream(object) else {
            return 0;
        };
        let taken = bytes.len().min(WINDOW.saturating_sub(stream.unread));
        if taken > 0 {
            stream.unread += taken;
            let bytes = bytes[..taken].to_vec();
            match stream.peer {
                Some(to) => self.send(object, Delivery::Bytes { to, bytes }),
                None => self.reset_after_way(object),
            }
        }
        taken
    }

    /// Nobody is there any more to take what was sent.
    fn reset_after_way(&mut self, object: Object) {
        let error = libc::ECONNRESET;
        self.send(object, Delivery::Reset { to: object, error });
    }

    /// Takes what was received, as much as there is room for.
    pub fn receive(&mut self, object: Object, into: &mut [u8], is_taken: bool) -> usize {
        let Some(stream) = self.net.stream(object) else {
            return 0;
        };
        let count = into.len().min(stream.received.len());
        for (place, byte) in into.iter_mut().zip(&stream.received) {
            *place = *byte;
        }
        if !is_taken {
            return count;
        }
        stream.received.drain(..count);
        let peer = stream.peer;
        if let Some(peer) = peer
            && let Some(other) = self.net.stream(peer)
        {
            let was_full = other.unread >= WINDOW;
            other.unread = other.unread.saturating_sub(count);
            if was_full {
                self.changed(peer);
            }
        }
        count
    }

    /// Nothing more will be sent.
    pub fn shut(&mut self, object: Object) {
        let Some(stream) = self.net.stream(object) else {
            return;
        };
        if stream.is_shut {
            return;
        }
        stream.is_shut = true;
        if let Some(to) = stream.peer {
            self.send(object, Delivery::End { to });
        }
    }

    /// A descriptor is closed; with the last one its object goes.
    pub fn close(&mut self, descriptor: c_int) {
        let Some(Descriptor { object, .. }) = self.net.descriptors.remove(&descriptor) else {
            return;
        };
        if let Some(thing) = self.net.objects.get_mut(&object) {
            thing.uses -= 1;
            if thing.uses == 0 {
                self.remove(object, false);
            }
        }
    }

    fn remove(&mut self, object: Object, is_killed: bool) {
        let Some(thing) = self.net.objects.get(&object) else {
            return;
        };
        let watchers = thing.watchers.clone();
        let mut orphans = VecDeque::new();
        match &thing.kind {
            Kind::Stream(stream) => {
                let rude = is_killed || !stream.received.is_empty();
                if let Some(to) = stream.peer {
                    let error = libc::ECONNRESET;
                    let end = match rude {
                        true => Delivery::Reset { to, error },
                        false => Delivery::End { to },
                    };
                    self.send(object, end);
                    if let Some(other) = self.net.stream(to) {
                        other.peer = None;
                    }
                }
            }
            Kind::Listener { address, backlog } => {
                orphans = backlog.clone();
                let address = *address;
                self.net.listeners.remove(&address);
            }
            Kind::Epoll { interests } => {
                let watched: Vec<Object> = interests.keys().copied().collect();
                for object in watched {
                    if let Some(thing) = self.net.objects.get_mut(&object) {
                        thing.watchers.remove(&object);
                    }
                }
            }
            Kind::Idle { .. } | Kind::Counter { .. } => {}
        }
        for watcher in watchers {
            if let Some(Thing {
                kind: Kind::Epoll { interests },
                ..
            }) = self.net.objects.get_mut(&watcher)
            {
                interests.remove(&object);
            }
        }
        self.net.objects.remove(&object);
        for orphan in orphans {
            self.remove(orphan, true);
        }
    }

    /// All that a killed process had.
    pub fn close_all(&mut self, process: Process) {
        let of_process = self
            .net
            .objects
            .iter()
            .filter(|(_, thing)| thing.process == process);
        let objects: Vec<Object> = of_process.map(|(object, _)| *object).collect();
        for object in &objects {
            self.remove(*object, true);
        }
        self.net.descriptors.retain(|_, d| !objects.contains(&d.object));
    }

    /// Where it goes from and to.
    fn ends(&mut self, delivery: &Delivery) -> Option<(Host, Host)> {
        let (object, is_sender) = match delivery {
            Delivery::Connect { from } => (*from, true),
            Delivery::Accepted { to }
            | Delivery::Bytes { to, .. }
            | Delivery::End { to }
            | Delivery::Reset { to, .. } => (*to, false),
        };
        let stream = self.net.stream(object)?;
        let (local, remote) = (stream.local.host, stream.remote.host);
        Some(match is_sender {
            true => (local, remote),
            false => (remote, local),
        })
    }

    pub fn deliver(&mut self, delivery: Delivery) {
        let Some((from, to)) = self.ends(&delivery) else {
            return;
        };
        if self.net.is_cut(from, to) {
            self.net.held.push((from, to, delivery));
            return;
        }
        match delivery {
            Delivery::Connect { from } => self.accept(from),
            Delivery::Accepted { to } => {
                if let Some(stream) = self.net.stream(to) {
                    stream.state = State::Open;
                    self.changed(to);
                }
            }
            Delivery::Bytes { to, bytes } => {
                self.mix_number(bytes.len() as u64);
                self.mix(&bytes);
                if let Some(stream) = self.net.stream(to) {
                    stream.received.extend(bytes);
                    self.changed(to);
                }
            }
            Delivery::End { to } => {
                if let Some(stream) = self.net.stream(to) {
                    stream.is_ended = true;
                    self.changed(to);
                }
            }
            Delivery::Reset { to, error } => {
                if let Some(stream) = self.net.stream(to) {
                    stream.state = State::Broken { error, told: false };
                    stream.received.clear();
                    self.changed(to);
                }
            }
        }
    }

    fn accept(&mut self, from: Object) {
        let Some(Stream { local, remote, .. }) = self.net.stream(from) else {
            return;
        };
        let (local, remote) = (*local, *remote);
        let Some(listener) = self.net.listeners.get(&remote).copied() else {
            let error = libc::ECONNREFUSED;
            return self.send(from, Delivery::Reset { to: from, error });
        };
        let process = self.net.objects[&listener].process;
        let accepted = self.net.add(
            process,
            Kind::Stream(Stream {
                local: remote,
                remote: local,
                peer: Some(from),
                state: State::Open,
                received: VecDeque::new(),
                is_ended: false,
                is_shut: false,
                unread: 0,
                last_arrival: 0,
            }),
        );
        if let Some(stream) = self.net.stream(from) {
            stream.peer = Some(accepted);
        }
        if let Some(Thing {
            kind: Kind::Listener { backlog, .. },
            ..
        }) = self.net.objects.get_mut(&listener)
        {
            backlog.push_back(accepted);
        }
        self.send(accepted, Delivery::Accepted { to: from });
        self.changed(listener);
    }

    fn cut(&mut self, a: Host, b: Host) {
        self.net.cuts.insert((a, b));
        self.net.cuts.insert((b, a));
    }

    fn heal(&mut self, a: Host, b: Host) {
        self.net.cuts.remove(&(a, b));
        self.net.cuts.remove(&(b, a));
        let is_meant = |(from, to): (Host, Host)| (from, to) == (a, b) || (from, to) == (b, a);
        let held = std::mem::take(&mut self.net.held);
        let (free, kept): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(from, to, _)| is_meant((*from, *to)));
        self.net.held = kept;
        let time = self.now + self.random.range(0..SENT_AGAIN);
        for (_, _, delivery) in free {
            // At one time they come in the order in which they are planned.
            self.deliver_at(time, delivery);
        }
    }

    /// Breaks all connections between two hosts.
    fn break_between(&mut self, a: Host, b: Host) {
        let mut broken = Vec::new();
        for (object, thing) in &self.net.objects {
            if let Kind::Stream(stream) = &thing.kind {
                let ends = (stream.local.host, stream.remote.host);
                if ends == (a, b) || ends == (b, a) {
                    broken.push(*object);
                }
            }
        }
        for to in broken {
            let time = self.now + self.random.range(0..MILLISECOND);
            let error = libc::ECONNRESET;
            self.deliver_at(time, Delivery::Reset { to, error });
        }
    }
}

impl Host {
    /// Nothing goes between the two from now on.
    pub fn cut(self, other: Host) {
        super::with(|kernel| kernel.cut(self, other));
    }

    pub fn heal(self, other: Host) {
        super::with(|kernel| kernel.heal(self, other));
    }

    pub fn break_connections(self, other: Host) {
        super::with(|kernel| kernel.break_between(self, other));
    }

    /// Whether something that is sent now arrives.
    pub fn reaches(self, other: Host) -> bool {
        super::with(|kernel| !kernel.net.is_cut(self, other))
    }
}
