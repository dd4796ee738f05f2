//! The listener of the Redis face: accepts and counts connections, and stops.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection;
use super::refuse::Refused;
use super::server::{Counters, RespConfig, Server};
use super::table;
use crate::doors::Data;
use crate::limits::Guest;
use crate::tls;

/// How long connections may take to finish what is under way when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept, which most likely means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many unanswered probes end a connection.
const KEEPALIVE_PROBES: u32 = 3;

/// Serves the Redis protocol on `listener` until `stop` is true or its sender is dropped.
///
/// Then it accepts no more connections or commands, answers what has been submitted, and returns
/// once all connections are closed, after ten seconds at most.
///
/// # Errors
/// Only if the listener does not know its own address. A failed accept is logged and retried.
pub async fn serve(
    listener: TcpListener,
    data: Arc<dyn Data>,
    config: RespConfig,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let (address, commands) = (listener.local_addr()?, table::commands().names());
    let server = Arc::new(Server::new(data, config, address, commands));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                if let Some((stream, guest)) = admit(stream, &server) {
                    connections.spawn(converse(stream, guest, Arc::clone(&server), stop.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let closed = timeout(GRACE, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    if closed.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "cut off connections that did not finish in time"
        );
    }
    Ok(())
}

/// Prepares a connection, or turns it away, in Redis's words, if there are too many.
fn admit(stream: TcpStream, server: &Server) -> Option<(TcpStream, Guest)> {
    Counters::add(&server.counters.connections, 1);
    let Some(guest) = server.config.guests.admit() else {
        Counters::add(&server.counters.rejected, 1);
        // A socket that does not accept even one line at once is closed without it; and whoever
        // waits for TLS could not read it.
        if server.config.tls.is_none() {
            stream
                .try_write(format!("-{}\r\n", Refused::Clients).as_bytes())
                .ok();
        }
        return None;
    };
    prepare(&stream, server.config.keepalive)
        .inspect_err(|error| tracing::debug!(%error, "a connection was gone before it was served"))
        .ok()?;
    Some((stream, guest))
}

/// Serves one connection to its end. `_place` is its own until then.
async fn converse(
    stream: TcpStream,
    _place: Guest,
    server: Arc<Server>,
    stop: watch::Receiver<bool>,
) {
    let conversation = async {
        let RespConfig { tls, greeting, .. } = &server.config;
        let stream = tls::begin(stream, tls.as_deref(), *greeting).await?;
        connection::open(stream, &server, stop)?.run().await
    };
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection was cut off");
    }
}

/// Sends small replies without delay, and sets up probes that detect clients which vanished.
fn prepare(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keepalive)?;
    sockopt::set_tcp_keepintvl(
        socket,
        (keepalive / KEEPALIVE_PROBES).max(Duration::from_secs(1)),
    )?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests;
