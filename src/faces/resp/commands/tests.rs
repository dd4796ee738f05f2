use super::*;

#[test]
fn numbers_are_read_as_redis_reads_them() {
    for (text, number) in [
        ("0", 0),
        ("-1", -1),
        ("10", 10),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(integer(text.as_bytes()), Ok(number));
    }
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-0",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "9223372036854775808",
        "\u{661}",
    ] {
        assert_eq!(
            integer(text.as_bytes()),
            Err(Refused::NotAnInteger),
            "{text:?}"
        );
    }
}
