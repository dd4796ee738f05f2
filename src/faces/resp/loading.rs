//! What Redis clients are told while the node loads its data: come back later.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::parse::Parser;
use super::refuse::Refused;
use crate::limits::Guests;
use crate::tls::{self, TlsDoor};

/// How long to wait after a failed accept, which most likely means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take for the handshake of TLS. Guess.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Answers `PING`, as a node that is not ready does, and every other command with `LOADING`, until
/// `stop` is true or its sender is dropped. Then all connections are closed: their clients connect
/// again, and find the node. Nothing is applied.
pub async fn serve_loading(
    listener: TcpListener,
    guests: Arc<Guests>,
    tls: Option<Arc<TlsDoor>>,
    mut stop: watch::Receiver<bool>,
) {
    // Dropped with the connections in it when the loop ends.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                if let Some(guest) = guests.admit() {
                    let tls = tls.clone();
                    connections.spawn(async move {
                        let _until_it_ends = guest;
                        // A client that goes or breaks the protocol has nothing to lose here.
                        refuse_all(stream, tls.as_deref()).await.ok();
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn refuse_all(stream: TcpStream, tls: Option<&TlsDoor>) -> io::Result<()> {
    let mut stream = tls::begin(stream, tls, HANDSHAKE).await?;
    let loading = format!("-{}\r\n", Refused::Loading);
    let (mut parser, mut input) = (Parser::default(), BytesMut::new());
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(command) = parser.next(&mut input).map_err(io::Error::other)? {
            let args = command.args(0);
            let is_ping = args.len() == 1 && args.get(0).eq_ignore_ascii_case(b"PING");
            let line = if is_ping { "+PONG\r\n" } else { &loading };
            stream.write_all(line.as_bytes()).await?;
        }
        stream.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_too_early_is_told_that_the_node_loads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(serve_loading(listener, Guests::new(1), None, stopped));
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\nGET k\r\n")
            .await
            .unwrap();
        let mut said = String::new();
        while said.matches("\r\n").count() < 3 {
            let mut part = [0; 1024];
            let read = client.read(&mut part).await.unwrap();
            assert!(read > 0, "closed after {said:?}");
            said.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
        let lines: Vec<&str> = said.split_terminator("\r\n").collect();
        assert!(
            lines[0] == "+PONG"
                && lines[1..].len() == 2
                && lines[1..].iter().all(|line| line.starts_with("-LOADING ")),
            "{said}"
        );
        stop.send_replace(true);
        served.await.unwrap();
        assert_eq!(client.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed");
    }
}
