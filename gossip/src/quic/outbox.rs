//! What waits to be written to one stream. Callers append under a short lock; the stream's writer
//! takes all of it at once, so that a batch is as large as the last write was long, and no timer is
//! needed.

#![expect(
    clippy::disallowed_types,
    reason = "the lock guards a buffer between callers and one writer task, and is never held across an await"
)]

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::frame::{HEADER_BYTES_MAX, Header};
use crate::wire::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Once so much waits in one outbox, in bytes, counting what is being written, nothing more is
/// taken. A guess: two of the longest frames. What is taken below may itself be longer, or a long
/// message would never be sent.
pub(super) const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Frames up to this length are copied together; longer ones are passed on as they are. A guess.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// How long the parts are of a body that is longer than a frame. A guess.
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
    /// Queued and being written.
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
    /// Appends a frame, in parts if it must be. `false`: closed, full, or too long; then nothing is
    /// queued.
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

    /// Waits for frames and takes them all, with the number of bytes to give back to
    /// [`written`](Self::written). `None` once closed.
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

    /// All frames that wait now.
    pub(super) fn waiting(&self) -> Vec<Bytes> {
        self.lock().take()
    }

    /// Bytes that wait or are being written.
    pub(super) fn backlog(&self) -> usize {
        self.lock().bytes
    }

    /// Makes room: the batch that [`take`](Self::take) gave has left.
    pub(super) fn written(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    /// Refuses all further frames and drops those that wait.
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
