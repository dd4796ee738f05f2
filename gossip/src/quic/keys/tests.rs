use proptest::prelude::*;

use super::*;

#[test]
fn a_key_survives_storage_and_hides_its_private_half() {
    let keys = KeyPair::generate().unwrap();
    let same = KeyPair::from_secret(&keys.to_secret()).unwrap();
    assert_eq!(same.public(), keys.public());
    assert_eq!(
        format!("{keys:?}"),
        format!("KeyPair({}, private half hidden)", keys.public())
    );
    assert_ne!(KeyPair::generate().unwrap().public(), keys.public());
}

#[test]
fn tls_shows_the_key_that_the_topology_has() {
    let keys = KeyPair::generate().unwrap();
    let certified = keys.for_tls().unwrap();
    assert_eq!(shown(&certified.cert[0]), Some(keys.public()));
    // The same form as that of the TLS library.
    let info = certified.key.public_key().unwrap();
    assert_eq!(info.as_ref(), certified.cert[0].as_ref());
    let longer = [certified.cert[0].as_ref(), b"x"].concat();
    assert_eq!(shown(&CertificateDer::from(longer)), None);
    assert_eq!(
        shown(&CertificateDer::from(ED25519_INFO[1..].to_vec())),
        None
    );
}

#[test]
fn only_the_holder_of_a_token_can_sign_and_only_a_member_can_vouch() {
    let token = JoinToken::draw(7).unwrap();
    let other = JoinToken::draw(7).unwrap();
    let verifier = token.verifier();
    let signature = token.sign(b"said");
    assert!(signed(&verifier, b"said", &signature));
    assert!(!signed(&verifier, b"sai", &signature));
    assert!(!signed(&verifier, b"said", &other.sign(b"said")));
    assert!(!signed(&verifier, b"said", &vouch(&verifier, b"said")));
    let proof = vouch(&verifier, b"said");
    assert!(vouched(&verifier, b"said", &proof));
    assert!(!vouched(&verifier, b"sai", &proof));
    assert!(!vouched(&other.verifier(), b"said", &proof));
    // What the members keep says nothing of the secret.
    assert!(
        !verifier
            .expose()
            .windows(16)
            .any(|part| part == token.secret.0)
    );
    let elsewhere = JoinToken {
        cluster: 8,
        ..token.clone()
    };
    assert!(
        !signed(&verifier, b"said", &elsewhere.sign(b"said")),
        "a token opens one cluster"
    );
}

proptest! {
    #[test]
    fn random_bytes_are_no_key(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(KeyPair::from_secret(&Secret::new(&bytes)).is_err());
        let said = [1_u8; 8];
        prop_assert!(!signed(&Secret::new(&bytes), &said, &bytes));
    }
}
