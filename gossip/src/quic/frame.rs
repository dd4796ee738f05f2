//! The form of frames on a stream: a little-endian `u32` length, a kind, for calls and answers a
//! correlation number, then the body.

use bytes::{Buf, Bytes, BytesMut};

use crate::planted::PARTS_MIXED_UP;
use crate::wire::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

const LENGTH_BYTES: usize = 4;
/// Kind and correlation number.
const CALL_HEADER_BYTES: usize = 9;
/// The length and the longest header after it.
pub(super) const HEADER_BYTES_MAX: usize = LENGTH_BYTES + CALL_HEADER_BYTES;

const ONE_WAY: u8 = 0;
const CALL: u8 = 1;
const ANSWER: u8 = 2;
const PART: u8 = 3;

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// From [`send`](crate::transport::Transport::send).
    OneWay(Bytes),
    /// From [`call`](crate::transport::Transport::call). The answer carries the same number.
    Call(u64, Bytes),
    /// The answer to the call with this number.
    Answer(u64, Bytes),
}

/// A frame that no node of this version sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// What comes before the body of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    OneWay,
    Call(u64),
    Answer(u64),
    /// A part of a body that is longer than a frame. It belongs to the next frame of another kind;
    /// the parts of one body follow each other directly.
    Part,
}

impl Header {
    /// Writes the length, the kind and the number for a body of `bytes`, at most
    /// [`FRAME_BYTES_MAX`].
    pub(super) fn write(self, bytes: usize, out: &mut BytesMut) {
        let (kind, number) = match self {
            Self::OneWay => (ONE_WAY, None),
            Self::Call(number) => (CALL, Some(number)),
            Self::Answer(number) => (ANSWER, Some(number)),
            Self::Part => (PART, None),
        };
        let header = if number.is_some() {
            CALL_HEADER_BYTES
        } else {
            1
        };
        let length =
            u32::try_from(bytes + header).expect("invariant: frames are bounded far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[kind]);
        if let Some(number) = number {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Cuts a stream into frames and joins those that came in parts. It holds only what has arrived: a
/// length alone reserves no memory.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    buffer: BytesMut,
    /// The parts so far of a body that is not complete yet: at most [`MESSAGE_BYTES_MAX`].
    parts: BytesMut,
}

impl Deframer {
    /// Adds what a read has brought.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame, if it has arrived. After a violation the stream is useless.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        loop {
            let Some(mut frame) = self.cut()? else {
                return Ok(None);
            };
            let kind = frame.get_u8();
            let number = match kind {
                CALL | ANSWER if frame.len() >= CALL_HEADER_BYTES - 1 => frame.get_u64_le(),
                ONE_WAY | PART => 0,
                _ => return Err(Violation),
            };
            if self.parts.len() + frame.len() > MESSAGE_BYTES_MAX {
                return Err(Violation);
            }
            if kind == PART {
                self.parts.extend_from_slice(&frame);
                continue;
            }
            if !self.parts.is_empty() && !PARTS_MIXED_UP.is_planted() {
                self.parts.extend_from_slice(&frame);
                frame = self.parts.split().freeze();
            }
            return Ok(Some(match kind {
                CALL => Frame::Call(number, frame),
                ANSWER => Frame::Answer(number, frame),
                _ => Frame::OneWay(frame),
            }));
        }
    }

    /// The next frame as it is on the stream, without its length. It has at least a kind.
    fn cut(&mut self) -> Result<Option<Bytes>, Violation> {
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
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests;
