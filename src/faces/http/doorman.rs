//! The listener of the HTTP face. It admits a connection as a guest, in one of the few places for
//! probes, or not at all.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::problem::Problem;
use crate::limits::{Guest, Guests};
use crate::tls::{self, Stream, TlsDoor};

/// Connections admitted beyond the guests, to ask how the node is. Guess.
const PROBES_MAX: usize = 16;
/// How long a client may leave an answer unread before it is cut off. Guess.
const STALL: Duration = Duration::from_mins(1);
/// How long to wait after a failed accept, which most likely means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections.
pub(super) struct Doorman {
    listener: TcpListener,
    guests: Arc<Guests>,
    /// Places that data clients never take, so that probes are admitted when nobody else is.
    probes: Arc<Semaphore>,
    /// The answer for a connection that gets no place at all.
    full: String,
    tls: Option<Arc<TlsDoor>>,
}

impl Doorman {
    pub(super) fn new(
        listener: TcpListener,
        guests: Arc<Guests>,
        tls: Option<Arc<TlsDoor>>,
    ) -> Self {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_clients",
            "max number of clients reached",
        )
        .text();
        let full = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{problem}",
            problem.len()
        );
        Self {
            listener,
            guests,
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
            // Whoever waits for TLS could not read it.
            full: if tls.is_some() { String::new() } else { full },
            tls,
        }
    }

    /// What clients expect to speak TLS with.
    pub(super) fn tls(&self) -> Option<Arc<TlsDoor>> {
        self.tls.clone()
    }

    /// Waits for the next connection that gets a place.
    pub(super) async fn accept(&mut self) -> Visitor {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let guest = self.guests.admit();
            let probe = if guest.is_some() {
                None
            } else {
                Arc::clone(&self.probes).try_acquire_owned().ok()
            };
            if guest.is_some() || probe.is_some() {
                // If Nagle's algorithm stays on, the connection is slower, not wrong.
                drop(stream.set_nodelay(true));
                return Visitor {
                    stream: Stream::Plain(stream),
                    address,
                    guest,
                    _probe: probe,
                    stalled: None,
                };
            }
            // Reaches clients that have not sent anything yet.
            drop(stream.try_write(self.full.as_bytes()));
        }
    }
}

/// A connection with its place. It breaks if its client reads nothing for a while.
pub(super) struct Visitor {
    stream: Stream,
    /// Where it comes from.
    pub(super) address: SocketAddr,
    /// The place of a client, or else that of a probe.
    guest: Option<Guest>,
    _probe: Option<OwnedSemaphorePermit>,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Visitor {
    /// Whether it may ask for everything.
    pub(super) fn is_guest(&self) -> bool {
        self.guest.is_some()
    }

    /// A visitor who has just come, after the handshake of TLS if there is a door.
    pub(super) async fn secured(
        self,
        door: Option<&TlsDoor>,
        within: Duration,
    ) -> io::Result<Self> {
        let stream = match self.stream {
            Stream::Plain(stream) => tls::begin(stream, door, within).await?,
            secure @ Stream::Secure(_) => secure,
        };
        Ok(Self { stream, ..self })
    }

    /// Passes on the result of a write, and limits how long nothing may be written.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
