//! Users: who may run what, and what becomes of a connection whose user changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use quorate::config::Secret;
use quorate::faces::Gate;
use quorate::faces::resp::RespConfig;
use quorate_control::topology::{Epoch, KeyspaceId, PasswordHash, Role, User};
use quorate_dynamo::Consistency;

use crate::wire::{Face, Raw};

const NO_AUTH: &str = "-NOAUTH Authentication required./";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled./";

/// A hash that is cheap to check.
fn hash(password: &str) -> PasswordHash {
    let mut digest = [0; 32];
    let params = Params::new(8, 1, 1, Some(32)).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), b"salt of tests", &mut digest)
        .unwrap();
    PasswordHash {
        memory_kib: 8,
        passes: 1,
        salt: Secret::new("salt of tests"),
        digest: Secret::new(digest),
    }
}

impl Face {
    /// Adds a user with a role in every keyspace and one in the keyspace `carts`.
    fn user(&self, name: &str, everywhere: Option<Role>, in_carts: Option<Role>) {
        let user = User {
            since: Epoch(1),
            password: hash(&format!("{name}-pw")),
            everywhere,
            keyspaces: in_carts
                .map(|role| (KeyspaceId(2), role))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        self.fake
            .change(|topology| drop(topology.users.insert(Arc::from(name), user)));
    }

    async fn raw_as(&self, name: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.ask(&format!("AUTH {name} {name}-pw"), "+OK/").await;
        raw
    }
}

#[tokio::test]
async fn a_user_runs_what_the_role_says() {
    let face = Face::start().await;
    face.user("root", Some(Role::Admin), None);
    face.user("ann", None, Some(Role::Write));
    face.user("eve", Some(Role::Read), None);
    let mut eve = face.raw_as("eve").await;
    eve.ask("GET k", "$-1/").await;
    eve.ask(
        "SET k v",
        "-NOPERM User eve has no permissions to run the 'set' command/",
    )
    .await;
    eve.ask(
        "CL QUORUM SET k v",
        "-NOPERM User eve has no permissions to run the 'set' command/",
    )
    .await;
    eve.ask(
        "CLIENT LIST",
        "-NOPERM User eve has no permissions to run the 'client|list' command/",
    )
    .await;
    let mut ann = face.raw_as("ann").await;
    ann.ask("SET k v", "-NOPERM No permissions to access a key/")
        .await;
    ann.ask("GET k", "-NOPERM No permissions to access a key/")
        .await;
    ann.ask("SELECT carts", "+OK/").await;
    ann.ask("SET k v", "+OK/").await;
    ann.ask("FLUSHALL", "-NOPERM No permissions to access a key/")
        .await;
    ann.ask("GET k", "$1/v/").await;
    ann.ask("PING", "+PONG/").await;
    ann.ask(
        "ACL LIST",
        "-NOPERM User ann has no permissions to run the 'acl|list' command/",
    )
    .await;
    let mut root = face.raw_as("root").await;
    root.ask("FLUSHALL", "+OK/").await;
}

/// A read under a lock shuts out earlier holders.
#[tokio::test]
async fn a_reader_takes_no_lock() {
    let face = Face::start().await;
    face.user("root", Some(Role::Admin), None);
    face.user("eve", Some(Role::Read), None);
    let mut eve = face.raw_as("eve").await;
    let refused = "-NOPERM User eve has no permissions to run the 'get' command/";
    eve.ask("FENCE job 1 GET k", refused).await;
    eve.ask("CL ALL FENCE job 1 GET k", refused).await;
    assert!(face.fake.state().log.is_empty(), "nothing was asked");
    eve.ask("GET k", "$-1/").await;
    let mut root = face.raw_as("root").await;
    root.ask("FENCE job 1 GET k", "$-1/").await;
}

#[tokio::test]
async fn a_name_and_its_password_belong_together() {
    let face = Face::start().await;
    face.user("root", Some(Role::Admin), None);
    face.user("ann", Some(Role::Read), None);
    let mut raw = face.raw().await;
    raw.ask("GET k", NO_AUTH).await;
    for wrong in [
        "AUTH ann root-pw",
        "AUTH bob bob-pw",
        "AUTH default x",
        "AUTH x",
        "AUTH quorum x",
        "AUTH ann+quorumm ann-pw",
        "HELLO 3 AUTH ann x",
    ] {
        raw.ask(wrong, WRONG).await;
    }
    raw.ask("GET k", NO_AUTH).await;
    raw.ask("HELLO 3 AUTH ann ann-pw", "%7/$6/server/").await;
}

#[tokio::test]
async fn a_user_may_choose_a_level_with_the_name() {
    let face = Face::start().await;
    face.user("root", Some(Role::Admin), None);
    let mut raw = face.raw().await;
    raw.ask("AUTH root+quorum root-pw", "+OK/").await;
    raw.ask("SET k v", "+OK/").await;
    let level = || face.fake.state().log.last().unwrap().consistency;
    assert_eq!(level(), Some(Consistency::Quorum));
    raw.ask("AUTH root root-pw", "+OK/").await;
    raw.ask("SET k v", "+OK/").await;
    assert_eq!(level(), None);
    raw.ask("ACL WHOAMI", "$4/root/").await;
}

#[tokio::test]
async fn the_nodes_password_stays_the_user_default() {
    let face = Face::with(RespConfig {
        gate: Gate::new(Some(Secret::new("pw"))),
        ..RespConfig::default()
    })
    .await;
    face.user("root", Some(Role::Admin), None);
    let mut raw = face.raw().await;
    raw.ask("AUTH root pw", WRONG).await;
    raw.ask("AUTH pw", "+OK/").await;
    raw.ask("ACL WHOAMI", "$7/default/").await;
    raw.ask("ACL USERS", "*2/$7/default/$4/root/").await;
    raw.ask("SET k v", "+OK/").await;
}

#[tokio::test]
async fn what_becomes_of_a_user_becomes_of_its_connections_at_once() {
    let face = Face::start().await;
    let mut before = face.raw().await;
    before.ask("SET k v", "+OK/").await;
    face.user("root", Some(Role::Admin), None);
    face.user("ann", Some(Role::Write), None);
    before.ask("GET k", NO_AUTH).await;
    let mut ann = face.raw_as("ann").await;
    ann.ask("SET k v", "+OK/").await;
    let change = |change: fn(&mut User)| {
        face.fake
            .change(|topology| change(topology.users.get_mut("ann").unwrap()));
    };
    change(|user| user.everywhere = Some(Role::Read));
    ann.ask("SET k v", "-NOPERM User ann has").await;
    let mut ann = face.raw_as("ann").await;
    change(|user| user.since = Epoch(2));
    ann.ask("GET k", NO_AUTH).await;
    ann.ask("AUTH ann ann-pw", "+OK/").await;
    face.fake
        .change(|topology| drop(topology.users.remove("ann")));
    ann.ask("GET k", NO_AUTH).await;
}

#[tokio::test]
async fn users_are_listed_without_anything_of_their_passwords() {
    let face = Face::start().await;
    face.user("ann", None, Some(Role::Write));
    face.user("eve", Some(Role::Read), None);
    face.user("root", Some(Role::Admin), None);
    let mut root = face.raw_as("root").await;
    let lines = [
        "user default off ~* &* +@all",
        "user ann on -@all (keyspace:carts ~* -@all +@read +@write)",
        "user eve on ~* &* -@all +@read",
        "user root on ~* &* +@all",
    ];
    let expected = lines.iter().fold("*4/".to_owned(), |text, line| {
        format!("{text}${}/{line}/", line.len())
    });
    root.ask("ACL LIST", &expected).await;
}

#[tokio::test]
async fn categories_are_those_of_the_table() {
    let face = Face::start().await;
    let mut raw = face.raw().await;
    raw.ask("ACL WHOAMI", "$7/default/").await;
    raw.ask("ACL CAT", "*12/$5/admin/$10/connection/").await;
    let mut raw = face.raw().await;
    raw.ask("ACL CAT set", "*7/$4/sadd/$4/srem/").await;
    let mut raw = face.raw().await;
    raw.ask("ACL CAT nothing", "-ERR Unknown category 'nothing'/")
        .await;
    raw.ask("ACL SETUSER x", "-ERR unknown subcommand 'SETUSER'. ")
        .await;
}
