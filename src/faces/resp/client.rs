//! A small client of the Redis face, for the command line, the bench and the demo.
//!
//! It speaks RESP2, pipelines, and never has more than one thing to say about a reply: a server's
//! error is a value ([`Value::Error`]) inside a pipeline and an [`ClientError::Refused`] for a
//! single command.

mod decode;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

pub use decode::DecodeError;
use decode::Decoder;

/// A reply. Simple and bulk strings are both [`Value::Bulk`]: no caller needs to tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing is there: a null bulk string or null array.
    Nil,
    /// A number.
    Integer(i64),
    /// A string of any kind.
    Bulk(Bytes),
    /// Replies within a reply.
    Array(Vec<Value>),
    /// The server refused; only the sender of a pipeline sees this variant.
    Error(Refusal),
}

impl Value {
    /// The bytes of a string reply; `None` for every other kind.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number reply, or a string reply that is a decimal number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }
}

/// An error reply, in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The whole line after the minus sign, for example `NOTQUORATE QUORUM needs 2 replicas, …`.
    pub text: String,
}

impl Refusal {
    /// The first word, which programs decide by: `ERR`, `WRONGTYPE`, `NOTQUORATE`, `TIMEOUT`, ….
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Whether the server says that it does not know the outcome of a change, be it of one key
    /// among many.
    pub fn may_have_been_applied(&self) -> bool {
        self.text.contains("may have been applied")
    }
}

/// A command that brought no reply to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server understood and refused; the connection goes on.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection could not be made or is lost; a write that was under way may have been
    /// applied.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The server closed the connection before it had answered; a write may have been applied.
    #[error("the server closed the connection")]
    Closed,
    /// What came is not RESP2; the connection is of no more use.
    #[error("protocol: {0}")]
    Decode(#[from] DecodeError),
    /// Nothing came in time; a write may have been applied and the connection is of no more use.
    #[error("no answer within {waited:?}")]
    TimedOut {
        /// How long the client waited.
        waited: Duration,
    },
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// The user for `AUTH`; the name of a level (`quorum`) makes it the connection's level.
    pub user: Option<String>,
    /// The password for `AUTH`.
    pub password: Option<String>,
    /// How long to wait for the connection and for each flush or reply. It must be longer than the
    /// requests' own timeout.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// One connection. Commands are answered in the order in which they were queued.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    output: BytesMut,
    input: BytesMut,
    decoder: Decoder,
    timeout: Duration,
}

impl Client {
    /// Connects, and authenticates if `options` names a user or a password.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a wrong password, else what kept the connection from being
    /// made.
    pub async fn connect(
        address: impl ToSocketAddrs,
        options: Options,
    ) -> Result<Self, ClientError> {
        let waited = options.timeout;
        let stream = timeout(waited, TcpStream::connect(address))
            .await
            .map_err(|_elapsed| ClientError::TimedOut { waited })??;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            output: BytesMut::new(),
            input: BytesMut::new(),
            decoder: Decoder::default(),
            timeout: options.timeout,
        };
        let password = options.password.unwrap_or_default();
        match options.user {
            Some(user) => client
                .command(&[b"AUTH", user.as_bytes(), password.as_bytes()])
                .await
                .map(drop)?,
            None if !password.is_empty() => client
                .command(&[b"AUTH", password.as_bytes()])
                .await
                .map(drop)?,
            None => {}
        }
        Ok(client)
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// After [`ClientError::Refused`] the connection goes on; after any other it is of no more use.
    pub async fn command(&mut self, args: &[&[u8]]) -> Result<Value, ClientError> {
        self.queue(args);
        self.flush().await?;
        match self.receive().await? {
            Value::Error(refusal) => Err(ClientError::Refused(refusal)),
            value => Ok(value),
        }
    }

    /// Sends all commands at once and gives their replies in the same order; refusals are
    /// [`Value::Error`].
    ///
    /// Reads while it writes, so a pipeline of any length cannot lock both sides.
    ///
    /// # Errors
    /// The connection is of no more use, and any of the commands may have been executed.
    pub async fn pipeline<'a, C>(&mut self, commands: &[C]) -> Result<Vec<Value>, ClientError>
    where
        C: AsRef<[&'a [u8]]>,
    {
        for command in commands {
            self.queue(command.as_ref());
        }
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            match self.decoder.next(&mut self.input)? {
                Some(value) => replies.push(value),
                None => self.exchange().await?,
            }
        }
        Ok(replies)
    }

    /// Puts a command into the output buffer; nothing is sent before [`Client::flush`].
    pub fn queue(&mut self, args: &[&[u8]]) {
        header(&mut self.output, b'*', args.len());
        for arg in args {
            header(&mut self.output, b'$', arg.len());
            self.output.extend_from_slice(arg);
            self.output.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what is queued. Each queued command must be met by one [`Client::receive`].
    ///
    /// # Errors
    /// The connection is of no more use, and any of the commands may have been executed.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            self.exchange().await?;
        }
        Ok(())
    }

    /// The next reply; a refusal is [`Value::Error`].
    ///
    /// # Errors
    /// The connection is of no more use.
    pub async fn receive(&mut self) -> Result<Value, ClientError> {
        loop {
            if let Some(value) = self.decoder.next(&mut self.input)? {
                return Ok(value);
            }
            self.exchange().await?;
        }
    }

    /// Moves bytes once: reads what is there and writes what is queued, whichever can go first.
    async fn exchange(&mut self) -> Result<(), ClientError> {
        let (mut reader, mut writer) = self.stream.split();
        let (input, output, waited) = (&mut self.input, &mut self.output, self.timeout);
        let sending = !output.is_empty();
        input.reserve(16 * 1024);
        let step = async {
            tokio::select! {
                read = reader.read_buf(input) => match read {
                    Ok(0) => Err(ClientError::Closed),
                    other => other.map(drop).map_err(ClientError::Io),
                },
                written = writer.write_buf(output), if sending => match written {
                    Ok(0) => Err(ClientError::Closed),
                    other => other.map(drop).map_err(ClientError::Io),
                },
            }
        };
        timeout(waited, step)
            .await
            .map_err(|_elapsed| ClientError::TimedOut { waited })?
    }
}

/// Appends `*n` or `$n` with its line end.
fn header(output: &mut BytesMut, kind: u8, length: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(&[kind]);
    output.extend_from_slice(&digits[at..]);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
