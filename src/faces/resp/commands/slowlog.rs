//! The `SLOWLOG …` commands: which commands took long.

use super::integer;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;

type Done = Result<(), Refused>;

/// How many entries are given if no number is. Redis: 10.
const ENTRIES: usize = 10;

pub(crate) fn get(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    if args.len() > 3 {
        return Err(Refused::Syntax);
    }
    let count = match args.iter(2).next() {
        None => ENTRIES,
        Some(number) => match integer(number) {
            Ok(-1) => usize::MAX,
            Ok(count) => usize::try_from(count).map_err(|_negative| Refused::SlowCount)?,
            Err(_) => return Err(Refused::SlowCount),
        },
    };
    let entries = session.server.stats.slow.latest(count);
    to.array(entries.len());
    for entry in entries {
        to.array(6);
        to.count(entry.number);
        to.count(entry.at);
        to.count(entry.micros);
        to.array(entry.words.len());
        entry.words.iter().for_each(|word| to.bulk(word));
        to.bulk(entry.client.to_string().as_bytes());
        to.bulk(entry.name.as_bytes());
    }
    Ok(())
}

pub(crate) fn len(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.count(session.server.stats.slow.len() as u64);
    Ok(())
}

pub(crate) fn reset(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    session.server.stats.slow.clear();
    to.ok();
    Ok(())
}
