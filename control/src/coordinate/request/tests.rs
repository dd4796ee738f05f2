//! A command that arrives twice is carried out once, and memory is bounded by who still waits.

use super::*;

fn id(number: u64, awaited: u64) -> ProposalId {
    ProposalId {
        client: ClientId(7),
        number,
        awaited,
    }
}

#[test]
fn a_retry_is_answered_from_memory() {
    let mut answered = Answered::default();
    assert_eq!(answered.arrive(id(1, 1), 0), Arrival::New);
    answered.keep(id(1, 1), "one");
    assert_eq!(answered.arrive(id(1, 1), 0), Arrival::Answered("one"));
    assert_eq!(answered.arrive(id(2, 1), 0), Arrival::New);
}

#[test]
fn what_nobody_waits_for_is_forgotten_and_not_carried_out_again() {
    let mut answered = Answered::default();
    for number in 1..=3 {
        assert_eq!(answered.arrive(id(number, 1), 0), Arrival::New);
        answered.keep(id(number, 1), number);
    }
    assert_eq!(answered.arrive(id(4, 3), 0), Arrival::New);
    assert_eq!(answered.arrive(id(3, 1), 0), Arrival::Answered(3));
    let given_up = Arrival::Refused(ProposalRefusal::GivenUp);
    assert_eq!(answered.arrive(id(2, 1), 0), given_up);
}

#[test]
fn a_client_waits_for_a_bounded_number_of_answers() {
    let mut answered = Answered::default();
    for number in 0..ANSWERS_MAX as u64 {
        answered.arrive(id(number, 0), 0);
        answered.keep(id(number, 0), ());
    }
    let next = ANSWERS_MAX as u64;
    let too_many = Arrival::Refused(ProposalRefusal::TooMany);
    assert_eq!(answered.arrive(id(next, 0), 0), too_many);
    assert_eq!(answered.arrive(id(next, 1), 0), Arrival::New);
}

#[test]
fn a_client_that_is_silent_for_long_is_forgotten() {
    let mut answered = Answered::default();
    answered.arrive(id(1, 1), 5);
    answered.keep(id(1, 1), ());
    answered.tick(4 + CLIENT_KEPT_MS);
    assert!(!answered.clients.is_empty());
    answered.tick(5 + CLIENT_KEPT_MS);
    assert!(answered.clients.is_empty());
}
