//! Parses requests from a byte stream: arrays of bulk strings, and the inline form that people
//! type.
//!
//! The parser remembers its position inside a request. So only the bytes of an unfinished line are
//! looked at twice, and the same bytes give the same commands and the same error however they are
//! split. A length is checked before anything is reserved for it; the buffer grows only as bytes
//! really arrive.

mod inline;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// The most arguments of one command. Guess: an eighth of Redis's limit, because each is a request
/// of its own, or a row.
pub const ARGUMENTS_MAX: i64 = 128 * 1024;
/// The most arguments that Redis accepts.
const REDIS_ARGUMENTS_MAX: i64 = 1024 * 1024;
/// The longest argument, in bytes: the longest value that the data plane accepts.
pub const ARGUMENT_BYTES_MAX: i64 = 16 * 1024 * 1024;
const _: () =
    assert!(ARGUMENT_BYTES_MAX.unsigned_abs() == quorate_dynamo::op::VALUE_BYTES_MAX as u64);
/// The longest argument that Redis accepts (`proto-max-bulk-len`), in bytes.
const REDIS_ARGUMENT_BYTES_MAX: i64 = 512 * 1024 * 1024;
/// The longest request, in bytes, over all its arguments.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest inline request, in bytes. Redis: `PROTO_INLINE_MAX_SIZE`.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments before the client has authenticated. Redis: 10.
pub const STRANGER_ARGUMENTS_MAX: i64 = 10;
/// The longest argument before the client has authenticated. Redis: 16384.
pub const STRANGER_ARGUMENT_BYTES_MAX: i64 = 16 * 1024;
/// A length line longer than this is invalid.
const LENGTH_LINE_BYTES_MAX: usize = 32;
/// Arguments up to this size are copied when they are kept, so that a small value does not pin the
/// whole read buffer.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The bytes are not a request. The texts are Redis's own. The connection cannot be used any
/// further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is not a number, or more than Redis accepts.
    #[error("invalid multibulk length")]
    ArgumentCount,
    /// More arguments than [`ARGUMENTS_MAX`], although Redis would accept them.
    #[error(
        "invalid multibulk length: {arguments} arguments are more than the {ARGUMENTS_MAX} allowed; nothing was applied"
    )]
    TooManyArguments {
        /// As announced.
        arguments: i64,
    },
    /// More arguments than a client may send before it has authenticated.
    #[error("unauthenticated multibulk length")]
    StrangerArgumentCount,
    /// The length of an argument is not a number, or more than Redis accepts.
    #[error("invalid bulk length")]
    ArgumentLength,
    /// An argument longer than [`ARGUMENT_BYTES_MAX`], although Redis would accept it.
    #[error(
        "invalid bulk length: {bytes} bytes is more than the {ARGUMENT_BYTES_MAX} allowed; nothing was applied"
    )]
    ArgumentTooLong {
        /// As announced.
        bytes: i64,
    },
    /// A longer argument than a client may send before it has authenticated.
    #[error("unauthenticated bulk length")]
    StrangerArgumentLength,
    /// Something other than a bulk string: RESP3 aggregates, nested arrays, garbage.
    #[error("expected '$', got '{}'", .byte.escape_ascii())]
    NotBulk {
        /// The byte found instead.
        byte: u8,
    },
    /// A request begins with a type that is not an array.
    #[error("expected '*', got '{}'", .byte.escape_ascii())]
    NotArray {
        /// The byte it begins with.
        byte: u8,
    },
    /// An argument is not followed by CR LF.
    #[error("expected CR LF after the bulk string")]
    Unterminated,
    /// The whole request is longer than [`REQUEST_BYTES_MAX`].
    #[error("too big request")]
    TooBig,
    /// An inline request is longer than [`INLINE_BYTES_MAX`].
    #[error("too big inline request")]
    TooBigInline,
    /// An inline request has a quote without its partner, or text directly after a closing quote.
    #[error("unbalanced quotes in request")]
    Quotes,
}

/// One argument within [`Command::frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Bounds are below [`REQUEST_BYTES_MAX`], which fits.
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

type Spans = SmallVec<[Span; 6]>;

/// A whole command: at least one argument, the first of which is its name.
#[derive(Clone, Debug)]
pub struct Command {
    frame: Bytes,
    spans: Spans,
}

impl Command {
    /// Its length on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        self.frame.len()
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

/// Parses requests, and remembers how far it has come in the one at the head of the buffer.
#[derive(Debug, Default)]
pub struct Parser {
    /// Whether the limits are those of an authenticated client.
    trusted: bool,
    /// Bytes of the buffer that need not be looked at again.
    at: usize,
    /// Arguments still to come; 0 between requests.
    missing: u32,
    /// The length of the argument that begins at `at`, once its header has been read.
    length: Option<usize>,
    spans: Spans,
}

impl Parser {
    /// Lifts the limits for unauthenticated clients, or sets them again. Call it between two
    /// commands.
    pub fn trust(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// Takes the next complete command off `input`; `None` means that more bytes are needed. After
    /// an error the connection must be closed.
    ///
    /// # Errors
    /// The bytes are not a request; every command before them has been returned.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        loop {
            if self.missing > 0 {
                return self.arguments(input);
            }
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {
                    if !self.header(input)? {
                        return Ok(None);
                    }
                }
                Some(&byte @ (b'$' | b'%' | b'~' | b'>' | b'|' | b'=' | b'(')) => {
                    return Err(ProtocolError::NotArray { byte });
                }
                Some(_) => match inline::next(input, &mut self.at)? {
                    None => return Ok(None),
                    Some(command) if command.spans.is_empty() => {}
                    Some(command) => return Ok(Some(command)),
                },
            }
        }
    }

    /// Reads `*n`. An empty array is skipped, as Redis does. Returns false if the line is
    /// incomplete.
    fn header(&mut self, input: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some((count, end)) = number(input, 1).map_err(|_bad| ProtocolError::ArgumentCount)?
        else {
            return Ok(false);
        };
        if count > REDIS_ARGUMENTS_MAX {
            return Err(ProtocolError::ArgumentCount);
        }
        if !self.trusted && count > STRANGER_ARGUMENTS_MAX {
            return Err(ProtocolError::StrangerArgumentCount);
        }
        if count > ARGUMENTS_MAX {
            return Err(ProtocolError::TooManyArguments { arguments: count });
        }
        if count <= 0 {
            drop(input.split_to(end));
            return Ok(true);
        }
        self.missing = count.unsigned_abs() as u32;
        self.at = end;
        Ok(true)
    }

    /// Reads the bulk strings of a request whose header has been read.
    fn arguments(&mut self, input: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        while self.missing > 0 {
            let length = match self.length {
                Some(length) => length,
                None => match self.argument_length(input)? {
                    Some(length) => length,
                    None => return Ok(None),
                },
            };
            let end = self.at + length;
            match input.get(end..end + 2) {
                None => return Ok(None),
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::Unterminated),
            }
            self.spans.push(Span::new(self.at, end));
            self.length = None;
            self.at = end + 2;
            self.missing -= 1;
        }
        let frame = input.split_to(std::mem::take(&mut self.at)).freeze();
        Ok(Some(Command {
            frame,
            spans: std::mem::take(&mut self.spans),
        }))
    }

    /// Reads `$n` and moves to the first byte of the argument.
    fn argument_length(&mut self, input: &BytesMut) -> Result<Option<usize>, ProtocolError> {
        match input.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&byte) => return Err(ProtocolError::NotBulk { byte }),
        }
        let Some((length, end)) =
            number(input, self.at + 1).map_err(|_bad| ProtocolError::ArgumentLength)?
        else {
            return Ok(None);
        };
        if !(0..=REDIS_ARGUMENT_BYTES_MAX).contains(&length) {
            return Err(ProtocolError::ArgumentLength);
        }
        if !self.trusted && length > STRANGER_ARGUMENT_BYTES_MAX {
            return Err(ProtocolError::StrangerArgumentLength);
        }
        if length > ARGUMENT_BYTES_MAX {
            return Err(ProtocolError::ArgumentTooLong { bytes: length });
        }
        let length = length.unsigned_abs() as usize;
        if end + length > REQUEST_BYTES_MAX {
            return Err(ProtocolError::TooBig);
        }
        self.at = end;
        self.length = Some(length);
        Ok(Some(length))
    }
}

/// The content of a length line is not a number.
struct NotANumber;

/// The number from `start` to the next CR LF, and where the following line begins; `None` if the
/// line is incomplete.
fn number(input: &[u8], start: usize) -> Result<Option<(i64, usize)>, NotANumber> {
    let line = &input[start..];
    let window = &line[..line.len().min(LENGTH_LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < LENGTH_LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(NotANumber)
        };
    };
    let Some(digits) = window[..end].strip_suffix(b"\r") else {
        return Err(NotANumber);
    };
    decimal(digits)
        .map(|number| Some((number, start + end + 1)))
        .ok_or(NotANumber)
}

/// A decimal number of at most 18 digits with an optional minus sign; no plus sign and no blanks.
fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests;
