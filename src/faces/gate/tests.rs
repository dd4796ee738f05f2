use std::collections::BTreeMap;

use quorate_control::topology::{ClusterId, Epoch, Role, Timing, User};

use super::*;

fn topology(users: &[(&str, &str)]) -> Topology {
    let user = |(name, text): &(&str, &str)| {
        let user = User {
            since: Epoch(4),
            password: password::hash(text.as_bytes(), [1; 16]).unwrap(),
            everywhere: Some(Role::Read),
            keyspaces: BTreeMap::new(),
        };
        (Arc::from(*name), user)
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(9),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
        users: users.iter().map(user).collect(),
        timing: Timing::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn who_shows_the_right_password_is_that_user() {
    let gate = Gate::new(Some(Secret::new("node's own")));
    let topology = topology(&[("ann", "correct horse")]);
    let ann = Caller::User {
        name: "ann".into(),
        since: Epoch(4),
    };
    assert_eq!(gate.newcomer(), Caller::Stranger);
    assert_eq!(
        gate.admit(&topology, "ann", b"correct horse").await,
        Ok(ann)
    );
    assert_eq!(
        gate.admit(&topology, "default", b"node's own").await,
        Ok(Caller::Default)
    );
    for (name, guess) in [
        ("ann", "node's own"),
        ("ann", ""),
        ("bob", "correct horse"),
        ("default", "correct horse"),
        ("default", ""),
    ] {
        assert_eq!(
            gate.admit(&topology, name, guess.as_bytes()).await,
            Err(NotAdmitted::Wrong),
            "{name} {guess}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_password_lets_nobody_in_by_default_once_there_are_users() {
    let gate = Gate::new(None);
    assert_eq!(gate.newcomer(), Caller::Anyone);
    let (nobody, somebody) = (topology(&[]), topology(&[("ann", "correct horse")]));
    assert_eq!(
        gate.admit(&nobody, "default", b"any").await,
        Ok(Caller::Anyone)
    );
    assert_eq!(
        gate.admit(&nobody, "ann", b"any").await,
        Err(NotAdmitted::Wrong)
    );
    assert_eq!(
        gate.admit(&somebody, "default", b"any").await,
        Err(NotAdmitted::Wrong)
    );
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_take_more_than_their_share_of_the_processors() {
    let gate = Gate::new(None);
    let topology = topology(&[("ann", "correct horse")]);
    let held: Vec<_> = (0..CHECKS_MAX)
        .map(|_| gate.checks.try_acquire().unwrap())
        .collect();
    assert_eq!(
        gate.admit(&topology, "ann", b"correct horse").await,
        Err(NotAdmitted::Busy)
    );
    drop(held);
    assert!(gate.admit(&topology, "ann", b"correct horse").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_answered_late() {
    let gate = Gate::new(Some(Secret::new("right")));
    let begun = tokio::time::Instant::now();
    assert!(
        gate.admit(&topology(&[]), "default", b"right")
            .await
            .is_ok()
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(
        gate.admit(&topology(&[]), "default", b"wrong")
            .await
            .is_err()
    );
    assert!(begun.elapsed() >= WRONG_PAUSE);
}
