//! The machine of locks and their like in its group.

use super::world::{World, run};
use super::*;
use crate::coordinate::{
    ClientId, Coordination, CoordinationCommand, CoordinationDeed, CoordinationOutcome, Holder,
    ProposalId, SessionCommand, SessionId, SessionOutcome, SessionSpec, Ttl,
};

async fn decide(
    group: &Group<Coordination>,
    number: u64,
    command: SessionCommand,
) -> SessionOutcome {
    let command = CoordinationCommand {
        id: ProposalId {
            client: ClientId(7),
            number,
            awaited: number,
        },
        deed: CoordinationDeed::Session(command),
    };
    match group.propose(&command, WAIT).await {
        Ok(CoordinationOutcome::Session(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Opens a session that outlives the test.
async fn open(group: &Group<Coordination>, number: u64) -> SessionId {
    let spec = SessionSpec {
        holder: Holder::default(),
        ttl: Ttl::try_from(300_000).unwrap(),
        delay_ms: 0,
    };
    match decide(group, number, SessionCommand::Open(spec)).await {
        SessionOutcome::Opened(session) => session,
        other => panic!("{other:?}"),
    }
}

fn attend(world: &World, node: u64) -> Group<Coordination> {
    world.node(node).attend(GroupId::COORDINATION)
}

/// Opens a session in a cluster of so many nodes, all of which are lost but `survivor`.
async fn lost_but(world: &mut World, nodes: u64, survivor: u64) -> SessionId {
    world.grow(nodes).await;
    let groups: Vec<_> = (1..=nodes).map(|node| attend(world, node)).collect();
    let before = open(&groups[1], 1).await;
    // So long that every voter has it.
    tokio::time::sleep(SECOND * 2).await;
    for node in 1..=nodes {
        world.crash(node).await;
    }
    world.recovery(survivor, &[]).carry_out().unwrap();
    world.open(survivor).await;
    before
}

#[test]
fn a_survivor_keeps_its_sessions_and_numbers_go_on_far_above() {
    run(33, async |mut world: World| {
        let before = lost_but(&mut world, 3, 1).await;
        let group = attend(&world, 1);
        let renewed = decide(&group, 2, SessionCommand::Renew(vec![before])).await;
        assert_eq!(renewed, SessionOutcome::Renewed { ended: vec![] });
        let after = open(&group, 3).await;
        assert!(after.0 > before.0 + (1 << 32), "{before:?} {after:?}");
    });
}

#[test]
fn a_survivor_without_a_part_begins_with_nothing_far_above() {
    run(34, async |mut world: World| {
        let before = lost_but(&mut world, 4, 4).await;
        let group = attend(&world, 4);
        let renewed = decide(&group, 2, SessionCommand::Renew(vec![before])).await;
        let ended = vec![before];
        assert_eq!(renewed, SessionOutcome::Renewed { ended });
        let after = open(&group, 3).await;
        assert!(after.0 > before.0 + (1 << 49), "{before:?} {after:?}");
    });
}
