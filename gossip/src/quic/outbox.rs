//! What waits to be written to one stream. Callers append under a short lock, and the stream's
//! writer takes everything at once. So a batch grows with the time that the last write took, and no
//! timer is needed.

#![expect(
    clippy::disallowed_types,
    reason = "the lock guards a buffer between callers and one writer task, and is never held across an await"
)]

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::frame::{HEADER_BYTES_MAX, Header};
use crate::wire::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

/// When this many bytes wait in one outbox, including those being written, it accepts nothing more.
/// A guess: two of the longest frames. A message that is accepted below the limit may itself be
/// longer; otherwise a long message could never be sent.
pub(super) const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Frames up to this length are copied together; longer ones are passed on without a copy. A guess.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// The length of the parts into which a body is cut that is longer than a frame. A guess.
const PART_BYTES: usize = 1024 * 1024;

/// A bounded queue of frames for one stream.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whole chunks, in order; then `tail`.
    chunks: Vec<Bytes>,
    tail: BytesMut,
    /// Bytes that are queued or being written.
    bytes: usize,
    closed: bool,
}

impl State {
    fn append(&mut self, header: Header, body: Bytes) {
        self.bytes += HEADER_BYTES_MAX + body.len();
        header.write(body.len(), &mut self.tail);
        if body.len() <= COPY_BYTES_MAX {
            self.tail.extend_from_slice(&body);
        } else {
            let tail = self.tail.split().freeze();
            self.chunks.extend([tail, body]);
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        let tail = self.tail.split().freeze();
        if !tail.is_empty() {
            self.chunks.push(tail);
        }
        core::mem::take(&mut self.chunks)
    }
}

impl Outbox {
    /// Appends a frame, in parts if it is long. Returns `false`, with nothing queued, if the outbox
    /// is closed or full or the frame is too long.
    pub(super) fn push(&self, header: Header, mut body: Bytes) -> bool {
        if body.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let mut state = self.lock();
        if state.closed || state.bytes >= OUTBOX_BYTES_MAX {
            return false;
        }
        let before = state.bytes;
        if body.len() > FRAME_BYTES_MAX {
            while body.len() > PART_BYTES {
                state.append(Header::Part, body.split_to(PART_BYTES));
            }
        }
        state.append(header, body);
        drop(state);
        if before == 0 {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for frames and takes them all, with the number of bytes to pass to
    /// [`written`](Self::written) later. `None` once the outbox is closed.
    pub(super) async fn take(&self) -> Option<(Vec<Bytes>, usize)> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                let chunks = state.take();
                if !chunks.is_empty() {
                    return Some((chunks, state.bytes));
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes all frames that wait now.
    pub(super) fn waiting(&self) -> Vec<Bytes> {
        self.lock().take()
    }

    /// Bytes that wait or are being written.
    pub(super) fn backlog(&self) -> usize {
        self.lock().bytes
    }

    /// Makes room for as many bytes: the batch from [`take`](Self::take) has been written.
    pub(super) fn written(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    /// Refuses all further frames, and drops those that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.chunks.clear();
        state.tail.clear();
        drop(state);
        self.filled.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
