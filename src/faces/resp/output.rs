//! Writes replies to a client, at the client's pace.
//!
//! Replies are encoded into a buffer that is written as soon as it is full, even in the middle of a
//! reply. So a client that reads slowly, or asks for a lot with a short request, holds up only
//! itself, and nobody pays for it in memory.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::encode::Encoder;
use crate::tls::Stream;

/// Replies are written once they are this many bytes, even when more follow.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A string at least this long is written in place instead of being copied first. Guess: copying
/// less is cheaper than a system call.
const BORROWED_BYTES_MIN: usize = 64 * 1024;

/// The replies to one client.
#[derive(Debug)]
pub(crate) struct Output {
    /// The connection.
    pub stream: Stream,
    /// Replies that wait to be written.
    pub encoder: Encoder,
    /// How long the client may leave replies unread.
    stall: Duration,
}

impl Output {
    pub(crate) fn new(stream: Stream, stall: Duration) -> Self {
        Self {
            stream,
            encoder: Encoder::default(),
            stall,
        }
    }

    /// A string of any bytes.
    pub(crate) async fn bulk(&mut self, mut bytes: Bytes) -> io::Result<()> {
        if bytes.len() < BORROWED_BYTES_MIN {
            self.encoder.bulk(&bytes);
            return self.write_if_full().await;
        }
        self.encoder.bulk_head(bytes.len());
        self.write().await?;
        send(&mut self.stream, &mut bytes, self.stall).await?;
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
        send(&mut self.stream, &mut self.encoder.out, self.stall).await?;
        self.encoder.out = BytesMut::new();
        Ok(())
    }
}

/// Writes all of `bytes`. Others get their turn between two pieces, because the faces share their
/// thread with the network.
async fn send(stream: &mut Stream, bytes: &mut impl Buf, stall: Duration) -> io::Result<()> {
    let too_slow = |_elapsed| io::Error::from(io::ErrorKind::TimedOut);
    while bytes.has_remaining() {
        let mut piece = bytes.take(OUTPUT_BYTES_MAX);
        let written = timeout(stall, stream.write_buf(&mut piece)).await;
        if written.map_err(too_slow)?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if bytes.has_remaining() {
            yield_now().await;
        }
    }
    timeout(stall, stream.flush()).await.map_err(too_slow)?
}
