//! Explains a key: asks every node that keeps a copy what its replica holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_control::topology::KeyspaceId;
use quorate_crdt::NodeId;
use quorate_dynamo::replica::{Fact, Payload, RowKind};
use quorate_dynamo::{EntryView, KeyView, RowView, SeenOf};
use quorate_gossip::wire;
use tokio::task::JoinSet;

use super::hub::{ASK_TIMEOUT, Call, KeyQuestion, tagged};
use super::shared::Shared;
use crate::doors::{Explanation, HeldEntry, HeldKey, HeldRow, Holding, Printable, short_name_of};

/// A node does not answer.
#[derive(Clone, Copy)]
struct Silent;

/// What a node says about a key; nothing if it has no replica of the partition.
type Answer = Result<Option<KeyView>, Silent>;

impl Shared {
    /// Where the key lies, and what every replica holds of it; `None` if there is no such keyspace.
    pub(super) async fn explain(&self, keyspace: KeyspaceId, key: Bytes) -> Option<Explanation> {
        let topology = self.hub.topology();
        let within = topology.keyspaces.get(&keyspace)?;
        let partition = within.partition_of(&key);
        let placement = within.placement(partition)?;
        let holders = placement.holders();
        let question = KeyQuestion {
            keyspace,
            key: key.clone(),
        };
        let views = self.ask_holders(&holders, &question).await;
        let digest = |view: &Answer| Some(view.as_ref().ok()?.as_ref()?.digest);
        let first = views.values().next().and_then(digest);
        let equal = first.is_some() && views.values().all(|view| digest(view) == first);
        let holding = |node: NodeId| {
            let view = views.get(&node).cloned().unwrap_or(Err(Silent));
            Holding {
                node: short_name_of(node, &topology),
                answered: view.is_ok(),
                replica: view.ok().flatten().map(held),
            }
        };
        let transition = placement.transition.as_ref();
        let moving_to = transition.into_iter().flat_map(|moving| &moving.to);
        Some(Explanation {
            keyspace: within.name.to_string(),
            key: Printable::of(&key),
            partition: partition.0,
            epoch: placement.epoch.0,
            moving_to: moving_to
                .map(|node| short_name_of(*node, &topology))
                .collect(),
            replicas: holders.iter().copied().map(holding).collect(),
            equal,
        })
    }

    /// What each holder says.
    async fn ask_holders(
        &self,
        holders: &[NodeId],
        question: &KeyQuestion,
    ) -> BTreeMap<NodeId, Answer> {
        let mut views = BTreeMap::new();
        let mut asked = JoinSet::new();
        for &node in holders {
            if node == self.settings.node {
                views.insert(node, Ok(self.hub.explain(question).await));
                continue;
            }
            let body = wire::encode(question);
            let call = self
                .transport
                .call(node, tagged(Call::Explain, &body), ASK_TIMEOUT);
            asked.spawn(async move {
                let answer = call.await.map_err(|_no_answer| Silent);
                let view = answer.and_then(|answer| wire::decode(&answer).map_err(|_other| Silent));
                (node, view)
            });
        }
        while let Some(answer) = asked.join_next().await {
            views.extend(answer);
        }
        views
    }
}

fn held(view: KeyView) -> HeldKey {
    let seen = |seen: SeenOf| {
        let SeenOf {
            replica,
            prefix,
            max,
        } = seen;
        let events = if max > prefix {
            format!("1..{prefix}, some up to {max}")
        } else {
            format!("1..{prefix}")
        };
        (format!("{replica:?}"), events)
    };
    HeldKey {
        id: format!("{:?}", view.replica),
        filling: view.filling,
        quarantined: view.quarantined,
        digest: format!("{:032x}", view.digest),
        expires: view.expires_at,
        row_count: view.row_count,
        rows: view.rows.into_iter().map(row).collect(),
        context: view.seen.into_iter().map(seen).collect(),
    }
}

fn row(view: RowView) -> HeldRow {
    let kind = match view.kind {
        RowKind::String => "string",
        RowKind::Hash => "hash",
        RowKind::Set => "set",
        RowKind::Expiry => "expiry",
        RowKind::Request => "request",
    };
    let has_field = matches!(view.kind, RowKind::Hash | RowKind::Set);
    HeldRow {
        kind: kind.to_owned(),
        field: has_field.then(|| Printable::of(&view.field)),
        entries: view.entries.into_iter().map(entry).collect(),
    }
}

fn entry(view: EntryView) -> HeldEntry {
    let mut entry = HeldEntry {
        dot: format!("{:?}", view.dot),
        what: String::new(),
        value: None,
        value_bytes: None,
        count: None,
        stamp: view.payload.stamp().map(|stamp| stamp.hlc.unix_millis()),
        token: view.payload.guarded().map(|held| held.stamp.rank.token),
        expires: None,
    };
    let what = match view.payload {
        Payload::Register { value, expires, .. } => {
            entry.value = Some(Printable::of(&value));
            entry.value_bytes = Some(view.value_bytes);
            entry.expires = expires;
            "value"
        }
        Payload::Count(share) => {
            entry.count = Some(share.to_string());
            "count"
        }
        Payload::Counted { by, .. } => {
            entry.count = Some(by.to_string());
            "count"
        }
        Payload::Member => "member",
        Payload::Expiry { at, .. } => {
            entry.expires = at;
            "expiry"
        }
        Payload::Executed { .. } => "request",
        Payload::Guarded(guarded) => match guarded.fact {
            Fact::Value { value, expires } => {
                entry.value = Some(Printable::of(&value));
                entry.value_bytes = Some(view.value_bytes);
                entry.expires = expires;
                "value"
            }
            Fact::Member => "member",
            Fact::Gone => "gone",
            Fact::Collection { expires, .. } => {
                entry.expires = expires;
                "collection"
            }
        },
    };
    what.clone_into(&mut entry.what);
    entry
}
