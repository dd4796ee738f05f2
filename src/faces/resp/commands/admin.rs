//! The commands with which clients and operators ask about the node's settings, and set a few.

use super::command::few;
use super::database::DATABASES;
use super::{arity, integer, is, text};
use crate::config::Durability;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::glob::{Glob, PATTERNS_BYTES_MAX};
use crate::faces::resp::parse::{ARGUMENT_BYTES_MAX, Args};
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::now_micros;

/// The settings that can be set while a node runs: what the slow log takes.
const SLOWER_THAN: &str = "slowlog-log-slower-than";
const SLOW_ENTRIES: &str = "slowlog-max-len";

/// The Redis settings that clients and tools look at, with the values that are true here.
fn settings(session: &Session) -> Vec<(&'static str, String)> {
    let config = &session.server.config;
    let (appendonly, appendfsync) = match config.durability {
        None => ("no", "no"),
        Some(Durability::Sync) => ("yes", "always"),
        Some(Durability::Interval(_)) => ("yes", "everysec"),
        Some(Durability::None) => ("yes", "no"),
    };
    let slow = &session.server.stats.slow;
    vec![
        ("appendfsync", appendfsync.to_owned()),
        ("appendonly", appendonly.to_owned()),
        ("bind", session.server.address.ip().to_string()),
        ("databases", DATABASES.to_string()),
        ("cluster-enabled", "no".to_owned()),
        ("latency-monitor-threshold", "0".to_owned()),
        ("maxclients", config.guests.max().to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", session.server.address.port().to_string()),
        ("proto-max-bulk-len", ARGUMENT_BYTES_MAX.to_string()),
        (
            "requirepass",
            if config.gate.has_password() {
                "(hidden)"
            } else {
                ""
            }
            .to_owned(),
        ),
        ("save", String::new()),
        (SLOWER_THAN, slow.bound().to_string()),
        (SLOW_ENTRIES, slow.most().to_string()),
        ("tcp-keepalive", config.keepalive.as_secs().to_string()),
        ("timeout", "0".to_owned()),
    ]
}

pub(crate) fn config_get(
    session: &mut Session,
    args: Args<'_>,
    to: &mut Encoder,
) -> Result<(), Refused> {
    few(args)?;
    let bytes = args.iter(2).map(<[u8]>::len).sum();
    // A single pattern has a bound of its own.
    if bytes > PATTERNS_BYTES_MAX && args.len() > 3 {
        return Err(Refused::PatternsTooLong {
            bytes,
            max: PATTERNS_BYTES_MAX,
        });
    }
    let patterns: Vec<Glob> = args
        .iter(2)
        .map(|pattern| Glob::new(&pattern.to_ascii_lowercase()))
        .collect::<Result<_, _>>()?;
    let mut found = settings(session);
    found.retain(|(name, _)| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()))
    });
    to.map(found.len());
    for (name, value) in found {
        to.bulk(name.as_bytes());
        to.bulk(value.as_bytes());
    }
    Ok(())
}

/// Sets what can be set while a node runs. A client may also set what already holds.
pub(crate) fn config_set(
    session: &mut Session,
    args: Args<'_>,
    to: &mut Encoder,
) -> Result<(), Refused> {
    arity(args.len().is_multiple_of(2), "config|set")?;
    let known = settings(session);
    let (mut bound, mut most) = (None, None);
    for at in (2..args.len()).step_by(2) {
        let (name, value) = (args.get(at), args.get(at + 1));
        let number =
            || integer(value).map_err(|_not_a_number| Refused::NumberSetting { name: text(name) });
        match known.iter().find(|(setting, _)| is(name, setting)) {
            None => return Err(Refused::UnknownSetting { name: text(name) }),
            Some((SLOWER_THAN, _)) => bound = Some(number()?),
            Some((SLOW_ENTRIES, _)) => most = Some(number()?),
            Some((_, holds)) if holds.as_bytes() == value => {}
            Some(_) => return Err(Refused::FixedSetting { name: text(name) }),
        }
    }
    let slow = &session.server.stats.slow;
    if let Some(bound) = bound {
        slow.set_bound(bound);
    }
    if let Some(most) = most {
        slow.set_most(usize::try_from(most).unwrap_or(0));
    }
    to.ok();
    Ok(())
}

pub(crate) fn config_resetstat(
    session: &mut Session,
    _: Args<'_>,
    to: &mut Encoder,
) -> Result<(), Refused> {
    session.server.counters.reset();
    session.server.stats.reset();
    to.ok();
    Ok(())
}

pub(crate) fn config_rewrite(_: &mut Session, _: Args<'_>, _: &mut Encoder) -> Result<(), Refused> {
    Err(Refused::NoConfigFile)
}

pub(crate) fn time(_: &mut Session, _: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    let now = now_micros();
    to.array(2);
    to.bulk((now / 1_000_000).to_string().as_bytes());
    to.bulk((now % 1_000_000).to_string().as_bytes());
    Ok(())
}
