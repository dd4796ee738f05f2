//! A wide-area network on one machine: delays and cuts between UDP addresses. They act below QUIC,
//! so everything above is real.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many delayed datagrams the links of one socket hold at most. Further ones are dropped, as a
/// router drops what its queue cannot hold. A guess.
const DELAYED_MAX: usize = 16 * 1024;

/// What happens to datagrams on the way from one address to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// How much later they arrive. If both directions have the same delay, it is half of what they
    /// add to the round trip.
    pub delay: Duration,
    /// Whether they are lost, including those in flight.
    pub cut: bool,
}

/// The links of all shaped endpoints of a process, by (from, to). They may change at any time. A
/// link that is not set is unshaped.
///
/// The addresses are those that endpoints listen on. An endpoint also dials from its address,
/// unless it listens on the unspecified one.
#[derive(Debug, Default)]
pub struct LinkShape {
    links: DashMap<(SocketAddr, SocketAddr), LinkState>,
}

impl LinkShape {
    /// A network in which no link is shaped.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Sets the state of one direction.
    pub fn set(&self, from: SocketAddr, to: SocketAddr, state: LinkState) {
        self.links.insert((from, to), state);
    }

    /// Changes the state of one direction; `change` sees the present one.
    pub fn update(&self, from: SocketAddr, to: SocketAddr, change: impl FnOnce(&mut LinkState)) {
        change(&mut self.links.entry((from, to)).or_default());
    }

    /// The state of one direction.
    pub fn get(&self, from: SocketAddr, to: SocketAddr) -> LinkState {
        self.links
            .get(&(from, to))
            .map(|state| *state)
            .unwrap_or_default()
    }
}

/// A datagram that is being delayed.
struct Delayed {
    due: Instant,
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    contents: Box<[u8]>,
}

/// The socket of a shaped endpoint.
pub(super) struct ShapedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    shape: Arc<LinkShape>,
    local: SocketAddr,
    delayed: mpsc::Sender<Delayed>,
}

impl ShapedSocket {
    /// Wraps `inner`. Must be called inside a tokio runtime; the socket's task ends with it.
    pub(super) fn wrap(
        inner: Arc<dyn AsyncUdpSocket>,
        shape: Arc<LinkShape>,
    ) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = inner.local_addr()?;
        let (delayed, queue) = mpsc::channel(DELAYED_MAX);
        tokio::spawn(deliver_when_due(
            Arc::clone(&inner),
            Arc::clone(&shape),
            local,
            queue,
        ));
        Ok(Arc::new(Self {
            inner,
            shape,
            local,
            delayed,
        }))
    }
}

impl fmt::Debug for ShapedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShapedSocket")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for ShapedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let link = self.shape.get(self.local, transmit.destination);
        if link.cut {
            return Ok(());
        }
        if link.delay.is_zero() {
            return self.inner.try_send(transmit);
        }
        let due = Instant::now() + link.delay;
        let delayed = Delayed {
            due,
            destination: transmit.destination,
            ecn: transmit.ecn,
            contents: transmit.contents.into(),
        };
        // If the queue is full the datagram is lost, as in a network.
        let _lost = self.delayed.try_send(delayed);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    // One datagram per transmit (the default of `max_transmit_segments`), so each is delayed or
    // lost on its own.

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Holds datagrams until they are due. Datagrams with equal delays keep their order.
async fn deliver_when_due(
    socket: Arc<dyn AsyncUdpSocket>,
    shape: Arc<LinkShape>,
    local: SocketAddr,
    mut queue: mpsc::Receiver<Delayed>,
) {
    let mut waiting: BTreeMap<(Instant, u64), Delayed> = BTreeMap::new();
    let mut arrivals = 0;
    loop {
        let next = waiting.keys().next().map(|(due, _)| *due);
        let arrived = match next {
            None => queue.recv().await,
            Some(due) => tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => {
                    send_due(&socket, &shape, local, &mut waiting).await;
                    continue;
                }
                arrived = queue.recv() => arrived,
            },
        };
        let Some(delayed) = arrived else { return };
        if waiting.len() < DELAYED_MAX {
            arrivals += 1;
            waiting.insert((delayed.due, arrivals), delayed);
        }
    }
}

async fn send_due(
    socket: &Arc<dyn AsyncUdpSocket>,
    shape: &LinkShape,
    local: SocketAddr,
    waiting: &mut BTreeMap<(Instant, u64), Delayed>,
) {
    let now = Instant::now();
    while let Some(entry) = waiting.first_entry()
        && entry.key().0 <= now
    {
        let Delayed {
            destination,
            ecn,
            contents,
            ..
        } = entry.remove();
        if shape.get(local, destination).cut {
            continue;
        }
        let transmit = Transmit {
            destination,
            ecn,
            contents: &contents,
            segment_size: None,
            src_ip: None,
        };
        while let Err(error) = socket.try_send(&transmit) {
            if error.kind() != io::ErrorKind::WouldBlock {
                break;
            }
            let mut poller = Arc::clone(socket).create_io_poller();
            if core::future::poll_fn(|cx| poller.as_mut().poll_writable(cx))
                .await
                .is_err()
            {
                break;
            }
        }
    }
}
