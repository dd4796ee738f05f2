//! Parses requests from a byte stream: arrays of bulk strings, and the inline form that people
//! type.
//!
//! The parser remembers its position inside a request. So only the bytes of an unfinished line are
//! looked at twice, and the same bytes give the same commands and the same error however they are
//! split. A length is checked before anything is reserved for it; the buffer grows only as bytes
//! really arrive.

mod bounds;
mod command;
mod inline;

use bytes::BytesMut;

pub use bounds::{
    ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, INLINE_BYTES_MAX, ProtocolError, REQUEST_BYTES_MAX,
    STRANGER_ARGUMENT_BYTES_MAX, STRANGER_ARGUMENTS_MAX,
};
use bounds::{REDIS_ARGUMENT_BYTES_MAX, REDIS_ARGUMENTS_MAX};
pub use command::{Args, Command};
use command::{Span, Spans};

/// A length line longer than this is invalid.
const LENGTH_LINE_BYTES_MAX: usize = 32;

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
