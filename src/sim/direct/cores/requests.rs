//! The clients of the cores: requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::KeyspaceId;
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{Mutation, Op, Query, Reply, Request, RequestError};
use quorate_dynamo::protocol::{Input, RequestId, Ticket};

use super::{Cores, set};

/// How long clients wait.
const TIMEOUT: Duration = Duration::from_millis(500);

impl Cores {
    /// Submits a request without waiting, with a request id if there is one.
    pub(in crate::sim::direct) fn submit(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
        id: Option<&str>,
    ) -> u64 {
        self.submit_as(at, op, level, id, None)
    }

    /// Submits a request at `QUORUM` under a lock.
    pub(in crate::sim::direct) fn submit_under(&mut self, at: u64, op: Op, claim: Claim) -> u64 {
        self.submit_as(at, op, Consistency::Quorum, None, Some(claim))
    }

    /// The answer to such a request, if there is one.
    pub(in crate::sim::direct) fn ask_under(
        &mut self,
        at: u64,
        op: Op,
        claim: Claim,
    ) -> Option<Result<Reply, RequestError>> {
        let ticket = self.submit_under(at, op, claim);
        self.answer(ticket)
    }

    fn submit_as(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
        id: Option<&str>,
        claim: Option<Claim>,
    ) -> u64 {
        self.numbers += 1;
        let id = id.and_then(|id| RequestId::new(Bytes::copy_from_slice(id.as_bytes())));
        let datacenter = self
            .topology
            .nodes
            .get(&NodeId(at))
            .map_or_else(|| "dc1".into(), |node| Arc::clone(&node.datacenter));
        let request = Request {
            keyspace: KeyspaceId(0),
            op,
            consistency: Some(level),
            timeout: TIMEOUT,
            datacenter,
            id,
            claim,
        };
        self.input(
            at,
            Input::Request {
                ticket: Ticket(self.numbers),
                request,
            },
        );
        self.numbers
    }

    /// The answer so far.
    pub(in crate::sim::direct) fn reply(&self, ticket: u64) -> Option<Result<Reply, RequestError>> {
        self.replies
            .get(&ticket)
            .map(|result| result.clone().map(|answer| answer.reply))
    }

    /// Runs until there is an answer or the request should have timed out; `None` if there was no
    /// answer.
    pub(in crate::sim::direct) fn answer(
        &mut self,
        ticket: u64,
    ) -> Option<Result<Reply, RequestError>> {
        self.settle();
        if !self.replies.contains_key(&ticket) {
            self.run(TIMEOUT + Duration::from_millis(100));
        }
        self.reply(ticket)
    }

    pub(in crate::sim::direct) fn ask(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
    ) -> Option<Result<Reply, RequestError>> {
        let ticket = self.submit(at, op, level, None);
        self.answer(ticket)
    }

    pub(in crate::sim::direct) fn mutate(
        &mut self,
        at: u64,
        key: &str,
        mutation: Mutation,
        level: Consistency,
    ) -> Option<Result<Reply, RequestError>> {
        self.ask(
            at,
            Op::Mutate(Bytes::copy_from_slice(key.as_bytes()), mutation),
            level,
        )
    }

    pub(in crate::sim::direct) fn query(
        &mut self,
        at: u64,
        key: &str,
        query: Query,
        level: Consistency,
    ) -> Option<Result<Reply, RequestError>> {
        self.ask(
            at,
            Op::Query(Bytes::copy_from_slice(key.as_bytes()), query),
            level,
        )
    }

    /// Sets a key. Returns whether that was acknowledged.
    pub(in crate::sim::direct) fn set(
        &mut self,
        at: u64,
        key: &str,
        value: &str,
        level: Consistency,
    ) -> bool {
        matches!(self.ask(at, set(key, value), level), Some(Ok(_)))
    }

    /// Whether a key reads as `value` at this level.
    pub(in crate::sim::direct) fn reads(
        &mut self,
        at: u64,
        key: &str,
        level: Consistency,
        value: &str,
    ) -> bool {
        self.query(at, key, Query::Get, level)
            == Some(Ok(Reply::Value(Bytes::copy_from_slice(value.as_bytes()))))
    }
}
