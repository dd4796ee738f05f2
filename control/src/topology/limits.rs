//! How many partitions a keyspace may have, and which names are allowed: the one place for both.
//! What the control group refuses, the configuration and the faces refuse by the same functions.

use std::net::Ipv6Addr;

/// The most partitions a keyspace may have. Guess: 4096 placements take some 100 kB in every
/// published topology.
pub const PARTITIONS_MAX: u16 = 4096;
/// How many partitions the keyspace `default` has, unless the founder of the cluster chooses
/// another number. Guess: they spread well over a dozen nodes, and idle ones cost little.
pub const DEFAULT_PARTITIONS: u16 = 64;
/// The longest name of a node, datacenter, rack or keyspace, in bytes. Guess.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether a keyspace may have this many partitions: a power of two from 1 to [`PARTITIONS_MAX`].
pub const fn is_partition_count(count: u16) -> bool {
    count.is_power_of_two() && count <= PARTITIONS_MAX
}

/// Whether a node, a datacenter or a rack may have this name: 1 to [`NAME_BYTES_MAX`] ASCII
/// letters, digits, `-`, `_` or `.`. Such a name needs no quoting in a list, a path or a metric
/// label.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The longest address of a node in bytes: the longest host name of DNS, a colon and a port.
const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// Whether other nodes can be told to dial this: `host:port` with a host name, an IPv4 address or
/// an IPv6 address in brackets, and a port other than 0. Whether the name exists is found out when
/// it is dialled.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let named = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    text.len() <= ADDRESS_BYTES_MAX
        && (named || bracketed)
        && port.parse().is_ok_and(|port: u16| port > 0)
}

/// Whether a keyspace may have this name: as [`is_name`], but without `.`, and not digits alone,
/// because `SELECT` takes digits for a keyspace's number.
pub fn is_keyspace_name(name: &str) -> bool {
    is_name(name) && !name.contains('.') && !name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
