//! Finds out at which level a request runs that names none. A checker must know.

use crate::faces::resp::client::{Client, ClientError, Value};
use crate::faces::resp::{Asked, Wanted};

/// Recorded if nobody says which level applies. No checker takes it for a level.
const UNKNOWN: &str = "UNKNOWN";

/// The levels of reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    read: Box<str>,
    write: Box<str>,
}

impl Pair {
    fn unknown() -> Self {
        Self {
            read: UNKNOWN.into(),
            write: UNKNOWN.into(),
        }
    }
}

/// The levels that apply if a request names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// From the connection; its user may have chosen one.
    session: Pair,
    /// From its keyspace.
    keyspace: Pair,
}

impl Levels {
    /// Asks the server, which need not be Quorate.
    ///
    /// # Errors
    /// The connection cannot be used any further.
    pub(super) async fn of(
        client: &mut Client,
        keyspace: Option<&str>,
    ) -> Result<Self, ClientError> {
        let info = unless_refused(client.command(&[b"INFO", b"keyspaces"]).await)?;
        let info = info
            .as_ref()
            .and_then(Value::bytes)
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        let keyspace = of_keyspace(&info, keyspace).unwrap_or_else(Pair::unknown);
        let session = unless_refused(client.command(&[b"CLIENT", b"CONSISTENCY"]).await)?;
        let session = session
            .and_then(|reply| of_session(&reply, &keyspace))
            .unwrap_or_else(Pair::unknown);
        Ok(Self { session, keyspace })
    }

    /// The level of a request with the prefix `CL asked`, or without a prefix.
    pub(super) fn effective(&self, asked: Option<&str>, reads: bool) -> Box<str> {
        let of = |pair: &Pair| {
            if reads {
                pair.read.clone()
            } else {
                pair.write.clone()
            }
        };
        let Some(text) = asked else {
            return of(&self.session);
        };
        match Asked::parse(text.as_bytes()).map(|asked| asked.consistency) {
            Ok(Wanted::Same) => of(&self.session),
            Ok(Wanted::Default) => of(&self.keyspace),
            // A refused request ran at no level.
            Ok(Wanted::Level(_)) | Err(_) => text.into(),
        }
    }
}

/// The answer of the server; nothing if it does not know the question.
fn unless_refused(answer: Result<Value, ClientError>) -> Result<Option<Value>, ClientError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ClientError::Refused(_)) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Parses `INFO keyspaces`: `keyspace2:name=carts,partitions=64,read=ONE,write=R=1,W=2`. A keyspace
/// is named as for `SELECT`.
fn of_keyspace(info: &str, wanted: Option<&str>) -> Option<Pair> {
    let wanted = match wanted {
        None | Some("0") => "default".to_owned(),
        Some(number) if number.parse::<i64>().is_ok() => format!("db{number}"),
        Some(name) => name.to_owned(),
    };
    info.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("keyspace")?.split_once(":name=")?;
        let (name, rest) = rest.split_once(",partitions=")?;
        let (read, write) = rest.split_once(",read=")?.1.split_once(",write=")?;
        (wanted == name).then(|| Pair {
            read: read.into(),
            write: write.into(),
        })
    })
}

/// Parses `CLIENT CONSISTENCY`: the names of both sides, each with its level, which may be the
/// keyspace's.
fn of_session(reply: &Value, keyspace: &Pair) -> Option<Pair> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let level = |name: &str, default: &str| -> Option<Box<str>> {
        let side = parts
            .chunks_exact(2)
            .find(|side| side[0].bytes() == Some(name.as_bytes()))?;
        match Asked::parse(side[1].bytes()?).ok()?.consistency {
            Wanted::Level(level) => Some(level.to_string().into()),
            Wanted::Default => Some(default.into()),
            Wanted::Same => None,
        }
    };
    Some(Pair {
        read: level("read", &keyspace.read)?,
        write: level("write", &keyspace.write)?,
    })
}

#[cfg(test)]
mod tests;
