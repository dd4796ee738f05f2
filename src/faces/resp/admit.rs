//! Decides whether a command may run: finds it in the table, takes its prefixes off, and makes the
//! checks that are the same for all.

use bytes::Bytes;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::protocol::RequestId;

use super::parse::Args;
use super::permit::permit;
use super::refuse::Refused;
use super::session::{Asked, Level, Session, Wanted};
use super::table::{self, Flags, NEEDS_SERIAL, NOT_OFFERED, Run, Spec};

/// How many bytes of an unknown command's arguments are repeated to the client. Redis: 128.
const ECHO_BYTES: usize = 128;

/// A command that may run.
pub(crate) struct Admitted {
    /// Its number in the table.
    pub number: usize,
    /// Its entry in the table.
    pub spec: &'static Spec,
    /// How many of its words are prefixes.
    pub prefixes: usize,
    /// The levels of a `CL` prefix, for this command only.
    pub level: Option<(Level, Level)>,
    /// The name of a `REQ` prefix, for this command only.
    pub named: Option<RequestId>,
    /// The lock of a `FENCE` prefix, for this command only.
    pub claim: Option<Claim>,
}

/// Finds the command and makes the checks that are the same for all: name, number of arguments,
/// authentication, readiness.
pub(crate) fn admit(session: &mut Session, all: Args<'_>) -> Result<Admitted, Refused> {
    let (number, spec) = find(session, all)?;
    let mut args = all;
    let mut admitted = Admitted {
        number,
        spec,
        prefixes: 0,
        level: None,
        named: None,
        claim: None,
    };
    if !session.authenticated() && !admitted.spec.flags.has(Flags::NO_AUTH) {
        return Err(Refused::NoAuth);
    }
    let mut asked = None;
    while matches!(admitted.spec.run, Run::Prefix) {
        let word = args.get(1);
        let mut words = 2;
        let (prefix, again) = match admitted.spec.name {
            "cl" => {
                let level = Asked::parse(word)?;
                asked = if let Wanted::Level(level) = level.consistency {
                    Some(level)
                } else {
                    None
                };
                let levels = (level.over(session.read), level.over(session.write));
                ("CL", admitted.level.replace(levels).is_some())
            }
            "fence" => {
                let (claim, length) = claim(args)?;
                words = length;
                ("FENCE", admitted.claim.replace(claim).is_some())
            }
            _ => {
                let named =
                    RequestId::new(Bytes::copy_from_slice(word)).ok_or(Refused::RequestName)?;
                ("REQ", admitted.named.replace(named).is_some())
            }
        };
        if again {
            return Err(Refused::Prefix {
                prefix,
                name: admitted.spec.name,
            });
        }
        args = args.skip(words);
        (admitted.number, admitted.spec) = find(session, args)?;
        if !admitted.spec.is_on_data() && !matches!(admitted.spec.run, Run::Prefix) {
            return Err(Refused::Prefix {
                prefix,
                name: admitted.spec.name,
            });
        }
    }
    let Spec { name, flags, .. } = *admitted.spec;
    if admitted.named.is_some() && !admitted.spec.takes_name() {
        return Err(Refused::Unnamed { name });
    }
    if let Some(level) = asked.filter(|level| flags.has(Flags::ONE_REPLICA) && !asks_one(*level)) {
        return Err(Refused::OneReplica { name, level });
    }
    let under_lock = admitted.claim.is_some();
    permit(session, admitted.spec, args, under_lock)?;
    ready(session, admitted.spec)?;
    admitted.prefixes = all.len() - args.len();
    Ok(admitted)
}

/// Reads `FENCE key token [SEQ n [SINCE n]]`, and says how many words that is.
fn claim(args: Args<'_>) -> Result<(Claim, usize), Refused> {
    let word = |at: usize| (at < args.len()).then(|| args.get(at));
    let number = |at| {
        let text = std::str::from_utf8(word(at)?).ok()?;
        text.parse::<u64>().ok()
    };
    let is = |at, name: &[u8]| word(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
    let token = number(2).ok_or(Refused::Fence)?;
    let (mut claim, mut words) = (Claim::new(args.get(1), token), 3);
    if is(words, b"SEQ") {
        claim.sequence = number(words + 1).ok_or(Refused::Fence)?;
        words += 2;
        if is(words, b"SINCE") {
            claim.since = number(words + 1).ok_or(Refused::Fence)?;
            words += 2;
        }
    }
    if claim.is_valid() && words < args.len() {
        Ok((claim, words))
    } else {
        Err(Refused::Fence)
    }
}

/// Whether a read at this level asks one replica.
fn asks_one(level: Consistency) -> bool {
    matches!(
        level,
        Consistency::One | Consistency::LocalOne | Consistency::Numeric { read: 1, .. }
    )
}

fn ready(session: &mut Session, spec: &Spec) -> Result<(), Refused> {
    if session.unselected && spec.is_on_data() {
        return Err(Refused::Unselected);
    }
    if spec.flags.has(Flags::LOADING) || session.ready() {
        Ok(())
    } else {
        Err(Refused::Loading)
    }
}

/// The table entry for these words and its number, if there are as many words as it takes.
fn find(session: &mut Session, args: Args<'_>) -> Result<(usize, &'static Spec), Refused> {
    let Some((number, found)) = table::commands().resolve(args) else {
        return Err(unknown(session, args));
    };
    if found.takes(args.len()) {
        return Ok((number, found));
    }
    let name = table::commands().names().nth(number).unwrap_or_default();
    Err(Refused::Arity { name })
}

/// The error for an unknown command. A browser that was made to post to this port is disconnected
/// at once.
fn unknown(session: &mut Session, args: Args<'_>) -> Refused {
    let name = args.get(0);
    if let Some(&(name, reason)) = NEEDS_SERIAL
        .iter()
        .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    {
        return Refused::NeedsSerial { name, reason };
    }
    if let Some(&(name, reason)) = NOT_OFFERED
        .iter()
        .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    {
        return Refused::NotOffered { name, reason };
    }
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        session.closing = true;
    }
    let mut shown = String::new();
    for arg in args.iter(1) {
        if shown.len() >= ECHO_BYTES {
            break;
        }
        let room = (ECHO_BYTES - shown.len()).min(arg.len());
        shown.extend(["'", &String::from_utf8_lossy(&arg[..room]), "' "]);
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(ECHO_BYTES)]).into_owned();
    Refused::UnknownCommand { name, args: shown }
}
