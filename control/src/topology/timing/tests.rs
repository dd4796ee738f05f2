use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_pace_follows_the_longest_round_trip() {
    let heartbeats = [0, 25, 26, 50, 90, 150, 300, 450, 800, 5000];
    let heartbeats = heartbeats.map(|round_trip| Timing::of(ms(round_trip)).heartbeat());
    let expected = [50, 50, 100, 100, 200, 400, 800, 1600, 1600, 1600];
    assert_eq!(heartbeats, expected.map(ms));
    let slowest = Timing::of(ms(5000));
    assert_eq!(
        (slowest.election_min(), slowest.election_max()),
        (ms(4800), ms(9600))
    );
}

#[test]
fn the_pace_does_not_change_to_and_fro() {
    let second = Timing::of(ms(50));
    assert_eq!(second.next(ms(51)), Some(Timing::of(ms(51))), "too fast");
    for round_trip in [17, 25, 49, 50] {
        assert_eq!(second.next(ms(round_trip)), None, "{round_trip} ms");
    }
    assert_eq!(second.next(ms(16)), Some(Timing::NEAR));
    assert_eq!(Timing::NEAR.next(ms(0)), None);
}

#[test]
fn a_pace_from_elsewhere_has_bounds() {
    let wild: Timing = postcard::from_bytes(&[255]).unwrap();
    assert_eq!(wild.heartbeat(), ms(1600));
}
