//! Clients of a planned history: each asks one thing at a time and writes down what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, Mutation, Op, PartitionOp, Query, Receipt, Reply, Request, RequestError, SetExpiry};
use quorate_dynamo::preference::Access;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clock::START_UNIX_MILLIS;
use super::history::{Need, Record, Told};
use super::host::Door;
use super::oracle::Oracle;
use super::plan::{Ask, Deed, Key};
use crate::data::Data;

/// What every client can reach.
#[derive(Clone)]
pub(super) struct Counter {
    /// When time begins.
    pub(super) start: Instant,
    /// When the wall clocks of the simulation began.
    pub(super) epoch: Instant,
    pub(super) record: Record,
    pub(super) oracle: Oracle,
}

/// One client.
pub(super) struct Asker {
    counter: Counter,
    /// Per key: the token it was given last, and the requests whose values that covers.
    tokens: BTreeMap<(u8, Key), (Bytes, Vec<u32>)>,
}

/// A request, with the door that it goes through.
pub(super) type Errand = (Ask, Door);

/// The keyspace that a plan calls by `number`.
pub(super) fn keyspace_of(topology: &Topology, number: u8) -> Option<KeyspaceId> {
    if number == 0 { Some(KeyspaceId(0)) } else { topology.keyspace_named(&format!("ks{number}")).map(|(id, _)| id) }
}

impl Asker {
    pub(super) fn new(counter: Counter) -> Self {
        Self { counter, tokens: BTreeMap::new() }
    }

    /// Does its errands, one after the other.
    pub(super) async fn work(mut self, mut errands: mpsc::UnboundedReceiver<Errand>) {
        while let Some((ask, door)) = errands.recv().await {
            self.ask(ask, &door).await;
        }
    }

    async fn ask(&mut self, ask: Ask, door: &Door) {
        let from = self.counter.start.elapsed();
        let key = Bytes::from(ask.key.to_string());
        let data = door.get();
        let topology = data.as_ref().map(|data| data.topology());
        let home = topology.as_deref().and_then(|topology| topology.datacenter_of(NodeId(ask.node)).cloned()).unwrap_or_else(|| "".into());
        let keyspace = topology.as_deref().and_then(|topology| keyspace_of(topology, ask.keyspace));
        let access = if ask.deed.writes() { Access::Write } else { Access::Read };
        let need = |topology: &Topology, keyspace| Need::of(topology, keyspace, &key, (ask.level, access), &home);
        let before = topology.as_deref().zip(keyspace).map(|(topology, keyspace)| need(topology, keyspace)).unwrap_or_default();
        let covers = if ask.deed == Deed::SetSeen { self.seen(&ask).1 } else { Vec::new() };
        let (reply, receipt) = match (data, topology, keyspace) {
            (Some(data), Some(topology), Some(keyspace)) => {
                let reply = self.submit(&ask, &*data, (&topology, keyspace), &home).await;
                let receipt = reply.as_ref().ok().and_then(|answer| answer.receipt);
                (reply.map(|answer| answer.reply), receipt)
            }
            // Nobody listens: the request was never sent.
            (None, ..) => {
                (Err(RequestError::Unavailable { level: ask.level, required: 1, alive: 0, missing: vec![NodeId(ask.node)] }), None)
            }
            _ => (Err(RequestError::NoKeyspace), None),
        };
        if let (Ok(Reply::Siblings { token, values }), Deed::Siblings) = (&reply, &ask.deed) {
            let covered = values.iter().filter_map(|value| request_of(value)).collect();
            self.tokens.insert((ask.keyspace, ask.key), (token.clone(), covered));
        }
        let after = door.get().map(|data| data.topology()).zip(keyspace).map(|(topology, keyspace)| need(&topology, keyspace));
        // Counted in whichever placement it was counted in: when that is not sure, in none.
        let need = if after.as_ref().is_none_or(|after| after.epoch == before.epoch) { before } else { Need::default() };
        self.counter.oracle.acknowledged(&ask, &need, receipt);
        let dot = receipt.map(|Receipt { dot, .. }| dot);
        let to = self.counter.start.elapsed();
        self.counter.record.push(Told { ask, from, to, result: reply, dot, need, covers });
    }

    fn seen(&self, ask: &Ask) -> (Bytes, Vec<u32>) {
        self.tokens.get(&(ask.keyspace, ask.key)).cloned().unwrap_or_default()
    }

    async fn submit(
        &self,
        ask: &Ask,
        data: &dyn Data,
        (topology, keyspace): (&Topology, KeyspaceId),
        home: &Arc<str>,
    ) -> Result<Answer, RequestError> {
        let timeout = Duration::from_millis(ask.timeout);
        let request = |op: Op| Request { keyspace, op, consistency: Some(ask.level), timeout, datacenter: Arc::clone(home), id: None };
        if ask.deed == Deed::Flush {
            let partitions = topology.keyspaces.get(&keyspace).map_or(0, |keyspace| keyspace.placement.len() as u16);
            let (mut answers, mut failed) = (Vec::new(), None);
            for partition in (0..partitions).map(Partition) {
                let op = Op::Partition(partition, PartitionOp::Clear);
                match data.submit(request(op)).await.unwrap_or(Err(RequestError::Stopping)) {
                    Ok(answer) => answers.push(answer),
                    Err(error) => failed = failed.filter(RequestError::may_be_applied).or(Some(error)),
                }
            }
            return match (failed, answers.pop()) {
                (Some(error), None) => Err(error),
                (Some(error), Some(_)) if error.may_be_applied() => Err(error),
                // Some partitions are cleared and some are not.
                (Some(_), Some(_)) => Err(RequestError::Stopping),
                (None, answer) => answer.map(|answer| Answer { receipt: None, ..answer }).ok_or(RequestError::NoKeyspace),
            };
        }
        data.submit(request(self.op(ask))).await.unwrap_or(Err(RequestError::Stopping))
    }

    fn op(&self, ask: &Ask) -> Op {
        let now = START_UNIX_MILLIS + self.counter.epoch.elapsed().as_millis() as u64;
        let value = || Bytes::from(format!("v{}", ask.id));
        let names = |numbers: &[u8]| numbers.iter().map(|number| name(*number)).collect::<Vec<_>>();
        let set = |expiry| Mutation::Set { value: value(), expiry };
        let key = Bytes::from(ask.key.to_string());
        let mutation = match &ask.deed {
            Deed::Set => set(SetExpiry::Clear),
            Deed::SetFor { ms } => set(SetExpiry::At(now + ms)),
            Deed::SetKeep => set(SetExpiry::Keep),
            Deed::Append => Mutation::Append(format!("[{}]", ask.id).into()),
            Deed::Count(by) => Mutation::Increment(*by),
            Deed::Delete => Mutation::Delete,
            Deed::GetDelete => Mutation::GetDelete,
            Deed::ExpireIn { ms } => Mutation::ExpireAt(now + ms),
            Deed::Persist => Mutation::Persist,
            Deed::Add(members) => Mutation::Add(names(members)),
            Deed::Remove(members) => Mutation::Remove(names(members)),
            Deed::SetFields(fields) => Mutation::SetFields(names(fields).into_iter().map(|field| (field, value())).collect()),
            Deed::RemoveFields(fields) => Mutation::RemoveFields(names(fields)),
            Deed::CountField(field, by) => Mutation::IncrementField(name(*field), *by),
            Deed::SetSeen => Mutation::SetWith { value: value(), token: self.seen(ask).0 },
            read => return Op::Query(key, query(read)),
        };
        Op::Mutate(key, mutation)
    }
}

fn query(deed: &Deed) -> Query {
    let names = |numbers: &[u8]| numbers.iter().map(|number| name(*number)).collect::<Vec<_>>();
    match deed {
        Deed::Length => Query::Length,
        Deed::Exists => Query::Exists,
        Deed::Ttl => Query::Expiry,
        Deed::Members => Query::Members,
        Deed::Contains(members) => Query::Contains(names(members)),
        Deed::Cardinality => Query::Cardinality,
        Deed::Fields(fields) => Query::Fields(names(fields)),
        Deed::Entries => Query::Entries,
        Deed::Siblings => Query::Siblings,
        _ => Query::Get,
    }
}

/// The element or field of this number.
pub(super) fn name(number: u8) -> Bytes {
    format!("m{number}").into()
}

/// The request that wrote `value`.
pub(super) fn request_of(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.strip_prefix('v')?.parse().ok()
}
