//! Passwords of users: makes the hash that the cluster keeps, and compares a guess with it. Both
//! take tens of milliseconds of a processor on purpose, so call them on a thread that may block.

use argon2::{Algorithm, Argon2, Params, Version};
use quorate_control::topology::PasswordHash;
use quorate_crdt::Secret;

/// The memory that one hash takes, in KiB, and the passes over it: what OWASP recommends for
/// Argon2id (Password Storage Cheat Sheet).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// The most that a hash made elsewhere may cost. Guess: several times what ours do.
pub(crate) const MEMORY_KIB_MAX: u32 = 4 * MEMORY_KIB;
pub(crate) const PASSES_MAX: u32 = 8;
/// Bytes of a hash.
const DIGEST_BYTES: usize = 32;

/// The shortest password of a user, in bytes (NIST SP 800-63B).
pub(crate) const PASSWORD_BYTES_MIN: usize = 8;
/// The longest password of a user, in bytes. Guess: whoever guesses must not make the node hash
/// megabytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;

/// The hash of a password of allowed length, with a salt that the caller has drawn at random.
/// `None`: the length is not allowed.
pub(crate) fn hash(password: &[u8], salt: [u8; 16]) -> Option<PasswordHash> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return None;
    }
    let digest = digest(password, &salt, MEMORY_KIB, PASSES)?;
    Some(PasswordHash {
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt: Secret::new(salt),
        digest: Secret::new(digest),
    })
}

/// Whether a hash that comes from elsewhere is one, and costs no more than a guess may.
pub(crate) fn is_bearable(password: &PasswordHash) -> bool {
    let salt = password.salt.expose().len();
    (8..=64).contains(&salt)
        && password.digest.expose().len() == DIGEST_BYTES
        && (1..=MEMORY_KIB_MAX).contains(&password.memory_kib)
        && (1..=PASSES_MAX).contains(&password.passes)
}

/// Whether `guess` is the password.
pub(crate) fn matches(password: &PasswordHash, guess: &[u8]) -> bool {
    let PasswordHash {
        memory_kib,
        passes,
        salt,
        digest: expected,
    } = password;
    guess.len() <= PASSWORD_BYTES_MAX
        && digest(guess, salt.expose(), *memory_kib, *passes)
            .is_some_and(|digest| expected.matches(&digest))
}

/// A hash that no guess matches, at the usual cost: what is compared for a name that nobody has, so
/// that the time of the answer does not tell which names exist.
pub(crate) fn nobody() -> PasswordHash {
    PasswordHash {
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt: Secret::new([0; 16]),
        digest: Secret::default(),
    }
}

/// `None` only for costs and salts that the algorithm does not have.
fn digest(
    password: &[u8],
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
) -> Option<[u8; DIGEST_BYTES]> {
    let params = Params::new(memory_kib, passes, 1, Some(DIGEST_BYTES)).ok()?;
    let mut digest = [0; DIGEST_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut digest)
        .ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_matches_its_hash() {
        let kept = hash(b"correct horse", [7; 16]).unwrap();
        assert!(matches(&kept, b"correct horse"));
        for wrong in [
            &b""[..],
            b"correct hors",
            b"correct horse ",
            b"Correct horse",
        ] {
            assert!(!matches(&kept, wrong), "{wrong:?}");
        }
        assert_ne!(
            kept,
            hash(b"correct horse", [8; 16]).unwrap(),
            "the salt counts"
        );
        assert!(!format!("{kept:?}").contains("correct"), "{kept:?}");
    }

    #[test]
    fn nobody_has_no_password() {
        assert!(!matches(&nobody(), b"") && !matches(&nobody(), b"correct horse"));
    }

    #[test]
    fn a_password_has_a_length() {
        assert!(hash(b"1234567", [0; 16]).is_none());
        assert!(hash(&[b'x'; PASSWORD_BYTES_MAX + 1], [0; 16]).is_none());
        let longest = hash(&[b'x'; PASSWORD_BYTES_MAX], [0; 16]).unwrap();
        assert!(!matches(&longest, &[b'x'; PASSWORD_BYTES_MAX + 1]));
    }

    #[test]
    fn a_hash_from_elsewhere_must_be_one_and_cheap_enough() {
        let ours = hash(b"correct horse", [7; 16]).unwrap();
        assert!(is_bearable(&ours));
        let short = Secret::new([0; 31]);
        for broken in [
            PasswordHash {
                memory_kib: u32::MAX,
                ..ours.clone()
            },
            PasswordHash {
                passes: 1_000,
                ..ours.clone()
            },
            PasswordHash {
                digest: short.clone(),
                ..ours.clone()
            },
            PasswordHash {
                salt: Secret::default(),
                ..ours.clone()
            },
        ] {
            assert!(!is_bearable(&broken), "{broken:?}");
        }
    }

    #[test]
    fn a_cost_that_the_algorithm_does_not_have_matches_nothing() {
        let broken = PasswordHash {
            memory_kib: 0,
            ..hash(b"correct horse", [7; 16]).unwrap()
        };
        assert!(!matches(&broken, b"correct horse"));
    }
}
