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

#[test]
fn an_address_has_a_host_and_a_port_that_can_be_dialled() {
    for address in [
        "10.0.0.1:7381",
        "node-1.example.com:1",
        "localhost:65535",
        "[::1]:7381",
        "[2001:db8::1]:7381",
    ] {
        assert!(is_address(address), "{address}");
    }
    for address in [
        "",
        ":7381",
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "::1:7381",
        "[::1]",
        "[node]:7381",
        "a b:7381",
        "a/b:7381",
        "a,b:7381",
        &format!("{}:7381", "x".repeat(260)),
    ] {
        assert!(!is_address(address), "{address}");
    }
}
