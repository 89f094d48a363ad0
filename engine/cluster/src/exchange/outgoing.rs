//! The writing side: a connection to another TaskManager, and the outlets that send over it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use millrace_connector_api::Waker;
use millrace_core::Result;
use millrace_runtime::Element;
use millrace_runtime::channel::{Outlet, Sender, Size, lost};
use millrace_runtime::wire::Wire;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ChannelId;
use super::protocol::{HELLO, ToReader, ToWriter, damaged};

/// For a connection to be made.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 1 << 17;

/// A connection of one deployment to one other TaskManager. It is closed once this and its outlets are gone.
pub struct Outgoing {
    messages: UnboundedSender<ToReader>,
    channels: Arc<Mutex<Channels>>,
}

#[derive(Default)]
struct Channels {
    credits: Vec<Arc<Credit>>,
    broken: Option<Arc<str>>,
}

impl Outgoing {
    pub fn connect(peer: &str, runtime: &Handle) -> Outgoing {
        let (messages, queue) = unbounded_channel();
        let channels = Arc::new(Mutex::new(Channels::default()));
        let outgoing = Outgoing {
            messages: messages.clone(),
            channels: channels.clone(),
        };
        let peer = peer.to_owned();
        // What is waiting for credit is sent by who learns of the credit; that must not keep the connection.
        let messages = messages.downgrade();
        runtime.spawn(async move {
            let why = match converse(&peer, queue, messages, &channels).await {
                Ok(()) => format!("{peer} has closed it"),
                Err(error) => format!("{peer}: {error}"),
            };
            let why: Arc<str> = why.into();
            let mut channels = lock(&channels);
            channels.broken = Some(why.clone());
            channels
                .credits
                .iter()
                .for_each(|credit| credit.fail(why.clone()));
        });
        outgoing
    }

    /// The writing end of a channel.
    pub fn sender(&self, channel: ChannelId, wire: Wire, writer: Waker) -> Sender {
        let credit = Arc::new(Credit {
            state: Mutex::default(),
            writer,
        });
        let mut channels = lock(&self.channels);
        let number = channels.credits.len() as u32;
        channels.credits.push(credit.clone());
        if let Some(why) = &channels.broken {
            credit.fail(why.clone());
        }
        let _ = self.messages.send(ToReader::Open { number, channel });
        let outlet: Box<dyn Outlet> = Box::new(Remote {
            number,
            wire,
            credit,
            messages: self.messages.clone(),
        });
        outlet.into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// What may be sent on a channel.
struct Credit {
    state: Mutex<State>,
    writer: Waker,
}

#[derive(Default)]
struct State {
    /// None until the reader is there.
    capacity: Option<usize>,
    /// Elements that are no batches and came before the reader.
    early: Vec<(Size, Vec<u8>)>,
    on_its_way: Size,
    refused: bool,
    broken: Option<Arc<str>>,
}

impl Credit {
    fn fail(&self, why: Arc<str>) {
        lock(&self.state).broken = Some(why);
        self.writer.wake();
    }

    /// The reader is there; gives what came before it. Under the lock: nothing may overtake that.
    fn opened(&self, capacity: usize, early: impl Fn(Size, Vec<u8>)) {
        let mut state = lock(&self.state);
        state.capacity = Some(capacity);
        for (size, frame) in std::mem::take(&mut state.early) {
            early(size, frame);
        }
        state.refused = false;
        drop(state);
        self.writer.wake();
    }

    fn freed(&self, size: Size) {
        let mut state = lock(&self.state);
        state.on_its_way.bytes = state.on_its_way.bytes.saturating_sub(size.bytes);
        state.on_its_way.rows = state.on_its_way.rows.saturating_sub(size.rows);
        let capacity = state.capacity.unwrap_or(0);
        let wakes = state.refused && state.on_its_way.is_half_empty(capacity);
        state.refused &= !wakes;
        drop(state);
        if wakes {
            self.writer.wake();
        }
    }
}

struct Remote {
    number: u32,
    wire: Wire,
    credit: Arc<Credit>,
    messages: UnboundedSender<ToReader>,
}

impl Outlet for Remote {
    fn has_room(&self) -> bool {
        let mut state = lock(&self.credit.state);
        let has = state.broken.is_some()
            || state
                .capacity
                .is_some_and(|capacity| state.on_its_way.has_room(capacity));
        state.refused = !has;
        has
    }

    fn send(&self, element: &Element) -> Result<()> {
        let size = Size::of(element);
        let frame = self.wire.encode(element)?;
        let mut state = lock(&self.credit.state);
        if let Some(why) = &state.broken {
            return Err(lost(why));
        }
        state.on_its_way += size;
        if state.capacity.is_none() {
            state.early.push((size, frame));
            return Ok(());
        }
        let _ = self.messages.send(ToReader::Element {
            number: self.number,
            size,
            frame,
        });
        Ok(())
    }

    fn queued(&self) -> Size {
        lock(&self.credit.state).on_its_way
    }

    fn capacity(&self) -> usize {
        lock(&self.credit.state).capacity.unwrap_or(0)
    }
}

/// Ends well only with the last outlet.
async fn converse(
    peer: &str,
    queue: UnboundedReceiver<ToReader>,
    messages: tokio::sync::mpsc::WeakUnboundedSender<ToReader>,
    channels: &Arc<Mutex<Channels>>,
) -> std::io::Result<()> {
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(peer))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    tokio::select! {
        outcome = send(write, queue) => outcome,
        outcome = hear(BufReader::new(read), messages, channels) => outcome,
    }
}

async fn send(to: impl AsyncWrite + Unpin, mut queue: UnboundedReceiver<ToReader>) -> std::io::Result<()> {
    let mut to = BufWriter::with_capacity(BUFFER, to);
    to.write_all(&HELLO).await?;
    while let Some(message) = queue.recv().await {
        message.write(&mut to).await?;
        while let Ok(message) = queue.try_recv() {
            message.write(&mut to).await?;
        }
        to.flush().await?;
    }
    to.shutdown().await
}

async fn hear(
    mut from: impl AsyncRead + Unpin,
    messages: tokio::sync::mpsc::WeakUnboundedSender<ToReader>,
    channels: &Arc<Mutex<Channels>>,
) -> std::io::Result<()> {
    let credit = |number: u32| {
        let credit = lock(channels).credits.get(number as usize).cloned();
        credit.ok_or_else(|| damaged("it speaks of a channel that is not there"))
    };
    while let Some(message) = ToWriter::read(&mut from).await? {
        match message {
            ToWriter::Opened { number, capacity } => {
                credit(number)?.opened(capacity as usize, |size, frame| {
                    if let Some(messages) = messages.upgrade() {
                        let _ = messages.send(ToReader::Element { number, size, frame });
                    }
                });
            }
            ToWriter::Freed { number, size } => credit(number)?.freed(size),
        }
    }
    Ok(())
}
