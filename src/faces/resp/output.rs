//! Writes replies to a client, at the client's pace.
//!
//! Replies are encoded into a buffer that is written as soon as it is full, even in the middle of a
//! reply. So a client that reads slowly, or asks for a lot with a short request, holds up only
//! itself, and nobody pays for it in memory.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::encode::Encoder;
use crate::tls::Stream;

/// Replies are written once they are this many bytes, even when more follow.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A string at least this long is written in place instead of being copied first. Guess: copying
/// less is cheaper than a system call.
const BORROWED_BYTES_MIN: usize = 64 * 1024;
/// The room for one read while replies wait.
const READ_BYTES: usize = 16 * 1024;

/// The replies to one client, and what it sends meanwhile.
#[derive(Debug)]
pub(crate) struct Output {
    /// The connection.
    pub stream: Stream,
    /// Replies that wait to be written.
    pub encoder: Encoder,
    /// What the client has sent and nobody has parsed yet.
    pub input: BytesMut,
    /// How much of it is read while replies wait to be written. Many clients send a whole pipeline
    /// before they read the first reply: if neither side reads, both wait for ever.
    pub ahead: usize,
    /// Bytes written since this was last taken.
    pub sent: u64,
    /// Something was read while replies waited.
    has_read: bool,
    /// The client sends no more.
    ended: bool,
    /// How long the client may leave replies unread.
    stall: Duration,
}

impl Output {
    pub(crate) fn new(stream: Stream, stall: Duration) -> Self {
        Self {
            stream,
            encoder: Encoder::default(),
            input: BytesMut::new(),
            ahead: 0,
            sent: 0,
            has_read: false,
            ended: false,
            stall,
        }
    }

    /// Whether something was read while replies waited; true once.
    pub(crate) fn has_read(&mut self) -> bool {
        mem::take(&mut self.has_read)
    }

    /// A string of any bytes.
    pub(crate) async fn bulk(&mut self, mut bytes: Bytes) -> io::Result<()> {
        if bytes.len() < BORROWED_BYTES_MIN {
            self.encoder.bulk(&bytes);
            return self.write_if_full().await;
        }
        self.encoder.bulk_head(bytes.len());
        self.write().await?;
        self.send(&mut bytes).await?;
        self.encoder.bulk_end();
        Ok(())
    }

    /// A string, or a null if there is none.
    pub(crate) async fn bulk_or_null(&mut self, bytes: Option<Bytes>) -> io::Result<()> {
        if let Some(bytes) = bytes {
            return self.bulk(bytes).await;
        }
        self.encoder.null();
        self.write_if_full().await
    }

    /// Strings, one after another. Each is dropped as soon as it is written.
    pub(crate) async fn bulks(
        &mut self,
        strings: impl IntoIterator<Item = Bytes>,
    ) -> io::Result<()> {
        for string in strings {
            self.bulk(string).await?;
        }
        Ok(())
    }

    pub(crate) async fn write_if_full(&mut self) -> io::Result<()> {
        if self.encoder.out.len() < OUTPUT_BYTES_MAX {
            Ok(())
        } else {
            self.write().await
        }
    }

    /// Writes all replies so far. A client that does not read is disconnected after a while.
    pub(crate) async fn write(&mut self) -> io::Result<()> {
        if self.encoder.out.is_empty() {
            return Ok(());
        }
        let mut out = mem::take(&mut self.encoder.out);
        self.send(&mut out).await
    }

    /// Writes all of `bytes`. Others get their turn between two pieces, because the faces share
    /// their thread with the network.
    async fn send(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        loop {
            let moved = timeout(self.stall, poll_fn(|waker| self.move_on(waker, bytes))).await;
            if moved.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?? {
                return Ok(());
            }
            if bytes.has_remaining() {
                yield_now().await;
            }
        }
    }

    /// Writes some of `bytes`, or reads what the client sends while it takes nothing. True once all
    /// of them have left: TLS may hold back what the socket has not taken.
    fn move_on(&mut self, waker: &mut Context<'_>, bytes: &mut impl Buf) -> Poll<io::Result<bool>> {
        let mut stream = Pin::new(&mut self.stream);
        if bytes.has_remaining() {
            let chunk = bytes.chunk();
            let piece = &chunk[..chunk.len().min(OUTPUT_BYTES_MAX)];
            if let Poll::Ready(written) = stream.as_mut().poll_write(waker, piece) {
                let written = written?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                bytes.advance(written);
                self.sent += written as u64;
                return Poll::Ready(Ok(false));
            }
        } else if let Poll::Ready(flushed) = stream.as_mut().poll_flush(waker) {
            return Poll::Ready(flushed.map(|()| true));
        }
        if self.ended || self.input.len() >= self.ahead {
            return Poll::Pending;
        }
        self.input.reserve(READ_BYTES);
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(waker))?;
        if read == 0 {
            self.ended = true;
            return Poll::Pending;
        }
        self.has_read = true;
        Poll::Ready(Ok(false))
    }
}
