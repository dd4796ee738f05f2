//! One live connection between two members: three streams each way, datagrams, and calls that wait
//! for their answer.

use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use quinn::{Connection, RecvStream, SendStream};
use quorate_crdt::NodeId;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::frame::{Deframer, Frame, Header};
use super::outbox::Outbox;
use super::reasons::CloseReason;
use crate::transport::{CallError, Class, DATAGRAM_BYTES_MAX, Inbound, Later};
use crate::wire::MESSAGE_BYTES_MAX;

/// The most chunks that one read takes from a stream.
const CHUNKS_PER_READ: usize = 32;
/// How long the other side may take to open its streams once TLS is done.
const ESTABLISH: Duration = Duration::from_secs(4);

/// The sending half of a connection, and the calls that its receiving half answers.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) connection: Connection,
    outboxes: [Outbox; 3],
    calls: DashMap<u64, oneshot::Sender<Bytes>>,
    next_call: AtomicU64,
}

/// The streams that this side sends on, by class.
pub(super) type Writers = Vec<(Class, SendStream)>;

/// The streams of a connection that are open when it counts as up.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) writers: Writers,
    pub(super) first: (Class, RecvStream),
}

/// Opens this side's streams.
pub(super) async fn open(connection: &Connection) -> Result<Writers, quinn::ConnectionError> {
    let opened = async {
        let mut writers = Vec::with_capacity(Class::ALL.len());
        for class in Class::ALL {
            let mut stream = connection.open_uni().await?;
            // These cannot fail on a new stream unless the connection is gone, which the next step
            // reports.
            let _gone = stream.set_priority(-(class as i32));
            let _gone = stream.write_all(&[class as u8]).await;
            writers.push((class, stream));
        }
        Ok(writers)
    };
    in_time(opened).await
}

/// Waits for the first stream of the other side. It proves that the other side has accepted this
/// side's key and wants the connection.
pub(super) async fn accept_first(
    connection: &Connection,
) -> Result<(Class, RecvStream), quinn::ConnectionError> {
    in_time(accept(connection)).await
}

async fn in_time<T>(
    step: impl Future<Output = Result<T, quinn::ConnectionError>>,
) -> Result<T, quinn::ConnectionError> {
    tokio::time::timeout(ESTABLISH, step)
        .await
        .unwrap_or(Err(quinn::ConnectionError::TimedOut))
}

/// The next stream that the other side opens, and its class.
async fn accept(connection: &Connection) -> Result<(Class, RecvStream), quinn::ConnectionError> {
    let mut stream = connection.accept_uni().await?;
    let mut class = [0];
    let read = stream.read_exact(&mut class).await;
    let found = Class::ALL
        .into_iter()
        .find(|known| *known as u8 == class[0]);
    if let (Ok(()), Some(class)) = (read, found) {
        return Ok((class, stream));
    }
    CloseReason::Violation.close(connection);
    Err(connection.closed().await)
}

impl Link {
    pub(super) fn new(node: NodeId, connection: Connection) -> Arc<Self> {
        let outboxes = core::array::from_fn(|_| Outbox::default());
        Arc::new(Self {
            node,
            connection,
            outboxes,
            calls: DashMap::new(),
            next_call: AtomicU64::new(0),
        })
    }

    pub(super) fn send(&self, class: Class, frame: Bytes) -> bool {
        self.outbox(class).push(Header::OneWay, frame)
    }

    pub(super) fn backlog(&self, class: Class) -> usize {
        self.outbox(class).backlog()
    }

    pub(super) fn datagram(&self, payload: Bytes) {
        if payload.len() <= DATAGRAM_BYTES_MAX {
            // A full buffer drops the oldest datagram, and a closed connection drops this one.
            // Datagrams may be lost.
            let _dropped = self.connection.send_datagram(payload);
        }
    }

    /// Sends the request at once; the answer may be awaited anywhere. Must be called inside the
    /// runtime whose timer is used.
    pub(super) fn call(
        self: Arc<Self>,
        request: Bytes,
        timeout: Duration,
    ) -> Later<Result<Bytes, CallError>> {
        let node = self.node;
        let bytes = request.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Box::pin(core::future::ready(Err(CallError::TooLarge { bytes })));
        }
        let (answer, answered) = oneshot::channel();
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        self.calls.insert(number, answer);
        let waiting = Waiting { link: self, number };
        if !waiting
            .link
            .outbox(Class::Control)
            .push(Header::Call(number), request)
        {
            let closed = waiting.link.connection.close_reason().is_some();
            let error = if closed {
                CallError::NotConnected(node)
            } else {
                CallError::Overloaded(node)
            };
            return Box::pin(core::future::ready(Err(error)));
        }
        let answered = tokio::time::timeout(timeout, answered);
        Box::pin(async move {
            let _forgotten_on_drop = waiting;
            match answered.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_link_is_down)) => Err(CallError::Disconnected(node)),
                Err(_elapsed) => Err(CallError::TimedOut {
                    node,
                    after: timeout,
                }),
            }
        })
    }

    /// Moves frames both ways until the connection ends for any reason. Afterwards none of its
    /// tasks is left, and all its calls have failed.
    pub(super) async fn run(
        self: Arc<Self>,
        streams: Streams,
        inbound: &Arc<dyn Inbound>,
    ) -> quinn::ConnectionError {
        let mut tasks = JoinSet::new();
        for (class, stream) in streams.writers {
            tasks.spawn(write(Arc::clone(&self), class, stream));
        }
        let (class, stream) = streams.first;
        tasks.spawn(Arc::clone(&self).read(class, stream, Arc::clone(inbound)));
        tasks.spawn(read_datagrams(Arc::clone(&self), Arc::clone(inbound)));
        for _later in 1..Class::ALL.len() {
            let (link, inbound) = (Arc::clone(&self), Arc::clone(inbound));
            tasks.spawn(async move {
                if let Ok((class, stream)) = accept(&link.connection).await {
                    link.read(class, stream, inbound).await;
                }
            });
        }
        // The streams of a healthy connection never end, so the first task that ends also ends the
        // connection.
        let _first = tasks.join_next().await;
        CloseReason::StreamEnded.close(&self.connection);
        tasks.shutdown().await;
        self.outboxes.iter().for_each(Outbox::close);
        self.calls.clear();
        self.connection.closed().await
    }

    async fn read(
        self: Arc<Self>,
        class: Class,
        mut stream: RecvStream,
        inbound: Arc<dyn Inbound>,
    ) {
        let mut deframer = Deframer::default();
        let mut chunks = vec![Bytes::new(); CHUNKS_PER_READ];
        while let Ok(Some(count)) = stream.read_chunks(&mut chunks).await {
            for chunk in &mut chunks[..count] {
                deframer.push(&core::mem::take(chunk));
            }
            if self.deliver(class, &mut deframer, &inbound).is_err() {
                CloseReason::Violation.close(&self.connection);
                return;
            }
        }
    }

    fn deliver(
        self: &Arc<Self>,
        class: Class,
        deframer: &mut Deframer,
        inbound: &Arc<dyn Inbound>,
    ) -> Result<(), super::frame::Violation> {
        let mut frames = Vec::new();
        while let Some(frame) = deframer.next()? {
            match frame {
                Frame::OneWay(body) => frames.push(body),
                Frame::Call(number, request) => {
                    if !frames.is_empty() {
                        inbound.frames(self.node, class, core::mem::take(&mut frames));
                    }
                    self.answer(number, inbound.call(self.node, request));
                }
                Frame::Answer(number, answer) => {
                    if let Some((_, waiting)) = self.calls.remove(&number) {
                        // Fails if the caller has stopped waiting.
                        let _nobody = waiting.send(answer);
                    }
                }
            }
        }
        if !frames.is_empty() {
            inbound.frames(self.node, class, frames);
        }
        Ok(())
    }

    fn answer(self: &Arc<Self>, number: u64, reply: Later<Bytes>) {
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let answer = reply.await;
            if !link
                .outbox(Class::Control)
                .push(Header::Answer(number), answer)
            {
                tracing::debug!(node = %link.node, number, "an answer could not be queued");
            }
        });
    }

    fn outbox(&self, class: Class) -> &Outbox {
        &self.outboxes[class as usize]
    }
}

/// A call that waits for its answer. Dropping it forgets the call.
struct Waiting {
    link: Arc<Link>,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.link.calls.remove(&self.number);
    }
}

async fn write(link: Arc<Link>, class: Class, mut stream: SendStream) {
    let outbox = link.outbox(class);
    while let Some((mut chunks, bytes)) = outbox.take().await {
        if stream.write_all_chunks(&mut chunks).await.is_err() {
            return;
        }
        outbox.written(bytes);
    }
}

async fn read_datagrams(link: Arc<Link>, inbound: Arc<dyn Inbound>) {
    while let Ok(payload) = link.connection.read_datagram().await {
        inbound.datagram(link.node, payload);
    }
}
