//! The commands that only Quorate has, and `WAIT`.

use std::time::Duration;

use quorate_dynamo::op::{Mutation, Query};

use super::{integer, mutate, query};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::{Session, TIMEOUT_MS_MAX};
use crate::faces::resp::table::RunFuture;
use crate::faces::resp::work::{Shape, Work};

pub(crate) fn ctx_get(_: &Session, args: Args<'_>) -> Result<Work, Refused> {
    query(args, Query::Siblings, Shape::Plain)
}

pub(crate) fn ctx_set(_: &Session, args: Args<'_>) -> Result<Work, Refused> {
    mutate(
        args,
        Mutation::SetWith {
            value: args.kept(2),
            token: args.kept(3),
        },
        Shape::Plain,
    )
}

/// A connection that has written nothing gets the number of reachable replicas, as Redis reports
/// the number of connected ones.
pub(crate) fn wait<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let replicas =
            u32::try_from(integer(args.get(1))?).map_err(|_out_of_range| Refused::NotAnInteger)?;
        let millis =
            u64::try_from(integer(args.get(2))?).map_err(|_negative| Refused::NegativeTimeout)?;
        let millis = if millis == 0 {
            TIMEOUT_MS_MAX
        } else {
            millis.min(TIMEOUT_MS_MAX)
        };
        let receipts = session.receipts.values().copied().collect();
        let pending = session
            .server
            .data
            .wait(receipts, replicas, Duration::from_millis(millis));
        let acked = tokio::select! {
            acked = pending => acked.ok(),
            _ = session.stop.wait_for(|stop| *stop) => None,
        };
        match acked {
            Some(acked) => to.integer(i64::from(acked)),
            None => to.error("STOPPING the node is stopping"),
        }
        Ok(Vec::new())
    })
}

pub(crate) fn status<'a>(
    session: &'a mut Session,
    _: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        match session.server.data.status().await {
            Ok(status) => to.bulk(status.to_json().as_bytes()),
            Err(_) => to.error("STOPPING the node is stopping"),
        }
        Ok(Vec::new())
    })
}
