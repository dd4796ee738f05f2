//! What goes back to a client, at the client's pace.
//!
//! Replies are encoded into a buffer that is written as soon as it is full, in the middle of a
//! reply if need be. So a client that reads slowly, or asks for much with few words, holds up
//! itself and makes nobody pay for it in memory.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::encode::Encoder;

/// Replies are written once they are this many bytes, even when more follow.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A string this long is written from where it is and not copied first. Guess: a copy of less costs
/// less than a system call.
const BORROWED_BYTES_MIN: usize = 64 * 1024;

/// The way back to one client.
#[derive(Debug)]
pub(crate) struct Output {
    /// The connection.
    pub stream: TcpStream,
    /// Replies that wait to be written.
    pub encoder: Encoder,
    /// How long the client may read nothing.
    stall: Duration,
}

impl Output {
    pub(crate) fn new(stream: TcpStream, stall: Duration) -> Self {
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

    /// A string, or a null when there is none.
    pub(crate) async fn bulk_or_null(&mut self, bytes: Option<Bytes>) -> io::Result<()> {
        if let Some(bytes) = bytes {
            return self.bulk(bytes).await;
        }
        self.encoder.null();
        self.write_if_full().await
    }

    /// Strings, one after the other; each is let go as soon as it is written.
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

    /// Writes all replies so far. A client that does not read is cut off after a while.
    pub(crate) async fn write(&mut self) -> io::Result<()> {
        if self.encoder.out.is_empty() {
            return Ok(());
        }
        send(&mut self.stream, &mut self.encoder.out, self.stall).await?;
        self.encoder.out = BytesMut::new();
        Ok(())
    }
}

/// Writes all of `bytes`. Between two pieces others have their turn: the faces share their thread
/// with the network.
async fn send(stream: &mut TcpStream, bytes: &mut impl Buf, stall: Duration) -> io::Result<()> {
    while bytes.has_remaining() {
        let mut piece = bytes.take(OUTPUT_BYTES_MAX);
        let written = timeout(stall, stream.write_buf(&mut piece)).await;
        if written.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if bytes.has_remaining() {
            yield_now().await;
        }
    }
    Ok(())
}
