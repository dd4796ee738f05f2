use super::*;

#[test]
fn a_keyspace_has_a_power_of_two_of_partitions_up_to_the_limit() {
    for count in [1, 2, 64, 4096] {
        assert!(is_partition_count(count), "{count}");
    }
    for count in [0, 3, 12, 4095, 8192, 1 << 15, u16::MAX] {
        assert!(!is_partition_count(count), "{count}");
    }
}

#[test]
fn names_are_plain_and_a_keyspace_is_not_taken_for_a_number() {
    for name in ["carts", "a", "A-1_b", "12a", "-", &"x".repeat(64)] {
        assert!(is_name(name) && is_keyspace_name(name), "{name}");
    }
    for name in ["12", "0", "a.b", "rack.1"] {
        assert!(is_name(name) && !is_keyspace_name(name), "{name}");
    }
    for name in ["", "../x", "k\u{e9}", "a b", "a/b", "a\n", &"x".repeat(65)] {
        assert!(!is_name(name) && !is_keyspace_name(name), "{name}");
    }
}
