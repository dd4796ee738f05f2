//! Drills on who may do what: users whom the control group decides about, and what the topology
//! then allows.

use std::sync::Arc;

use quorate_control::state::{
    Command, CommandRefusal, ControlState, Grant, LogIndex, NewKeyspace, NewToken, NodeSpec,
    Response, TokenId,
};
use quorate_control::topology::{
    Caller, ClusterId, DEFAULT_KEYSPACE, Denied, KeyspaceId, PasswordHash, Replication, Right,
    Role, SplitPolicy,
};
use quorate_crdt::{PublicKey, Secret};

use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    (
        "last-administrator-goes",
        "cluster-locked-out",
        last_administrator,
    ),
    (
        "grant-everywhere",
        "foreign-keyspace-written",
        foreign_keyspace,
    ),
    (
        "session-outlives-password",
        "dropped-user-works-on",
        dropped_user,
    ),
    (
        "users-leave-the-door-open",
        "nameless-caller-let-in",
        nameless,
    ),
];

/// A control group that decides at once.
struct Group {
    state: ControlState,
    index: u64,
}

impl Group {
    fn founded() -> Result<Self, String> {
        let mut group = Self {
            state: ControlState::default(),
            index: 0,
        };
        let node = NodeSpec {
            name: "n1".into(),
            datacenter: "dc1".into(),
            rack: "r1".into(),
            quic: "127.0.0.1:1".into(),
            key: PublicKey([1; 32]),
            durable: true,
            witness: false,
        };
        let token = NewToken {
            id: TokenId(1),
            verifier: Secret::new("token"),
            uses: None,
            expires_ms: None,
        };
        group.done(Command::Found {
            cluster: ClusterId(1),
            token,
            node,
            partitions: 1,
            at_ms: 1,
        })?;
        Ok(group)
    }

    fn decide(&mut self, command: Command) -> Response {
        self.index += 1;
        self.state.apply(LogIndex(self.index), command)
    }

    fn done(&mut self, command: Command) -> Verdict {
        match self.decide(command) {
            Response::Refused(refusal) => Err(refusal.to_string()),
            _ => Ok(()),
        }
    }

    fn create(&mut self, name: &str, role: Role, keyspace: Option<KeyspaceId>) -> Verdict {
        self.done(Command::CreateUser {
            name: name.into(),
            password: PasswordHash {
                memory_kib: 8,
                passes: 1,
                salt: Secret::new("salt"),
                digest: Secret::new(name),
            },
            grant: Grant {
                role: Some(role),
                keyspace,
            },
        })
    }

    fn caller(&self, name: &str) -> Result<Caller, String> {
        let user = self.state.topology().users.get(name).ok_or("no user")?;
        Ok(Caller::User {
            name: Arc::from(name),
            since: user.since,
        })
    }

    fn told(&self, caller: &Caller, right: Right, expected: Result<(), Denied>) -> Verdict {
        let told = self.state.topology().allows(caller, right);
        holds(told == expected, format!("{caller:?} {right:?}: {told:?}"))
    }
}

fn last_administrator() -> Verdict {
    let mut group = Group::founded()?;
    group.create("ann", Role::Admin, None)?;
    let answer = group.decide(Command::DropUser("ann".into()));
    holds(
        answer == Response::Refused(CommandRefusal::NoAdministrator),
        format!("{answer:?}"),
    )
}

fn foreign_keyspace() -> Verdict {
    let mut group = Group::founded()?;
    group.create("root", Role::Admin, None)?;
    let keyspace = NewKeyspace {
        name: "carts".into(),
        replication: Replication::Auto,
        partitions: 1,
        read: "ONE".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
    };
    let Response::Created { keyspace } = group.decide(Command::CreateKeyspace(keyspace)) else {
        return Err("no keyspace".to_owned());
    };
    group.create("ann", Role::Write, Some(keyspace))?;
    let ann = group.caller("ann")?;
    group.told(&ann, Right::Write(keyspace), Ok(()))?;
    group.told(&ann, Right::Read(DEFAULT_KEYSPACE), Err(Denied::Here))
}

fn dropped_user() -> Verdict {
    let mut group = Group::founded()?;
    group.create("root", Role::Admin, None)?;
    group.create("ann", Role::Write, None)?;
    let before = group.caller("ann")?;
    group.done(Command::DropUser("ann".into()))?;
    group.create("ann", Role::Write, None)?;
    group.told(&before, Right::Look, Err(Denied::Unknown))
}

fn nameless() -> Verdict {
    let mut group = Group::founded()?;
    group.told(&Caller::Anyone, Right::Cluster, Ok(()))?;
    group.create("root", Role::Admin, None)?;
    group.told(&Caller::Anyone, Right::Look, Err(Denied::Unknown))
}
