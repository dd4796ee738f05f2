//! A small client of the Redis face, for the command line, the bench and the demo.
//!
//! It speaks RESP2 and can pipeline. An error of the server is a value ([`Value::Error`]) inside a
//! pipeline, and a [`ClientError::Refused`] for a single command.

mod decode;
mod value;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use decode::DecodeError;
use decode::Decoder;
pub use value::{Refusal, Value};

use crate::tls::{Stream, TlsTrust};

/// A command that got no usable reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused the command; the connection can still be used.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection could not be made, or was lost. A write that was under way may have been
    /// applied.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection before it answered. A write may have been applied.
    #[error("the server closed the connection")]
    Closed,
    /// The answer is not RESP2. The connection cannot be used any further.
    #[error("protocol: {0}")]
    Decode(#[from] DecodeError),
    /// No answer came in time. A write may have been applied, and the connection cannot be used any
    /// further.
    #[error("no answer within {waited:?}")]
    TimedOut {
        /// How long the client waited.
        waited: Duration,
    },
}

/// How to connect. Unlike the `Options` of a node, they are a client's.
#[derive(Clone, Debug)]
pub struct Options {
    /// The user for `AUTH`. The name of a level (`quorum`, `ann+quorum`) makes it the connection's
    /// level.
    pub user: Option<String>,
    /// The password for `AUTH`.
    pub password: Option<String>,
    /// Speaks TLS with nodes that this trusts; `None` speaks none.
    pub tls: Option<TlsTrust>,
    /// How long to wait for the connection and for each flush or reply. It must be longer than the
    /// requests' own timeout.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            tls: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// One connection. Commands are answered in the order in which they were queued.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    output: BytesMut,
    /// TLS may still hold some of what was written.
    unflushed: bool,
    input: BytesMut,
    decoder: Decoder,
    timeout: Duration,
}

impl Client {
    /// Connects to `host:port`, and authenticates if `options` names a user or a password. With TLS
    /// the node must show a certificate for that host.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a wrong password, otherwise the reason why the connection
    /// failed.
    pub async fn connect(
        address: impl fmt::Display,
        options: Options,
    ) -> Result<Self, ClientError> {
        let (address, waited) = (address.to_string(), options.timeout);
        let stream = timeout(waited, open(&address, options.tls.as_ref()))
            .await
            .map_err(|_elapsed| ClientError::TimedOut { waited })??;
        let mut client = Self {
            stream,
            output: BytesMut::new(),
            unflushed: false,
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
    /// After [`ClientError::Refused`] the connection can still be used; after any other error it
    /// cannot.
    pub async fn command(&mut self, args: &[&[u8]]) -> Result<Value, ClientError> {
        self.queue(args);
        self.flush().await?;
        match self.receive().await? {
            Value::Error(refusal) => Err(ClientError::Refused(refusal)),
            value => Ok(value),
        }
    }

    /// Sends all commands at once and returns their replies in the same order; refusals are
    /// [`Value::Error`].
    ///
    /// Reads while it writes, so a pipeline of any length cannot lock both sides.
    ///
    /// # Errors
    /// The connection cannot be used any further, and any of the commands may have been executed.
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

    /// Sends what is queued. Each queued command needs one [`Client::receive`].
    ///
    /// # Errors
    /// The connection cannot be used any further, and any of the commands may have been executed.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() || self.unflushed {
            self.exchange().await?;
        }
        Ok(())
    }

    /// The next reply; a refusal is [`Value::Error`].
    ///
    /// # Errors
    /// The connection cannot be used any further.
    pub async fn receive(&mut self) -> Result<Value, ClientError> {
        loop {
            if let Some(value) = self.decoder.next(&mut self.input)? {
                return Ok(value);
            }
            self.exchange().await?;
        }
    }

    /// Moves bytes once: reads what is available or writes what is queued, whichever is possible
    /// first.
    async fn exchange(&mut self) -> Result<(), ClientError> {
        let waited = self.timeout;
        let buffers = Buffers {
            input: &mut self.input,
            output: &mut self.output,
            unflushed: &mut self.unflushed,
        };
        let step = async {
            match &mut self.stream {
                Stream::Plain(stream) => {
                    let (reader, writer) = stream.split();
                    buffers.step(reader, writer).await
                }
                Stream::Secure(stream) => {
                    let (reader, writer) = tokio::io::split(stream);
                    buffers.step(reader, writer).await
                }
            }
        };
        timeout(waited, step)
            .await
            .map_err(|_elapsed| ClientError::TimedOut { waited })?
    }
}

async fn open(address: &str, tls: Option<&TlsTrust>) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(trust) = tls else {
        return Ok(Stream::Plain(stream));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    trust.connect(stream, host).await
}

/// What one step of a connection reads into and writes from.
struct Buffers<'a> {
    input: &'a mut BytesMut,
    output: &'a mut BytesMut,
    unflushed: &'a mut bool,
}

impl Buffers<'_> {
    async fn step(
        self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<(), ClientError> {
        let Self {
            input,
            output,
            unflushed,
        } = self;
        let sending = !output.is_empty() || *unflushed;
        input.reserve(16 * 1024);
        let write = async {
            if !output.is_empty() {
                *unflushed = true;
                if writer.write_buf(output).await? == 0 {
                    return Err(ClientError::Closed);
                }
            }
            if output.is_empty() {
                writer.flush().await?;
                *unflushed = false;
            }
            Ok(())
        };
        tokio::select! {
            read = reader.read_buf(input) => match read {
                Ok(0) => Err(ClientError::Closed),
                other => other.map(drop).map_err(ClientError::Io),
            },
            written = write, if sending => written,
        }
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
