use proptest::prelude::*;

use super::*;

fn encoded(protocol: Protocol, write: impl Fn(&mut Encoder)) -> String {
    let mut encoder = Encoder {
        protocol,
        ..Encoder::default()
    };
    write(&mut encoder);
    String::from_utf8_lossy(&encoder.out).into_owned()
}

#[test]
fn each_version_has_its_own_types() {
    let everything = |to: &mut Encoder| {
        to.ok();
        to.simple("PONG");
        to.error("ERR a\r\nb");
        to.null();
        to.bulk(b"a\r\n");
        to.null();
        to.array(0);
        to.map(1);
        to.set(3);
    };
    let same = "+OK\r\n+PONG\r\n-ERR a  b\r\n";
    assert_eq!(
        encoded(Protocol::Resp2, everything),
        format!("{same}$-1\r\n$3\r\na\r\n\r\n$-1\r\n*0\r\n*2\r\n*3\r\n")
    );
    assert_eq!(
        encoded(Protocol::Resp3, everything),
        format!("{same}_\r\n$3\r\na\r\n\r\n_\r\n*0\r\n%1\r\n~3\r\n")
    );
}

#[test]
fn the_ends_of_the_number_range() {
    for number in [i64::MIN, -1, 0, 9, 10, i64::MAX] {
        assert_eq!(
            encoded(Protocol::Resp2, |to| to.integer(number)),
            format!(":{number}\r\n")
        );
    }
}

proptest! {
    #[test]
    fn numbers_are_decimal(number in any::<i64>()) {
        prop_assert_eq!(encoded(Protocol::Resp3, |to| to.integer(number)), format!(":{number}\r\n"));
    }
}
