//! The reading side: connections that other TaskManagers have opened to this one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use millrace_connector_api::Waker;
use millrace_runtime::channel::{Inlet, Receiver, inlet};
use millrace_runtime::wire::Wire;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::protocol::{HELLO, ToReader, ToWriter, damaged};
use super::{AttemptId, ChannelId};
use crate::tls::{Listener, Stream};

const BUFFER: usize = 1 << 17;

/// Which channels are read in this process, and which ones writers have asked for.
#[derive(Default)]
pub struct Directory {
    channels: Mutex<HashMap<ChannelId, Entry>>,
}

#[derive(Default)]
struct Entry {
    reader: Option<Reader>,
    writer: Option<Writer>,
}

struct Reader {
    inlet: Arc<Inlet>,
    capacity: usize,
    /// Where word of what is free goes, once there is a writer.
    credit: Arc<OnceLock<Writer>>,
}

/// A channel by its number on a connection.
#[derive(Clone)]
struct Writer {
    number: u32,
    answers: UnboundedSender<ToWriter>,
}

impl Entry {
    /// Both ends are there: the writer may begin.
    fn join(&self) {
        if let (Some(reader), Some(writer)) = (&self.reader, &self.writer)
            && reader.credit.set(writer.clone()).is_ok()
        {
            let _ = writer.answers.send(ToWriter::Opened {
                number: writer.number,
                capacity: reader.capacity as u64,
            });
        }
    }
}

impl Directory {
    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Entry>> {
        self.channels.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn register(&self, channel: ChannelId, capacity: usize, wire: Wire, waker: Waker) -> Receiver {
        let credit = Arc::new(OnceLock::<Writer>::new());
        let to = credit.clone();
        let freed = Box::new(move |size| {
            if let Some(Writer { number, answers }) = to.get() {
                let _ = answers.send(ToWriter::Freed {
                    number: *number,
                    size,
                });
            }
        });
        let (inlet, receiver) = inlet(capacity, wire, waker, freed);
        let mut channels = self.channels();
        let entry = channels.entry(channel).or_default();
        entry.reader = Some(Reader {
            inlet: Arc::new(inlet),
            capacity,
            credit,
        });
        entry.join();
        receiver
    }

    /// False, where a writer has the channel already.
    fn open(&self, channel: ChannelId, writer: Writer) -> bool {
        let mut channels = self.channels();
        let entry = channels.entry(channel).or_default();
        if entry.writer.is_some() {
            return false;
        }
        entry.writer = Some(writer);
        entry.join();
        true
    }

    fn inlet(&self, channel: &ChannelId) -> Option<Arc<Inlet>> {
        let channels = self.channels();
        let reader = channels.get(channel)?.reader.as_ref()?;
        Some(reader.inlet.clone())
    }

    /// The writer's connection is gone.
    fn close(&self, channel: &ChannelId, why: &Arc<str>) {
        if let Some(Reader { inlet, .. }) = self.channels().remove(channel).and_then(|entry| entry.reader) {
            inlet.fail(why.clone());
        }
    }

    pub fn forget(&self, attempt: AttemptId) {
        self.channels().retain(|channel, _| channel.attempt != attempt);
    }
}

/// Takes connections for as long as the process lives.
pub async fn accept(mut listener: Listener, directory: Arc<Directory>) {
    loop {
        let (stream, peer) = listener.accept().await;
        let directory = directory.clone();
        tokio::spawn(async move {
            let peer = peer.to_string();
            match stream {
                Stream::Plain(tcp) => {
                    let (read, write) = tcp.into_split();
                    serve(read, write, &peer, &directory).await;
                }
                tls @ Stream::Tls(_) => {
                    let (read, write) = tokio::io::split(tls);
                    serve(read, write, &peer, &directory).await;
                }
            }
        });
    }
}

async fn serve(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin + Send + 'static,
    peer: &str,
    directory: &Directory,
) {
    let (answers, queue) = unbounded_channel();
    let answering = tokio::spawn(answer(write, queue));
    let mut channels = HashMap::new();
    let outcome = receive(
        BufReader::with_capacity(BUFFER, read),
        &answers,
        &mut channels,
        directory,
    )
    .await;
    let why: Arc<str> = match outcome {
        Ok(()) => format!("{peer} has closed it").into(),
        Err(error) => format!("{peer}: {error}").into(),
    };
    for (channel, _) in channels.values() {
        directory.close(channel, &why);
    }
    answering.abort();
}

/// By their numbers, channels and where their elements go.
type Channels = HashMap<u32, (ChannelId, Option<Arc<Inlet>>)>;

async fn receive(
    mut from: impl AsyncRead + Unpin,
    answers: &UnboundedSender<ToWriter>,
    channels: &mut Channels,
    directory: &Directory,
) -> std::io::Result<()> {
    let mut hello = [0; HELLO.len()];
    from.read_exact(&mut hello).await?;
    if hello != HELLO {
        return Err(damaged("it is no TaskManager of this release"));
    }
    while let Some(message) = ToReader::read(&mut from).await? {
        match message {
            ToReader::Open { number, channel } => {
                let writer = Writer {
                    number,
                    answers: answers.clone(),
                };
                if !directory.open(channel, writer) {
                    return Err(damaged("it asks for a channel that has a writer"));
                }
                channels.insert(number, (channel, None));
            }
            ToReader::Element { number, size, frame } => {
                let (channel, inlet) = channels
                    .get_mut(&number)
                    .ok_or_else(|| damaged("it sends on a channel that it has not opened"))?;
                if inlet.is_none() {
                    *inlet = directory.inlet(channel);
                }
                // Without one the reader is gone, and the attempt with it.
                if let Some(inlet) = inlet {
                    inlet.put(frame, size);
                }
            }
        }
    }
    Ok(())
}

async fn answer(to: impl AsyncWrite + Unpin, mut queue: UnboundedReceiver<ToWriter>) -> std::io::Result<()> {
    let mut to = BufWriter::new(to);
    while let Some(message) = queue.recv().await {
        message.write(&mut to).await?;
        while let Ok(message) = queue.try_recv() {
            message.write(&mut to).await?;
        }
        to.flush().await?;
    }
    Ok(())
}
