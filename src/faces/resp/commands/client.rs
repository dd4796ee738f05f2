//! The `CLIENT …` commands: what a connection is called, at which levels it runs, and who else is
//! connected.

use std::fmt::Write as _;

use super::{is, text};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::server::ClientInfo;
use crate::faces::resp::session::{Asked, Level, Session};

type Done = Result<(), Refused>;

pub(crate) fn id(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.count(session.id);
    Ok(())
}

/// The longest name of a connection or a library, in bytes. Every connection stores its own, and
/// `CLIENT LIST` shows all of them. Guess.
const NAME_BYTES_MAX: usize = 128;

/// Accepts a short name of printable ASCII without blanks, so that programs can parse `CLIENT
/// LIST`.
pub(super) fn valid_name(name: &[u8]) -> Result<&[u8], Refused> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Refused::ClientNameTooLong {
            bytes: name.len(),
            max: NAME_BYTES_MAX,
        });
    }
    if name.iter().all(u8::is_ascii_graphic) {
        Ok(name)
    } else {
        Err(Refused::ClientName)
    }
}

pub(crate) fn setname(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    let name = text(valid_name(args.get(2))?);
    session
        .server
        .clients
        .update(session.id, |client| client.name = name);
    to.ok();
    Ok(())
}

pub(crate) fn getname(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    let name = session
        .server
        .clients
        .find(session.id)
        .map(|client| client.name)
        .filter(|name| !name.is_empty());
    match name {
        Some(name) => to.bulk(name.as_bytes()),
        None => to.null(),
    }
    Ok(())
}

pub(crate) fn setinfo(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    let attribute = args.get(2);
    let value = text(valid_name(args.get(3))?);
    if is(attribute, "LIB-NAME") {
        session
            .server
            .clients
            .update(session.id, |client| client.library = value);
    } else if is(attribute, "LIB-VER") {
        session
            .server
            .clients
            .update(session.id, |client| client.library_version = value);
    } else {
        return Err(Refused::ClientAttribute {
            name: text(attribute),
        });
    }
    to.ok();
    Ok(())
}

pub(crate) fn list(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    if args.len() > 2 {
        return Err(Refused::Syntax);
    }
    let mut lines = String::new();
    for (id, client) in session.server.clients.all() {
        line(&mut lines, session, id, &client);
    }
    to.bulk(lines.as_bytes());
    Ok(())
}

pub(crate) fn info(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    let mut lines = String::new();
    if let Some(client) = session.server.clients.find(session.id) {
        line(&mut lines, session, session.id, &client);
    }
    to.bulk(lines.as_bytes());
    Ok(())
}

/// One connection in Redis's form, with the fields that mean something here.
fn line(lines: &mut String, session: &Session, id: u64, client: &ClientInfo) {
    let ClientInfo {
        address,
        name,
        library,
        library_version,
        user,
        keyspace,
        ..
    } = client;
    let (own, age, protocol) = (
        session.server.address,
        client.since.elapsed().as_secs(),
        client.protocol.number(),
    );
    writeln!(
        lines,
        "id={id} addr={address} laddr={own} name={name} age={age} flags=N db={keyspace} user={user} lib-name={library} \
         lib-ver={library_version} resp={protocol}"
    )
    .expect("invariant: a String takes all text");
}

pub(crate) fn on_off(_: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    if !is(args.get(2), "ON") && !is(args.get(2), "OFF") {
        return Err(Refused::Syntax);
    }
    to.ok();
    Ok(())
}

pub(crate) fn consistency(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    if args.len() == 2 {
        to.map(2);
        to.bulk(b"read");
        to.bulk(describe(session.read).as_bytes());
        to.bulk(b"write");
        to.bulk(describe(session.write).as_bytes());
        return Ok(());
    }
    let (mut read, mut write) = (session.read, session.write);
    for at in (2..args.len()).step_by(2) {
        let spec = (at + 1 < args.len())
            .then(|| args.get(at + 1))
            .ok_or(Refused::Syntax)?;
        let side = match args.get(at) {
            word if is(word, "READ") => &mut read,
            word if is(word, "WRITE") => &mut write,
            _ => return Err(Refused::Syntax),
        };
        *side = Asked::parse(spec)?.over(*side);
    }
    (session.read, session.write) = (read, write);
    to.ok();
    Ok(())
}

/// A spec that restores the current level.
fn describe(level: Level) -> String {
    let timeout = level.timeout.as_millis();
    match level.consistency {
        Some(consistency) => format!("{consistency},TIMEOUT={timeout}ms"),
        None => format!("DEFAULT,TIMEOUT={timeout}ms"),
    }
}
