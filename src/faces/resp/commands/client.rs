//! The `CLIENT …` commands: what a connection is called, at which levels it runs, and who else is
//! connected.

use std::fmt::Write as _;

use super::database::database;
use super::{arity, integer, is, text};
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

/// Which connections a command is about.
#[derive(Debug, Default)]
struct Picked {
    ids: Vec<u64>,
    address: Option<String>,
    own_address: Option<String>,
    user: Option<String>,
    /// Of a type of which there are none: everybody here is a normal client.
    nobody: bool,
}

impl Picked {
    fn takes(&self, id: u64, client: &ClientInfo, own_address: &str) -> bool {
        let equals = |wanted: &Option<String>, held: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == held)
        };
        !self.nobody
            && (self.ids.is_empty() || self.ids.contains(&id))
            && equals(&self.address, &client.address.to_string())
            && equals(&self.own_address, own_address)
            && equals(&self.user, &client.user)
    }

    fn of_type(&mut self, name: &[u8]) -> Done {
        if !["normal", "master", "replica", "slave", "pubsub"]
            .into_iter()
            .any(|known| is(name, known))
        {
            return Err(Refused::ClientType { name: text(name) });
        }
        self.nobody |= !is(name, "normal");
        Ok(())
    }

    fn id(&mut self, number: &[u8]) -> Done {
        let id = integer(number).ok().and_then(|id| u64::try_from(id).ok());
        self.ids.push(id.ok_or(Refused::ClientNumber)?);
        Ok(())
    }
}

pub(crate) fn list(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    let mut picked = Picked::default();
    match args.len() {
        2 => {}
        4 if is(args.get(2), "TYPE") => picked.of_type(args.get(3))?,
        4.. if is(args.get(2), "ID") => args.iter(3).try_for_each(|id| picked.id(id))?,
        _ => return Err(Refused::Syntax),
    }
    let mut lines = String::new();
    for (id, client) in session.server.clients.all() {
        if picked.takes(id, &client, "") {
            line(&mut lines, session, id, &client);
        }
    }
    to.text(&lines);
    Ok(())
}

/// `CLIENT KILL host:port`, or filters that a connection must all pass. A connection ends when
/// everything that it has sent is answered.
pub(crate) fn kill(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    let (mut picked, mut skip_me) = (Picked::default(), true);
    if args.len() == 3 {
        picked.address = Some(text(args.get(2)));
        skip_me = false;
    } else {
        arity(args.len().is_multiple_of(2), "client|kill")?;
        for at in (2..args.len()).step_by(2) {
            let (filter, value) = (args.get(at), args.get(at + 1));
            match filter {
                word if is(word, "ID") => picked.id(value)?,
                word if is(word, "TYPE") => picked.of_type(value)?,
                word if is(word, "ADDR") => picked.address = Some(text(value)),
                word if is(word, "LADDR") => picked.own_address = Some(text(value)),
                word if is(word, "USER") => picked.user = Some(text(value)),
                word if is(word, "SKIPME") && is(value, "yes") => skip_me = true,
                word if is(word, "SKIPME") && is(value, "no") => skip_me = false,
                _ => return Err(Refused::Syntax),
            }
        }
    }
    let own_address = session.server.address.to_string();
    let (mut killed, clients) = (0, session.server.clients.all());
    for (id, client) in clients {
        if picked.takes(id, &client, &own_address) && !(skip_me && id == session.id) {
            killed += 1;
            session.closing |= id == session.id;
            client.leave.notify_one();
        }
    }
    match (args.len(), killed) {
        (3, 0) => return Err(Refused::NoSuchClient),
        (3, _) => to.ok(),
        _ => to.count(killed),
    }
    Ok(())
}

pub(crate) fn info(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    let mut lines = String::new();
    if let Some(client) = session.server.clients.find(session.id) {
        line(&mut lines, session, session.id, &client);
    }
    to.text(&lines);
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
    let (own, age, protocol, database) = (
        session.server.address,
        client.since.elapsed().as_secs(),
        client.protocol.number(),
        database(*keyspace, &session.server.data.topology()),
    );
    writeln!(
        lines,
        "id={id} addr={address} laddr={own} name={name} age={age} flags=N db={database} user={user} lib-name={library} \
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
