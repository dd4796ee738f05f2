use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_porch_has_room_for_few_and_one_address_cannot_take_it_all() {
    let (mut porch, now) = (Porch::default(), Instant::now());
    let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
    let heard = (0..100).filter(|_| porch.enter(one, now)).count();
    assert_eq!(heard, INSIDE_OF_ONE_MAX);
    assert!(porch.enter(other, now));
    porch.leave(one);
    assert!(porch.enter(one, now) && !porch.enter(one, now));
    let heard = (0..=255)
        .filter(|last| porch.enter(IpAddr::from([10, 0, 1, *last]), now))
        .count();
    assert_eq!(heard, INSIDE_MAX - INSIDE_OF_ONE_MAX - 1);
    for _ in 0..INSIDE_OF_ONE_MAX {
        porch.leave(one);
    }
    assert!(porch.enter(one, now));
}

#[test]
fn an_address_with_many_wrong_tokens_is_not_heard_for_a_while() {
    let (mut porch, now) = (Porch::default(), Instant::now());
    let (one, other) = (address("10.0.0.1"), address("::ffff:10.0.0.2"));
    for _ in 0..STRIKES_MAX {
        assert!(porch.enter(one, now));
        porch.strike(one);
        porch.leave(one);
    }
    assert!(!porch.enter(one, now + PERIOD / 2));
    assert!(porch.enter(other, now) && porch.enter(address("10.0.0.2"), now));
    assert!(porch.enter(one, now + PERIOD));
}

#[test]
fn the_addresses_of_one_network_are_one_and_strangers_take_bounded_memory() {
    let (mut porch, now) = (Porch::default(), Instant::now());
    for last in 0..u16::try_from(STRIKES_MAX).unwrap() {
        let within = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert!(porch.enter(within, now));
        porch.strike(within);
        porch.leave(within);
    }
    assert!(!porch.enter(address("2001:db8:0:1:ffff::1"), now));
    assert!(porch.enter(address("2001:db8:0:2::1"), now));
    for number in 0..2 * SOURCES_MAX as u32 {
        let stranger = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        if porch.enter(stranger, now) {
            porch.leave(stranger);
        }
    }
    assert_eq!(porch.sources.len(), SOURCES_MAX);
    assert!(porch.enter(address("192.0.2.1"), now + PERIOD));
}
