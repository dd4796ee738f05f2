//! The text forms of values, and the nearest valid word to a mistyped one.

use std::time::Duration;

use quorate_control::topology::PARTITIONS_MAX;
pub(super) use quorate_control::topology::{
    is_address, is_name, is_partition_count as is_partitions,
};

pub(super) const NAME: &str = "a string of 1 to 64 letters, digits, '-', '_' or '.'";
pub(super) const DURATION: &str =
    "a string with a number and a unit (us, ms, s, m, h, d), such as \"500ms\", and more than 0";
pub(super) const HOST: &str = "a string with a host and a port, such as \"10.0.0.1:7381\"";
pub(super) const PARTITIONS: &str = "a number that is a power of two, from 1 to 4096";
const _: () = assert!(PARTITIONS_MAX == 4096);

/// Reads a whole number with one of the units us, ms, s, m, h, d. The result is more than 0 and
/// less than about 500 000 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let micros: u64 = match unit.trim() {
        "us" | "µs" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(micros)?;
    (total > 0).then(|| Duration::from_micros(total))
}

/// The valid word with the least edit distance to `word`, the first if there are several. Empty
/// only if `valid` is.
pub(super) fn nearest(word: &str, valid: impl Iterator<Item = String>) -> String {
    valid
        .min_by_key(|candidate| distance(word, candidate))
        .unwrap_or_default()
}

/// Levenshtein's distance, one row of the matrix at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
