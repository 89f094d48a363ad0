//! The edge between two subtasks of one process: a queue bounded by the bytes that wait in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use millrace_connector_api::Waker;

use crate::element::Element;

struct Shared {
    queue: Mutex<Queue>,
    capacity: usize,
    reader: Waker,
    writer: Waker,
}

/// Rows that wait at most: of narrow rows the bytes allowed are so many that a barrier behind them would
/// come late.
const MOST_ROWS: usize = 1 << 16;

#[derive(Default)]
struct Queue {
    elements: VecDeque<(Size, Element)>,
    waiting: Size,
    /// The writer has asked for room and there was none.
    refused: bool,
    closed: bool,
}

/// Of batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub bytes: usize,
    pub rows: usize,
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        self.bytes += other.bytes;
        self.rows += other.rows;
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

    fn is_half_empty(self, capacity: usize) -> bool {
        self.bytes <= capacity / 2 && self.rows <= MOST_ROWS / 2
    }

    fn has_room(self, capacity: usize) -> bool {
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
    });
    (Sender(shared.clone()), Receiver(shared))
}

pub struct Sender(Arc<Shared>);

impl Sender {
    pub fn has_room(&self) -> bool {
        let mut queue = self.0.queue();
        queue.refused = !queue.waiting.has_room(self.0.capacity) && !queue.closed;
        !queue.refused
    }

    /// Appends an element; the caller has asked for room before. Without a reader it is dropped:
    /// the reader has failed, and with it the attempt.
    pub fn send(&self, element: Element) {
        let size = Size::of(&element);
        let mut queue = self.0.queue();
        if queue.closed {
            return;
        }
        queue.waiting += size;
        queue.elements.push_back((size, element));
        drop(queue);
        self.0.reader.wake();
    }

    /// Bytes that wait, for the metrics of buffers.
    pub fn queued_bytes(&self) -> usize {
        self.0.queue().waiting.bytes
    }
}

pub struct Receiver(Arc<Shared>);

impl Receiver {
    pub fn try_receive(&mut self) -> Option<Element> {
        let mut queue = self.0.queue();
        let (size, element) = queue.elements.pop_front()?;
        queue.waiting.bytes -= size.bytes;
        queue.waiting.rows -= size.rows;
        // For room of one batch the two threads would wake each other batch by batch.
        let wakes = queue.refused && queue.waiting.is_half_empty(self.0.capacity);
        queue.refused &= !wakes;
        drop(queue);
        if wakes {
            self.0.writer.wake();
        }
        Some(element)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        queue.elements.clear();
        queue.waiting = Size::default();
        drop(queue);
        self.0.writer.wake();
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
        sender.send(batch(500));
        assert!(!sender.has_room());
        sender.send(Element::EndOfInput);
        assert!(matches!(receiver.try_receive(), Some(Element::Batch(_))));
        assert!(sender.has_room());
        assert!(matches!(receiver.try_receive(), Some(Element::EndOfInput)));
        assert!(receiver.try_receive().is_none());
    }

    #[test]
    fn a_gone_reader_does_not_hold_its_writer() {
        let (sender, receiver) = channel(10, Waker::default(), Waker::default());
        sender.send(batch(500));
        assert!(!sender.has_room());
        drop(receiver);
        assert!(sender.has_room());
    }
}
