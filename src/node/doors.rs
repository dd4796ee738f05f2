//! A shared node as faces see it: its [`Data`] and [`Admin`] doors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::ProposeError;
use quorate_control::state::{Command, CommandRefusal, LogIndex, NewToken, Response, TokenId};
use quorate_control::topology::{KeyspaceId, Replication, Topology};
use quorate_crdt::{NodeId, PublicKey};
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};
use quorate_gossip::token::JoinToken;
use tokio::sync::oneshot;

use super::coordinating::Coordinating;
use super::groups::GroupAt;
use super::inbox::Work;
use super::keyspaces;
use super::levels;
use super::members;
use super::meter::Readings;
use super::shared::Shared;
use super::users;
use crate::doors::{
    Admin, AdminError, Coordinator, Data, Explanation, GroupDoor, KeyspaceChange, KeyspacePlan,
    KeyspaceSpec, Lost, Member, Pending, PlannedMoves, Room, Shortfall, Status, TokenInfo,
    UserChange,
};

/// The shortest lifetime of a join token.
const TOKEN_LIFE_MIN: Duration = Duration::from_secs(1);

/// The doors of a running node.
pub(crate) struct Doors {
    pub(super) shared: Arc<Shared>,
    pub(super) coordinating: Arc<Coordinating>,
    /// Where the doors' own tasks run.
    pub(super) runtime: tokio::runtime::Handle,
}

impl Data for Doors {
    fn submit(&self, request: Request) -> Pending<Result<Answer, RequestError>> {
        self.shared.hub.submit(request, None)
    }

    fn submit_into(
        &self,
        request: Request,
        room: &Arc<Room>,
    ) -> Pending<Result<Answer, RequestError>> {
        self.shared.hub.submit(request, Some(Arc::clone(room)))
    }

    fn wait(&self, receipts: Vec<Receipt>, replicas: u32, timeout: Duration) -> Pending<u32> {
        let (answer, pending) = oneshot::channel();
        let hub = Arc::clone(&self.shared.hub);
        let mut by_core: BTreeMap<u8, Vec<Receipt>> = BTreeMap::new();
        for receipt in receipts {
            by_core
                .entry(hub.core_of(receipt.partition))
                .or_default()
                .push(receipt);
        }
        self.runtime.spawn(async move {
            let mut parts = Vec::new();
            for (core, receipts) in by_core {
                let (answer, part) = oneshot::channel();
                hub.lanes[usize::from(core)]
                    .push_surely(Work::Wait {
                        receipts,
                        replicas,
                        timeout,
                        answer,
                    })
                    .await;
                parts.push(part);
            }
            let mut least: Option<u32> = None;
            for part in parts {
                // A shard that is gone knows of nobody.
                let known = part.await.unwrap_or(0);
                least = Some(least.map_or(known, |least| least.min(known)));
            }
            // A client that has written nothing asks how many replicas can be reached.
            let _gone = answer.send(least.unwrap_or_else(|| hub.reachable_replicas()));
        });
        pending
    }

    fn open_keyspace(&self, name: &str) -> Pending<Result<KeyspaceId, AdminError>> {
        let topology = self.topology();
        if let Some((keyspace, _)) = topology.keyspace_named(name) {
            return at_once(Ok(keyspace));
        }
        let replication = topology
            .keyspaces
            .get(&KeyspaceId(0))
            .map_or(Replication::Auto, |default| default.replication.clone());
        let made = self.create_keyspace(KeyspaceSpec {
            name: name.into(),
            replication,
            partitions: None,
            read: None,
            write: None,
            split: None,
        });
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.later(async move {
            match made.await.unwrap_or(Err(AdminError::Stopping)) {
                // Somebody else was faster, and this node will hear of it.
                Err(AdminError::Exists) => {
                    shared
                        .acts_on(|topology| topology.keyspace_named(&name).is_some())
                        .await;
                    let topology = shared.hub.topology();
                    let made = topology.keyspace_named(&name);
                    made.map(|(keyspace, _)| keyspace)
                        .ok_or(AdminError::TimedOut)
                }
                made => made,
            }
        })
    }

    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(Arc::clone(&self.coordinating))
    }

    fn topology(&self) -> Arc<Topology> {
        self.shared.hub.topology()
    }

    fn node(&self) -> NodeId {
        self.shared.settings.node
    }

    fn status(&self) -> Pending<Status> {
        let shared = Arc::clone(&self.shared);
        self.later(async move { shared.status().await })
    }

    fn explain(&self, keyspace: KeyspaceId, key: Bytes) -> Pending<Option<Explanation>> {
        let shared = Arc::clone(&self.shared);
        self.later(async move { shared.explain(keyspace, key).await })
    }

    fn metrics(&self) -> String {
        let shared = &self.shared;
        let (commits, syncs) = shared.world.gauge.commits_and_syncs();
        let readings = Readings {
            disk_bytes: shared.world.store.stats().bytes,
            free_bytes: shared.world.gauge.free_bytes(),
            commits,
            syncs,
            nodes: shared.hub.topology().nodes.len() as u64,
            peers: shared.hub.connected_peers(),
            raft_term: shared.control.group().status().term,
            groups: shared.control.consensus().reports(),
            process: shared.world.gauge.process(),
        };
        shared.hub.meter.text(&readings, self.coordinating.held())
    }

    fn ready(&self) -> bool {
        self.shared.failure.borrow().is_none() && self.shared.is_placed()
    }

    fn shortfall(&self) -> Option<Shortfall> {
        levels::shortfall(
            &self.topology(),
            self.node(),
            &self.shared.hub.unreachable.load(),
        )
    }
}

impl Doors {
    /// Nodes on which nothing is placed any more.
    fn withdrawn(&self) -> BTreeSet<NodeId> {
        self.shared.control.group().read(|state| {
            let nodes = state.topology().nodes.keys().copied();
            nodes.filter(|&node| state.is_withdrawn(node)).collect()
        })
    }

    /// Answers when `answer` is known.
    fn later<T: Send + 'static>(
        &self,
        answer: impl Future<Output = T> + Send + 'static,
    ) -> Pending<T> {
        let (sender, pending) = oneshot::channel();
        // Whoever asked may have gone.
        self.runtime
            .spawn(async move { drop(sender.send(answer.await)) });
        pending
    }

    /// Proposes and answers later.
    fn propose<T: Send + 'static>(
        &self,
        command: Command,
        read: impl FnOnce(Response) -> Result<T, AdminError> + Send + 'static,
    ) -> Pending<Result<T, AdminError>> {
        let shared = Arc::clone(&self.shared);
        self.later(async move { decide(&shared, command).await.and_then(read) })
    }

    /// A token with a fresh secret, as text and as the command that records it.
    fn new_token(&self, uses: u32, expires: Duration) -> Option<(String, NewToken)> {
        let token = JoinToken::draw(self.topology().cluster.0).ok()?;
        let now = self.shared.world.clock.now().unix_millis;
        let record = NewToken {
            id: TokenId(token.id),
            verifier: token.verifier(),
            uses: Some(uses),
            expires_ms: Some(
                now.saturating_add(u64::try_from(expires.as_millis()).unwrap_or(u64::MAX)),
            ),
        };
        Some((token.to_string(), record))
    }
}

/// Has the control group decide.
async fn decide(shared: &Shared, command: Command) -> Result<Response, AdminError> {
    match shared.control.propose(command).await {
        Ok(response) => {
            // Whoever made a keyspace may use it here at once.
            if let Response::Created { keyspace } = response {
                shared
                    .acts_on(|topology| topology.keyspaces.contains_key(&keyspace))
                    .await;
            }
            Ok(response)
        }
        Err(
            ProposeError::NoLeader
            | ProposeError::TimedOut {
                may_be_applied: false,
            },
        ) => Err(AdminError::NoQuorum),
        Err(ProposeError::Stopping) => Err(AdminError::Stopping),
        Err(_) => Err(AdminError::TimedOut),
    }
}

/// What a refused command means to whoever administers the object `name`.
fn refused(refusal: &CommandRefusal, name: &str, topology: &Topology) -> AdminError {
    let name = || Box::from(name);
    match refusal {
        CommandRefusal::UnknownNode { .. } => AdminError::UnknownNode(name()),
        CommandRefusal::LastNode => AdminError::LastNode(name()),
        CommandRefusal::UnknownKeyspace { .. } => AdminError::UnknownKeyspace(name()),
        CommandRefusal::DefaultKeyspace => AdminError::DefaultKeyspace,
        CommandRefusal::NameTaken => AdminError::Exists,
        CommandRefusal::BadName => AdminError::BadName,
        CommandRefusal::BadPartitions { partitions, .. } => AdminError::BadPartitions {
            partitions: *partitions,
        },
        CommandRefusal::NoReplicas { keyspace } => AdminError::NoReplicas {
            keyspace: topology
                .keyspaces
                .get(keyspace)
                .map_or_else(name, |keyspace| (&*keyspace.name).into()),
        },
        // Nothing else is answered to what is proposed here.
        _ => AdminError::TimedOut,
    }
}

/// A response that has nothing to tell.
fn done(response: Response, name: &str, topology: &Topology) -> Result<(), AdminError> {
    match response {
        Response::Refused(refusal) => Err(refused(&refusal, name, topology)),
        _ => Ok(()),
    }
}

/// An answer that is known at once.
fn at_once<T>(result: Result<T, AdminError>) -> Pending<Result<T, AdminError>> {
    let (answer, pending) = oneshot::channel();
    drop(answer.send(result));
    pending
}

impl Admin for Doors {
    fn create_token(&self, uses: u32, expires: Duration) -> Pending<Result<String, AdminError>> {
        if uses == 0 || expires < TOKEN_LIFE_MIN {
            return at_once(Err(AdminError::BadToken));
        }
        let Some((text, record)) = self.new_token(uses, expires) else {
            return at_once(Err(AdminError::NoQuorum));
        };
        self.propose(
            Command::CreateToken(record),
            move |response| match response {
                Response::Refused(_) => Err(AdminError::BadToken),
                _ => Ok(text),
            },
        )
    }

    fn create_keyspace(&self, spec: KeyspaceSpec) -> Pending<Result<KeyspaceId, AdminError>> {
        let topology = self.topology();
        let name = Arc::clone(&spec.name);
        let command = match keyspaces::creation(&topology, &self.withdrawn(), spec) {
            Ok(command) => command,
            Err(error) => return at_once(Err(error)),
        };
        self.propose(command, move |response| match response {
            Response::Created { keyspace } => Ok(keyspace),
            Response::Refused(refusal) => Err(refused(&refusal, &name, &topology)),
            _ => Err(AdminError::TimedOut),
        })
    }

    fn alter_keyspace(
        &self,
        name: &str,
        change: KeyspaceChange,
    ) -> Pending<Result<(), AdminError>> {
        let topology = self.topology();
        let command = match keyspaces::alteration(&topology, &self.withdrawn(), name, change) {
            Ok(command) => command,
            Err(error) => return at_once(Err(error)),
        };
        let name = name.to_owned();
        self.propose(command, move |response| done(response, &name, &topology))
    }

    fn plan_keyspace(&self, plan: KeyspacePlan) -> Pending<Result<PlannedMoves, AdminError>> {
        let (topology, withdrawn) = (self.topology(), self.withdrawn());
        let (name, command) = match plan {
            KeyspacePlan::Create(spec) => {
                let name = spec.name.to_string();
                (name, keyspaces::creation(&topology, &withdrawn, spec))
            }
            KeyspacePlan::Alter(name, change) => {
                let command = keyspaces::alteration(&topology, &withdrawn, &name, change);
                (name.into_string(), command)
            }
        };
        let shared = Arc::clone(&self.shared);
        self.later(async move {
            let mut foreseen = shared.control.group().read(Clone::clone);
            let next = LogIndex(shared.control.group().status().applied.0 + 1);
            let before = Arc::clone(foreseen.topology());
            match foreseen.apply(next, command?) {
                Response::Refused(refusal) => Err(refused(&refusal, &name, &topology)),
                _ => Ok(shared.plan(&before, foreseen.topology(), &name).await),
            }
        })
    }

    fn drop_keyspace(&self, name: &str) -> Pending<Result<(), AdminError>> {
        let topology = self.topology();
        let Some((keyspace, _)) = topology.keyspace_named(name) else {
            return at_once(Err(AdminError::UnknownKeyspace(name.into())));
        };
        let name = name.to_owned();
        self.propose(Command::DropKeyspace(keyspace), move |response| {
            done(response, &name, &topology)
        })
    }

    fn tokens(&self) -> Vec<TokenInfo> {
        let now = self.shared.world.clock.now().unix_millis;
        self.shared.control.group().read(|state| {
            let good = state.tokens().iter().filter(|(_, token)| {
                token.uses_left != Some(0) && token.expires_ms.is_none_or(|expires| expires > now)
            });
            good.map(|(id, token)| TokenInfo {
                id: format!("{:016x}", id.0),
                uses_left: token.uses_left,
                expires: token.expires_ms,
            })
            .collect()
        })
    }

    fn revoke_token(&self, id: u64) -> Pending<Result<(), AdminError>> {
        let topology = self.topology();
        self.propose(Command::RevokeToken(TokenId(id)), move |response| {
            done(response, "", &topology)
        })
    }

    fn members(&self) -> Pending<Vec<Member>> {
        let shared = Arc::clone(&self.shared);
        self.later(async move { members::list(&shared).await })
    }

    fn remove_node(&self, name: &str, lost: Lost) -> Pending<Result<(), AdminError>> {
        let topology = self.topology();
        let Some((node, _)) = topology.node_named(name) else {
            return at_once(Err(AdminError::UnknownNode(name.into())));
        };
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.later(async move {
            let lost = lost == Lost::Yes;
            if lost && shared.reach().still_answers(&topology, node).await {
                return Err(AdminError::NotLost(name.into()));
            }
            if !lost && !shared.reach().answers(&topology, node).await {
                return Err(AdminError::Silent(name.into()));
            }
            let response = decide(&shared, Command::RemoveNode { node, lost }).await?;
            done(response, &name, &topology)
        })
    }

    fn drain_node(&self, name: &str, drained: bool) -> Pending<Result<(), AdminError>> {
        let topology = self.topology();
        let Some((node, _)) = topology.node_named(name) else {
            return at_once(Err(AdminError::UnknownNode(name.into())));
        };
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        self.later(async move {
            if drained && !shared.reach().answers(&topology, node).await {
                return Err(AdminError::Silent(name.into()));
            }
            let response = decide(&shared, Command::DrainNode { node, drained }).await?;
            done(response, &name, &topology)
        })
    }

    fn change_key(&self) -> Pending<Result<PublicKey, AdminError>> {
        let shared = Arc::clone(&self.shared);
        self.later(async move {
            let keys = shared.keys.clone().ok_or(AdminError::NoKey)?;
            let drawn = tokio::task::spawn_blocking(move || keys.draw());
            let key = drawn
                .await
                .map_err(|_node_stopped| AdminError::Stopping)?
                .map_err(|error| AdminError::KeyNotKept(error.to_string().into()))?;
            let node = shared.settings.node;
            let settled = |topology: &Topology| {
                let info = topology.nodes.get(&node);
                info.is_some_and(|info| info.key == key && info.next_key.is_none())
            };
            shared.acts_on(settled).await;
            if settled(&shared.hub.topology()) {
                Ok(key)
            } else {
                Err(AdminError::TimedOut)
            }
        })
    }

    fn group(&self, name: &str) -> Option<Arc<dyn GroupDoor>> {
        let control = &self.shared.control;
        let (shared, runtime) = (&self.shared, &self.runtime);
        GroupAt::named(name, control.group(), shared, runtime)
            .or_else(|| GroupAt::named(name, control.coordination(), shared, runtime))
    }

    fn change_user(&self, name: &str, change: UserChange) -> Pending<Result<(), AdminError>> {
        let (shared, name, topology) = (Arc::clone(&self.shared), name.to_owned(), self.topology());
        self.later(async move {
            let before = topology.users.get(&*name).cloned();
            let user = name.clone();
            let command =
                tokio::task::spawn_blocking(move || users::command(&topology, &user, change))
                    .await
                    .map_err(|_node_stopped| AdminError::Stopping)??;
            let already = users::is_already_so(before.as_ref(), &command);
            users::told(&decide(&shared, command).await?, &name)?;
            // Whoever changed a user finds it changed here at once.
            if !already {
                let changed = |topology: &Topology| topology.users.get(&*name) != before.as_ref();
                shared.acts_on(changed).await;
            }
            Ok(())
        })
    }
}
