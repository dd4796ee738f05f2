use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crdt::Secret;

use super::super::{ClusterId, Epoch, KeyspaceId, PasswordHash, Role, Timing, User, is_user_name};
use super::*;

const CARTS: KeyspaceId = KeyspaceId(1);
const OTHER: KeyspaceId = KeyspaceId(2);

fn topology(users: BTreeMap<Arc<str>, User>) -> Topology {
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(9),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
        users,
        timing: Timing::default(),
    }
}

fn user(everywhere: Option<Role>, in_carts: Option<Role>) -> User {
    User {
        since: Epoch(5),
        password: PasswordHash {
            memory_kib: 8,
            passes: 1,
            salt: Secret::new("salt"),
            digest: Secret::new("digest"),
        },
        everywhere,
        keyspaces: in_carts.map(|role| (CARTS, role)).into_iter().collect(),
    }
}

fn ann() -> Caller {
    Caller::User {
        name: "ann".into(),
        since: Epoch(5),
    }
}

/// The answers about eight rights.
type Told = [Result<(), Denied>; 8];

/// What a user with these roles is told about each right, in the order of [`Right`]'s variants:
/// first for the keyspace `CARTS`, then for another one, then for the cluster.
fn told(everywhere: Option<Role>, in_carts: Option<Role>) -> Vec<Result<(), Denied>> {
    let topology = topology(BTreeMap::from([("ann".into(), user(everywhere, in_carts))]));
    let rights = [
        Right::Look,
        Right::Read(CARTS),
        Right::Write(CARTS),
        Right::Administer(CARTS),
        Right::Read(OTHER),
        Right::Write(OTHER),
        Right::Administer(OTHER),
        Right::Cluster,
    ];
    rights
        .into_iter()
        .map(|right| topology.allows(&ann(), right))
        .collect()
}

#[test]
fn a_user_may_do_what_a_role_says_and_nothing_else() {
    let (yes, here, nowhere) = (Ok(()), Err(Denied::Here), Err(Denied::Anywhere));
    let table: [(Option<Role>, Option<Role>, Told); 7] = [
        (
            None,
            None,
            [
                yes, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere,
            ],
        ),
        (
            None,
            Some(Role::Read),
            [yes, yes, nowhere, nowhere, here, nowhere, nowhere, nowhere],
        ),
        (
            None,
            Some(Role::Write),
            [yes, yes, yes, nowhere, here, here, nowhere, nowhere],
        ),
        (
            None,
            Some(Role::Admin),
            [yes, yes, yes, yes, here, here, here, nowhere],
        ),
        (
            Some(Role::Read),
            None,
            [yes, yes, nowhere, nowhere, yes, nowhere, nowhere, nowhere],
        ),
        (
            Some(Role::Read),
            Some(Role::Write),
            [yes, yes, yes, nowhere, yes, here, nowhere, nowhere],
        ),
        (
            Some(Role::Admin),
            None,
            [yes, yes, yes, yes, yes, yes, yes, yes],
        ),
    ];
    for (everywhere, in_carts, expected) in table {
        assert_eq!(
            told(everywhere, in_carts),
            expected,
            "{everywhere:?} everywhere, {in_carts:?} in one keyspace"
        );
    }
}

#[test]
fn whoever_came_in_under_an_old_password_is_a_stranger() {
    let mut topology = topology(BTreeMap::from([(
        "ann".into(),
        user(Some(Role::Admin), None),
    )]));
    assert_eq!(topology.allows(&ann(), Right::Cluster), Ok(()));
    let changed = User {
        since: Epoch(6),
        ..user(Some(Role::Admin), None)
    };
    topology.users.insert("ann".into(), changed);
    assert_eq!(topology.allows(&ann(), Right::Look), Err(Denied::Unknown));
    topology.users.clear();
    assert_eq!(topology.allows(&ann(), Right::Look), Err(Denied::Unknown));
}

#[test]
fn as_soon_as_there_is_a_user_everybody_must_say_who_it_is() {
    let nobody = topology(BTreeMap::new());
    assert_eq!(nobody.allows(&Caller::Anyone, Right::Cluster), Ok(()));
    assert_eq!(
        nobody.allows(&Caller::Stranger, Right::Look),
        Err(Denied::Unknown)
    );
    let somebody = topology(BTreeMap::from([(
        "ann".into(),
        user(Some(Role::Admin), None),
    )]));
    assert_eq!(
        somebody.allows(&Caller::Anyone, Right::Look),
        Err(Denied::Unknown)
    );
    assert_eq!(somebody.allows(&Caller::Default, Right::Cluster), Ok(()));
}

#[test]
fn a_user_name_is_a_name_and_not_that_of_the_password() {
    assert!(is_user_name("ann-2") && is_user_name("Default"));
    for name in ["", "default", "ann+quorum", "ann:x", "ann smith"] {
        assert!(!is_user_name(name), "{name}");
    }
}
