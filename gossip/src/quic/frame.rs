//! How frames lie on a stream: a little-endian `u32` length, a kind, and for calls and answers a correlation number.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::FRAME_BYTES_MAX;

const LENGTH_BYTES: usize = 4;
/// Kind and correlation number.
const CALL_HEADER_BYTES: usize = 9;
/// The length and the longest header after it.
pub(super) const HEADER_BYTES_MAX: usize = LENGTH_BYTES + CALL_HEADER_BYTES;

const ONE_WAY: u8 = 0;
const CALL: u8 = 1;
const ANSWER: u8 = 2;

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// From [`send`](crate::transport::Transport::send).
    OneWay(Bytes),
    /// From [`call`](crate::transport::Transport::call); the number comes back in the answer.
    Call(u64, Bytes),
    /// The answer to the call of this number.
    Answer(u64, Bytes),
}

/// A frame that no node of this version sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// What stands before the body of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    OneWay,
    Call(u64),
    Answer(u64),
}

impl Header {
    /// Writes length, kind and number for a body of `bytes`, which is at most [`FRAME_BYTES_MAX`].
    pub(super) fn write(self, bytes: usize, out: &mut BytesMut) {
        let (kind, number) = match self {
            Self::OneWay => (ONE_WAY, None),
            Self::Call(number) => (CALL, Some(number)),
            Self::Answer(number) => (ANSWER, Some(number)),
        };
        let header = if number.is_some() { CALL_HEADER_BYTES } else { 1 };
        let length = u32::try_from(bytes + header).expect("invariant: frames are bounded far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[kind]);
        if let Some(number) = number {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Cuts a stream into frames. Holds no more than what has arrived: a length alone reserves nothing.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// Takes what a read brought.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame, if it is here. After a violation the stream cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > FRAME_BYTES_MAX + CALL_HEADER_BYTES {
            return Err(Violation);
        }
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        let mut frame = self.buffer.split_to(length).freeze();
        match frame.get_u8() {
            ONE_WAY => Ok(Some(Frame::OneWay(frame))),
            kind @ (CALL | ANSWER) if frame.len() >= 8 => {
                let number = frame.get_u64_le();
                Ok(Some(if kind == CALL { Frame::Call(number, frame) } else { Frame::Answer(number, frame) }))
            }
            _ => Err(Violation),
        }
    }
}

#[cfg(test)]
mod tests;
