//! The listener of the face: counts connections, and turns away those that are too many.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::StatusCode;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::problem::Problem;
use crate::limits::{Guest, Guests};

/// How many clients may be told at one time that they are too many, and how long that may take. Guesses.
const REFUSED_MAX: usize = 16;
const FAREWELL: Duration = Duration::from_secs(1);

/// Accepts as many connections as there may be guests.
pub(super) struct Doorman {
    listener: TcpListener,
    guests: Arc<Guests>,
    /// What a client hears that is one too many.
    full: Arc<str>,
    /// Those who are given time to hear it. Beyond them connections are closed at once.
    refused: Arc<Guests>,
}

impl Doorman {
    pub(super) fn new(listener: TcpListener, guests: Arc<Guests>) -> Self {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_clients", "max number of clients reached").text();
        let full = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{problem}",
            problem.len()
        );
        Self { listener, guests, full: full.into(), refused: Guests::new(REFUSED_MAX) }
    }
}

impl Listener for Doorman {
    type Io = Served;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Served, SocketAddr) {
        loop {
            // Waits by itself when the system gives no connection.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Some(guest) = self.guests.admit() {
                // A connection on which Nagle's algorithm stays on is slower, not wrong.
                drop(stream.set_nodelay(true));
                return (Served { stream, _guest: guest }, address);
            }
            if let Some(place) = self.refused.admit() {
                tokio::spawn(refuse(stream, Arc::clone(&self.full), place));
            } else {
                // Heard by whoever has not sent anything yet.
                drop(stream.try_write(self.full.as_bytes()));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Answers and waits until the client has read it: closing at once, with its request unread, would take the answer back.
async fn refuse(mut stream: TcpStream, answer: Arc<str>, _place: Guest) {
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whether the client heard it is its own affair.
    drop(tokio::time::timeout(FAREWELL, farewell).await);
}

/// A connection with its place.
pub(super) struct Served {
    stream: TcpStream,
    _guest: Guest,
}

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
