//! A parsed command: slices of the bytes in which it arrived.

use bytes::Bytes;
use smallvec::SmallVec;

/// Arguments up to this size are copied when they are kept, so that a small value does not pin the
/// whole read buffer.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// One argument within [`Command::frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Bounds are below [`REQUEST_BYTES_MAX`](super::REQUEST_BYTES_MAX), which fits.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

pub(super) type Spans = SmallVec<[Span; 6]>;

/// A whole command: at least one argument, the first of which is its name.
#[derive(Clone, Debug)]
pub struct Command {
    pub(super) frame: Bytes,
    pub(super) spans: Spans,
}

impl Command {
    /// Its length on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// The command to be kept: if it is small, as a copy, so that it does not pin the read buffer
    /// in which it arrived.
    #[must_use]
    pub fn kept(&self) -> Self {
        let frame = if self.frame.len() <= COPY_BYTES_MAX {
            Bytes::copy_from_slice(&self.frame)
        } else {
            self.frame.clone()
        };
        Self {
            frame,
            spans: self.spans.clone(),
        }
    }

    /// The arguments after the first `from`, which must be less than the number of arguments.
    pub fn args(&self, from: usize) -> Args<'_> {
        Args {
            frame: &self.frame,
            spans: &self.spans[from..],
        }
    }
}

/// The arguments of a command, counted from its name at 0.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    frame: &'a Bytes,
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// The number of arguments, including the name.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name; never true of a parsed command.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The same command without its first `count` arguments. There must be at least that many.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        Self {
            frame: self.frame,
            spans: &self.spans[count..],
        }
    }

    /// An argument whose existence the arity check guarantees. Panics beyond [`Args::len`].
    pub fn get(self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.frame[span.start as usize..span.end as usize]
    }

    /// All arguments from number `from` on.
    pub fn iter(self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (from.min(self.len())..self.len()).map(move |index| self.get(index))
    }

    /// The argument without a copy, for use during the request: it pins the read buffer.
    pub fn shared(self, index: usize) -> Bytes {
        let span = self.spans[index];
        self.frame.slice(span.start as usize..span.end as usize)
    }

    /// The argument to be kept. A small one is copied, so that it does not pin the read buffer in
    /// which it arrived.
    pub fn kept(self, index: usize) -> Bytes {
        let text = self.get(index);
        if text.len() <= COPY_BYTES_MAX {
            Bytes::copy_from_slice(text)
        } else {
            self.shared(index)
        }
    }
}
