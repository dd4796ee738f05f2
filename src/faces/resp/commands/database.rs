//! `SELECT`: keyspaces as the numbered databases of Redis.

use quorate_control::topology::{KeyspaceId, Right, Topology};

use super::integer;
use crate::doors::AdminError;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::permit;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;

/// The numbers that `SELECT` takes begin at 0 and end before this. Redis: 16.
pub(super) const DATABASES: i64 = 16;
/// Number n, except 0, is the keyspace with this and n for its name: digits alone name none.
const DATABASE_PREFIX: &str = "db";

/// Chooses a keyspace, and makes that of a database number if there is none. After a refusal the
/// connection has no keyspace: many clients select when they connect and continue without looking
/// at the answer, and what they write must not go to a keyspace that they did not choose.
pub(crate) fn select<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let found = keyspace(session, args.get(1)).await;
        session.unselected = found.is_err();
        session.keyspace = found?;
        let keyspace = session.keyspace;
        session
            .server
            .clients
            .update(session.id, |client| client.keyspace = keyspace);
        to.ok();
        Ok(Vec::new())
    })
}

async fn keyspace(session: &mut Session, wanted: &[u8]) -> Result<KeyspaceId, Refused> {
    let topology = session.server.data.topology();
    let named = |name: &str| topology.keyspace_named(name).map(|(keyspace, _)| keyspace);
    let Ok(number) = integer(wanted) else {
        let found = std::str::from_utf8(wanted).ok().and_then(named);
        return found.ok_or(Refused::KeyspaceName);
    };
    // The default keyspace exists even before the node has learnt the topology.
    if number == 0 {
        return Ok(KeyspaceId(0));
    }
    if !(0..DATABASES).contains(&number) {
        return Err(Refused::KeyspaceNumber);
    }
    let name = format!("{DATABASE_PREFIX}{number}");
    if let Some(keyspace) = named(&name) {
        return Ok(keyspace);
    }
    if !session.ready() {
        return Err(Refused::Loading);
    }
    // Whoever selects a number that was never used makes a keyspace.
    session
        .may(Right::Cluster)
        .map_err(|denied| permit::refused(denied, session, "select"))?;
    let opened = session.server.data.open_keyspace(&name).await;
    opened
        .unwrap_or(Err(AdminError::Stopping))
        .map_err(|error| Refused::NoKeyspace { name, error })
}

/// How clients that know only numbers call a keyspace: the number that `SELECT` takes for it, or
/// else its name.
pub(super) fn database(keyspace: KeyspaceId, topology: &Topology) -> String {
    if keyspace == KeyspaceId(0) {
        return "0".to_owned();
    }
    let name = topology
        .keyspaces
        .get(&keyspace)
        .map_or("", |keyspace| &keyspace.name);
    let number = name.strip_prefix(DATABASE_PREFIX);
    number
        .filter(|number| {
            integer(number.as_bytes()).is_ok_and(|number| (1..DATABASES).contains(&number))
        })
        .unwrap_or(name)
        .to_owned()
}
