//! The edge between two subtasks: a queue bounded by the bytes that wait in it. Of two subtasks in one process the
//! writer appends to the reader's queue; in two, bytes go between them, and the reader's queue gives the writer credit
//! for what it may have on its way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use millrace_connector_api::Waker;
use millrace_core::{Error, Result};

use crate::element::Element;
use crate::metrics::Counter;
use crate::wire::Wire;

struct Shared {
    queue: Mutex<Queue>,
    capacity: usize,
    reader: Waker,
    /// Of a writer in this process.
    writer: Waker,
    sent: Carried,
    received: Carried,
}

/// What has gone through one end of a channel.
#[derive(Debug, Default)]
struct Carried {
    bytes: Counter,
    elements: Counter,
}

impl Carried {
    fn count(&self, size: Size) {
        self.bytes.add(size.bytes as u64);
        self.elements.add(1);
    }
}

/// Rows that wait at most: of narrow rows the bytes allowed are so many that a barrier behind them would
/// come late.
const MOST_ROWS: usize = 1 << 16;

#[derive(Default)]
struct Queue {
    items: VecDeque<(Size, Item)>,
    waiting: Size,
    /// The writer has asked for room and there was none.
    refused: bool,
    closed: bool,
    /// Why nothing more comes: the writer's process is gone.
    broken: Option<Arc<str>>,
}

enum Item {
    Element(Element),
    /// An element as it came from another process.
    Frame(Vec<u8>),
}

/// What batches take up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: usize,
    pub rows: usize,
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        self.bytes += other.bytes;
        self.rows += other.rows;
    }
}

impl std::ops::SubAssign for Size {
    fn sub_assign(&mut self, other: Size) {
        self.bytes -= other.bytes;
        self.rows -= other.rows;
    }
}

impl Size {
    pub fn of(element: &Element) -> Size {
        let bytes = match element {
            Element::Batch(batch) => batch.change.bytes().max(1),
            _ => 0,
        };
        Size {
            bytes,
            rows: element.rows(),
        }
    }

    /// So much is free of a channel of this capacity that it is worth a word to its writer: for room of one batch
    /// two threads would wake each other batch by batch.
    pub fn is_half_empty(self, capacity: usize) -> bool {
        self.bytes <= capacity / 2 && self.rows <= MOST_ROWS / 2
    }

    /// Whether another batch may join what waits.
    pub fn has_room(self, capacity: usize) -> bool {
        self.bytes < capacity && self.rows < MOST_ROWS
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A channel that has room as long as less than `capacity` bytes of batches, and not too many rows, wait in it. Elements
/// that are not batches always fit: a barrier must not wait for room.
pub fn channel(capacity: usize, writer: Waker, reader: Waker) -> (Sender, Receiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        capacity,
        reader,
        writer,
        sent: Carried::default(),
        received: Carried::default(),
    });
    (
        Sender(Way::Local(shared.clone())),
        Receiver { shared, remote: None },
    )
}

/// The reading end of a channel whose writer is in another process. What comes is put in by the inlet; `freed` is
/// told of what the reader has taken out, each time that half of the capacity is free.
pub fn inlet(capacity: usize, wire: Wire, reader: Waker, freed: Freed) -> (Inlet, Receiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        capacity,
        reader,
        writer: Waker::default(),
        sent: Carried::default(),
        received: Carried::default(),
    });
    let remote = Remote {
        wire,
        taken: Size::default(),
        freed,
    };
    (
        Inlet(shared.clone()),
        Receiver {
            shared,
            remote: Some(remote),
        },
    )
}

/// Takes word of what was taken out of a channel; must not block.
pub type Freed = Box<dyn Fn(Size) + Send>;

pub struct Sender(Way);

enum Way {
    Local(Arc<Shared>),
    Remote(Arc<Outward>),
}

struct Outward {
    outlet: Box<dyn Outlet>,
    sent: Carried,
}

/// The way to a reader in another process.
pub trait Outlet: Send + Sync {
    /// Whether there is credit for a batch; if not, the subtask is woken when there is. A broken way has room: to send
    /// is what says so.
    fn has_room(&self) -> bool;

    /// Must not block. Fails once the other process is gone.
    fn send(&self, element: &Element) -> Result<()>;

    /// What is on its way and not taken out.
    fn queued(&self) -> Size;

    /// Bytes that have room in the channel; 0 as long as it is not known.
    fn capacity(&self) -> usize;
}

impl From<Box<dyn Outlet>> for Sender {
    fn from(outlet: Box<dyn Outlet>) -> Self {
        Sender(Way::Remote(Arc::new(Outward {
            outlet,
            sent: Carried::default(),
        })))
    }
}

impl Sender {
    pub fn has_room(&self) -> bool {
        match &self.0 {
            Way::Local(shared) => {
                let mut queue = shared.queue();
                queue.refused = !queue.waiting.has_room(shared.capacity) && !queue.closed;
                !queue.refused
            }
            Way::Remote(outward) => outward.outlet.has_room(),
        }
    }

    /// Appends an element; the caller has asked for room before. Without a reader in this process it is dropped:
    /// the reader has failed, and with it the attempt.
    pub fn send(&self, element: Element) -> Result<()> {
        match &self.0 {
            Way::Local(shared) => {
                let size = Size::of(&element);
                let mut queue = shared.queue();
                if queue.closed {
                    return Ok(());
                }
                queue.waiting += size;
                queue.items.push_back((size, Item::Element(element)));
                drop(queue);
                shared.sent.count(size);
                shared.reader.wake();
                Ok(())
            }
            Way::Remote(outward) => {
                outward.outlet.send(&element)?;
                outward.sent.count(Size::of(&element));
                Ok(())
            }
        }
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.probe().waiting().bytes
    }

    pub fn probe(&self) -> Probe {
        Probe(match &self.0 {
            Way::Local(shared) => Seen::Sent(shared.clone()),
            Way::Remote(outward) => Seen::Outward(outward.clone()),
        })
    }
}

const LOST: &str = "the connection to another TaskManager is lost";

/// What a subtask fails with that can no longer reach one in another process.
pub fn lost(why: &str) -> Error {
    Error::external(LOST).with_detail(why)
}

/// Whether that is what an error says: something happened at the other end.
pub fn is_lost(error: &Error) -> bool {
    error.message() == LOST
}

/// Where what comes from another process is put in.
pub struct Inlet(Arc<Shared>);

impl Inlet {
    /// A frame of an element, of the size that its writer has counted.
    pub fn put(&self, frame: Vec<u8>, size: Size) {
        let mut queue = self.0.queue();
        if queue.closed {
            return;
        }
        queue.waiting += size;
        queue.items.push_back((size, Item::Frame(frame)));
        drop(queue);
        self.0.reader.wake();
    }

    /// The writer's process is gone; the reader is told once it has taken all that came before.
    pub fn fail(&self, why: Arc<str>) {
        self.0.queue().broken = Some(why);
        self.0.reader.wake();
    }
}

pub struct Receiver {
    shared: Arc<Shared>,
    remote: Option<Remote>,
}

/// Of a channel whose writer is in another process.
struct Remote {
    wire: Wire,
    /// Since its writer was told last.
    taken: Size,
    freed: Freed,
}

impl Receiver {
    /// The next element, if one is there. Fails for one that cannot be read, and where none can come any more.
    pub fn try_receive(&mut self) -> Result<Option<Element>> {
        let mut queue = self.shared.queue();
        let Some((size, item)) = queue.items.pop_front() else {
            return match &queue.broken {
                None => Ok(None),
                Some(why) => Err(lost(why)),
            };
        };
        queue.waiting -= size;
        let waiting = queue.waiting;
        self.shared.received.count(size);
        let wakes = queue.refused && waiting.is_half_empty(self.shared.capacity);
        queue.refused &= !wakes;
        drop(queue);
        if wakes {
            self.shared.writer.wake();
        }
        if let Some(remote) = &mut self.remote {
            remote.taken += size;
            if remote.taken != Size::default() && waiting.is_half_empty(self.shared.capacity) {
                (remote.freed)(std::mem::take(&mut remote.taken));
            }
        }
        match (item, &self.remote) {
            (Item::Element(element), _) => Ok(Some(element)),
            (Item::Frame(frame), Some(remote)) => remote.wire.decode(&frame).map(Some),
            (Item::Frame(_), None) => Err(Error::internal("a channel within a process got bytes")),
        }
    }
}

impl Receiver {
    pub fn probe(&self) -> Probe {
        Probe(Seen::Received(
            self.shared.clone(),
            match self.remote {
                None => Origin::Here,
                Some(_) => Origin::Elsewhere,
            },
        ))
    }
}

/// One end of a channel as metrics see it. It stays when the channel is gone.
pub struct Probe(Seen);

enum Seen {
    Received(Arc<Shared>, Origin),
    Sent(Arc<Shared>),
    Outward(Arc<Outward>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Elsewhere,
}

/// What waits in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub elements: usize,
    pub bytes: usize,
    /// Bytes that have room.
    pub capacity: usize,
}

impl Probe {
    /// Whether the other end is in another process.
    pub fn is_remote(&self) -> bool {
        matches!(self.0, Seen::Received(_, Origin::Elsewhere) | Seen::Outward(_))
    }

    fn carried(&self) -> &Carried {
        match &self.0 {
            Seen::Received(shared, _) => &shared.received,
            Seen::Sent(shared) => &shared.sent,
            Seen::Outward(outward) => &outward.sent,
        }
    }

    /// Those that have gone through this end.
    pub fn bytes(&self) -> u64 {
        self.carried().bytes.get()
    }

    pub fn elements(&self) -> u64 {
        self.carried().elements.get()
    }

    pub fn waiting(&self) -> Waiting {
        match &self.0 {
            Seen::Received(shared, _) | Seen::Sent(shared) => {
                let queue = shared.queue();
                Waiting {
                    elements: queue.items.len(),
                    bytes: queue.waiting.bytes,
                    capacity: shared.capacity,
                }
            }
            Seen::Outward(outward) => {
                let bytes = outward.outlet.queued().bytes;
                // The reader says how many bytes it has taken, not in how many elements they were.
                let each = self.bytes() as f64 / self.elements().max(1) as f64;
                Waiting {
                    elements: (bytes as f64 / each.max(1.0)).ceil() as usize,
                    bytes,
                    capacity: outward.outlet.capacity(),
                }
            }
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Probe").field(&self.waiting()).finish()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.items.clear();
        queue.waiting = Size::default();
        drop(queue);
        self.shared.writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc as StdArc;

    use arrow::array::Int64Array;
    use arrow::record_batch::RecordBatch;
    use millrace_connector_api::ChangeBatch;

    use super::*;

    fn batch(rows: i64) -> Element {
        let column: arrow::array::ArrayRef = StdArc::new((0..rows).collect::<Int64Array>());
        Element::Batch(ChangeBatch::inserts(RecordBatch::try_from_iter([("a", column)]).unwrap()).into())
    }

    #[test]
    fn a_full_channel_has_room_again_when_it_is_read() {
        let (sender, mut receiver) = channel(1000, Waker::default(), Waker::default());
        sender.send(batch(500)).unwrap();
        assert!(!sender.has_room());
        sender.send(Element::EndOfInput).unwrap();
        assert!(matches!(receiver.try_receive().unwrap(), Some(Element::Batch(_))));
        assert!(sender.has_room());
        assert!(matches!(
            receiver.try_receive().unwrap(),
            Some(Element::EndOfInput)
        ));
        assert!(receiver.try_receive().unwrap().is_none());
    }

    #[test]
    fn probes_count_what_goes_through_and_what_waits() {
        let (sender, mut receiver) = channel(1000, Waker::default(), Waker::default());
        let (sent, received) = (sender.probe(), receiver.probe());
        sender.send(batch(50)).unwrap();
        sender.send(Element::EndOfInput).unwrap();
        assert_eq!((sent.elements(), received.elements()), (2, 0));
        assert_eq!((sent.waiting().elements, received.waiting().capacity), (2, 1000));
        assert!(sent.bytes() > 0 && sent.waiting().bytes == sent.bytes() as usize);
        receiver.try_receive().unwrap();
        assert_eq!((received.bytes(), received.waiting().bytes), (sent.bytes(), 0));
        drop(receiver);
        assert_eq!((received.elements(), received.waiting().elements), (1, 0));
        assert!(!received.is_remote());
    }

    #[test]
    fn a_gone_reader_does_not_hold_its_writer() {
        let (sender, receiver) = channel(10, Waker::default(), Waker::default());
        sender.send(batch(500)).unwrap();
        assert!(!sender.has_room());
        drop(receiver);
        assert!(sender.has_room());
    }
}
