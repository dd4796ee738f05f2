use quorate_control::topology::is_keyspace_name;

use super::*;

#[test]
fn the_name_of_a_keyspace_is_what_the_refusal_says() {
    for name in ["carts", "a", "A-1_b", "12a", "-", &"x".repeat(64)] {
        assert!(is_keyspace_name(name), "{name}");
    }
    for name in [
        "",
        "../x",
        "k\u{e9}",
        "12",
        "0",
        "a b",
        "a.b",
        "a/b",
        &"x".repeat(65),
    ] {
        assert!(!is_keyspace_name(name), "{name}");
    }
    let said = AdminError::BadPartitions { partitions: 8192 }.to_string();
    assert_eq!(
        said,
        "the number of partitions must be a power of two from 1 to 4096, not 8192"
    );
}
