//! Encodes replies into a byte buffer, in RESP2 or RESP3. Only the growth of the buffer allocates.

use bytes::{BufMut, BytesMut};

/// What comes before a text in RESP3.
const VERBATIM: &[u8] = b"txt:";

/// The two protocol versions. A connection starts in RESP2 and switches with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RESP2: arrays stand for maps and sets.
    #[default]
    Resp2,
    /// RESP3: maps, sets and null have types of their own.
    Resp3,
}

impl Protocol {
    /// The number that `HELLO` uses.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// The replies of one connection that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// The encoded bytes.
    pub out: BytesMut,
    /// The protocol version of all replies from now on.
    pub protocol: Protocol,
    /// The codes of the errors since they were last taken.
    pub errors: Vec<ErrorCode>,
}

/// The first word of an error.
pub(crate) type ErrorCode = Box<str>;

impl Encoder {
    /// A status line. `text` must not contain a line end.
    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`.
    pub(crate) fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    /// An error line; line ends in `text` become blanks, so that no text can forge a second reply.
    pub(crate) fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or(text);
        self.errors.push(code.into());
        self.line(b'-', text.as_bytes());
    }

    /// A text for people, which RESP3 tells from other strings.
    pub(crate) fn text(&mut self, text: &str) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text.as_bytes());
        }
        self.header(b'=', VERBATIM.len() + text.len());
        self.out.put_slice(VERBATIM);
        self.out.put_slice(text.as_bytes());
        self.bulk_end();
    }

    /// A number.
    pub(crate) fn integer(&mut self, number: i64) {
        self.out.put_u8(b':');
        if number < 0 {
            self.out.put_u8(b'-');
        }
        self.digits(number.unsigned_abs());
    }

    /// A number that is never negative: a length or an identifier.
    pub(crate) fn count(&mut self, number: u64) {
        self.out.put_u8(b':');
        self.digits(number);
    }

    /// A string of any bytes.
    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.bulk_head(bytes.len());
        self.out.reserve(bytes.len() + 2);
        self.out.put_slice(bytes);
        self.bulk_end();
    }

    /// The head of a string of this many bytes.
    pub(crate) fn bulk_head(&mut self, length: usize) {
        self.header(b'$', length);
    }

    /// The end of a string.
    pub(crate) fn bulk_end(&mut self) {
        self.out.put_slice(b"\r\n");
    }

    /// A null.
    pub(crate) fn null(&mut self) {
        self.out.put_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array; `length` replies must follow.
    pub(crate) fn array(&mut self, length: usize) {
        self.header(b'*', length);
    }

    /// The head of a map; `length` pairs of replies must follow.
    pub(crate) fn map(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', length * 2),
            Protocol::Resp3 => self.header(b'%', length),
        }
    }

    /// The head of a set; `length` replies must follow.
    pub(crate) fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', length),
            Protocol::Resp3 => self.header(b'~', length),
        }
    }

    fn header(&mut self, kind: u8, length: usize) {
        self.out.put_u8(kind);
        self.digits(length as u64);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.put_u8(kind);
        self.out.extend(text.iter().map(|byte| {
            if matches!(byte, b'\r' | b'\n') {
                b' '
            } else {
                *byte
            }
        }));
        self.out.put_slice(b"\r\n");
    }

    /// A number without a sign and its line end.
    fn digits(&mut self, mut number: u64) {
        let mut text = *b"00000000000000000000\r\n";
        let mut at = 20;
        loop {
            at -= 1;
            text[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.put_slice(&text[at..]);
    }
}

#[cfg(test)]
mod tests;
