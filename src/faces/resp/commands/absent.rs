//! Commands about what no node has, such as modules and scripts. What they ask for is empty, and
//! what they remove is not there.

use super::is;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;

type Done = Result<(), Refused>;

/// Any node serves any key, and Redis's cluster protocol is off.
pub(crate) fn cluster(_: &mut Session, _: Args<'_>, _: &mut Encoder) -> Done {
    Err(Refused::NoCluster)
}

pub(crate) fn nothing(_: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.array(0);
    Ok(())
}

pub(crate) fn none_of_them(_: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    to.array(args.len() - 2);
    args.iter(2).for_each(|_| to.integer(0));
    Ok(())
}

pub(crate) fn zero(_: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.integer(0);
    Ok(())
}

pub(crate) fn flush(_: &mut Session, args: Args<'_>, to: &mut Encoder) -> Done {
    let mode = args.iter(2).next();
    if args.len() > 3 || mode.is_some_and(|mode| !is(mode, "ASYNC") && !is(mode, "SYNC")) {
        return Err(Refused::Syntax);
    }
    to.ok();
    Ok(())
}

/// Every node takes writes and none follows another: in Redis's terms, a master without replicas.
pub(crate) fn role(_: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.array(3);
    to.bulk(b"master");
    to.integer(0);
    to.array(0);
    Ok(())
}
