//! Parses inline requests: one line, arguments between blanks, with quotes as in a shell. For
//! people and for `telnet`.

use bytes::{Buf, Bytes, BytesMut};

use super::bounds::{INLINE_BYTES_MAX, ProtocolError};
use super::command::{Command, Span, Spans};

/// Takes the next line off `input`; an empty line gives a command without arguments. The first
/// `scanned` bytes are known to hold no line end.
pub(super) fn next(
    input: &mut BytesMut,
    scanned: &mut usize,
) -> Result<Option<Command>, ProtocolError> {
    let window = &input[..input.len().min(INLINE_BYTES_MAX)];
    let Some(end) = window[*scanned..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|at| at + *scanned)
    else {
        if input.len() >= INLINE_BYTES_MAX {
            return Err(ProtocolError::TooBigInline);
        }
        *scanned = window.len();
        return Ok(None);
    };
    *scanned = 0;
    let line = &window[..end];
    let command = split(line.strip_suffix(b"\r").unwrap_or(line))?;
    input.advance(end + 1);
    Ok(Some(command))
}

/// Splits a line into its arguments. The result is a copy, because unescaping shortens quoted
/// arguments.
fn split(line: &[u8]) -> Result<Command, ProtocolError> {
    let mut text = Vec::with_capacity(line.len());
    let mut spans = Spans::new();
    let mut rest = line;
    loop {
        let blanks = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(Command {
                frame: Bytes::from(text),
                spans,
            });
        }
        let start = text.len();
        rest = argument(rest, &mut text)?;
        spans.push(Span::new(start, text.len()));
    }
}

/// Appends the argument at the head of `rest` and returns what follows it.
fn argument<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'"' | b'\'' => {
                rest = if byte == b'"' {
                    double_quoted(tail, text)?
                } else {
                    single_quoted(tail, text)?
                };
                let closed = rest.first().is_none_or(u8::is_ascii_whitespace);
                return if closed {
                    Ok(rest)
                } else {
                    Err(ProtocolError::Quotes)
                };
            }
            blank if blank.is_ascii_whitespace() => return Ok(rest),
            plain => text.push(plain),
        }
        rest = tail;
    }
    Ok(rest)
}

/// Within double quotes: `\n \r \t \b \a`, `\xHH`, and any other escaped byte stands for itself.
fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::Quotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                text.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [plain, tail @ ..] => {
                text.push(*plain);
                tail
            }
        };
    }
}

/// Within single quotes only `\'` is an escape.
fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::Quotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                text.push(b'\'');
                tail
            }
            [plain, tail @ ..] => {
                text.push(*plain);
                tail
            }
        };
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
