use quorate_gossip::quic::{CloseReason, PeerError};
use quorate_gossip::transport::JoinRefusal;

use super::*;

const ADDRESS: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    1,
));

/// The outcome of asking when these are the answers, the last one for ever; and how often was
/// asked.
async fn asked(answers: &[fn() -> Result<u8, JoinError>]) -> (Result<u8, JoinError>, usize) {
    let mut count = 0;
    let outcome = insist(async || {
        count += 1;
        answers
            .get(count - 1)
            .unwrap_or(&answers[answers.len() - 1])()
    })
    .await;
    (outcome, count)
}

fn lost() -> Result<u8, JoinError> {
    Err(JoinError::Connection {
        address: ADDRESS,
        source: PeerError::Unreachable,
    })
}

fn nobody() -> Result<u8, JoinError> {
    Err(JoinError::Unreachable { address: ADDRESS })
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_asks_again_until_it_is_clear_whether_it_was_let_in() {
    assert!(matches!(
        asked(&[lost, nobody, || Err(JoinRefusal::NotReady.into()), || Ok(7)]).await,
        (Ok(7), 4)
    ));
    let (outcome, times) = asked(&[lost, nobody]).await;
    assert!(
        matches!(outcome, Err(JoinError::Unreachable { .. })) && times > 20,
        "{outcome:?} after {times}"
    );
    assert!(matches!(
        asked(&[lost, || Err(JoinRefusal::NameTaken.into())]).await,
        (Err(JoinError::Refused(JoinRefusal::NameTaken)), 2)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_is_told_to_wait_asks_again() {
    let busy: fn() -> Result<u8, JoinError> = || {
        Err(JoinError::Connection {
            address: ADDRESS,
            source: PeerError::RefusedByPeer(CloseReason::Busy),
        })
    };
    assert!(matches!(asked(&[busy, busy, || Ok(7)]).await, (Ok(7), 3)));
    assert!(matches!(
        asked(&[busy, || Err(JoinRefusal::UsedUp.into())]).await,
        (Err(JoinError::Refused(JoinRefusal::UsedUp)), 2)
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_clear_at_once_is_not_asked_again() {
    assert!(matches!(
        asked(&[nobody]).await,
        (Err(JoinError::Unreachable { .. }), 1)
    ));
    let other: fn() -> Result<u8, JoinError> = || {
        Err(JoinError::Connection {
            address: ADDRESS,
            source: PeerError::OtherVersion,
        })
    };
    assert!(matches!(
        asked(&[other]).await,
        (Err(JoinError::Connection { .. }), 1)
    ));
}
