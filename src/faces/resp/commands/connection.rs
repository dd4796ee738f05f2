//! Commands about the connection itself: greeting, authentication, end.

use quorate_control::topology::KeyspaceId;

use super::client::valid_name;
use super::{arity, integer, is, text};
use crate::faces::resp::encode::{Encoder, Protocol};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;

/// The Redis version whose replies these are: clients choose features by it.
pub(crate) const REDIS_VERSION: &str = "7.2.0";

pub(crate) fn ping(_: &mut Session, args: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    arity(args.len() <= 2, "ping")?;
    match args.iter(1).next() {
        Some(message) => to.bulk(message),
        None => to.simple("PONG"),
    }
    Ok(())
}

pub(crate) fn echo(_: &mut Session, args: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    to.bulk(args.get(1));
    Ok(())
}

/// What a `HELLO` asks for.
#[derive(Default)]
struct Greeting<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

pub(crate) fn hello<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let greeting = greeting(args)?;
        if let Some((user, password)) = greeting.credentials {
            session.authenticate(Some(user), password).await?;
        }
        if !session.authenticated() {
            return Err(Refused::NoAuthHello);
        }
        to.protocol = greeting.protocol.unwrap_or(to.protocol);
        session.server.clients.update(session.id, |client| {
            client.protocol = to.protocol;
            if let Some(name) = greeting.name {
                client.name = text(name);
            }
        });
        describe(session, to);
        Ok(Vec::new())
    })
}

/// What `HELLO` answers.
fn describe(session: &Session, to: &mut Encoder) {
    to.map(7);
    for (name, value) in [("server", "quorate"), ("version", REDIS_VERSION)] {
        to.bulk(name.as_bytes());
        to.bulk(value.as_bytes());
    }
    to.bulk(b"proto");
    to.integer(to.protocol.number());
    to.bulk(b"id");
    to.count(session.id);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        to.bulk(name.as_bytes());
        to.bulk(value.as_bytes());
    }
    to.bulk(b"modules");
    to.array(0);
}

fn greeting(args: Args<'_>) -> Result<Greeting<'_>, Refused> {
    let mut greeting = Greeting::default();
    if args.len() > 1 {
        greeting.protocol = Some(match integer(args.get(1)) {
            Ok(2) => Protocol::Resp2,
            Ok(3) => Protocol::Resp3,
            Ok(_) => return Err(Refused::NoProtocol),
            Err(_) => return Err(Refused::ProtocolVersion),
        });
    }
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        if is(args.get(at), "AUTH") && left >= 2 {
            greeting.credentials = Some((args.get(at + 1), args.get(at + 2)));
            at += 3;
        } else if is(args.get(at), "SETNAME") && left >= 1 {
            greeting.name = Some(valid_name(args.get(at + 1))?);
            at += 2;
        } else {
            return Err(Refused::Syntax);
        }
    }
    Ok(greeting)
}

pub(crate) fn auth<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        match args.len() {
            2 => session.authenticate(None, args.get(1)).await?,
            3 => session.authenticate(Some(args.get(1)), args.get(2)).await?,
            _ => return Err(Refused::Syntax),
        }
        to.ok();
        Ok(Vec::new())
    })
}

pub(crate) fn quit(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    session.closing = true;
    to.ok();
    Ok(())
}

pub(crate) fn reset(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    session.reset();
    to.protocol = Protocol::Resp2;
    session.server.clients.update(session.id, |client| {
        client.name = String::new();
        "default".clone_into(&mut client.user);
        client.keyspace = KeyspaceId(0);
        client.protocol = Protocol::Resp2;
    });
    to.simple("RESET");
    Ok(())
}
