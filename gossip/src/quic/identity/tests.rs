use proptest::prelude::*;

use super::*;

#[test]
fn both_survive_storage_and_hide_their_keys() {
    let authority = ClusterAuthority::generate(42).unwrap();
    let again = ClusterAuthority::from_secret(&authority.to_secret()).unwrap();
    assert_eq!(again.fingerprint(), authority.fingerprint());
    let identity = again.identity(NodeId(7)).unwrap();
    let same = NodeIdentity::from_secret(&identity.to_secret()).unwrap();
    assert_eq!(
        (same.node(), same.cluster(), same.chain(), &same.key),
        (NodeId(7), 42, identity.chain(), &identity.key)
    );
    assert_eq!(
        format!("{identity:?}"),
        "NodeIdentity(node-7.0000000000000000000000000000002a.quorate, key hidden)"
    );
    assert!(format!("{authority:?} {:?}", authority.to_secret()).len() < 120);
}

#[test]
fn one_is_not_read_as_the_other() {
    let authority = ClusterAuthority::generate(1).unwrap();
    assert!(NodeIdentity::from_secret(&authority.to_secret()).is_err());
    assert!(
        ClusterAuthority::from_secret(&authority.identity(NodeId(1)).unwrap().to_secret()).is_err()
    );
}

#[test]
fn the_fingerprint_is_sha256() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        fingerprint(b"abc")
            .map(|byte| format!("{byte:02x}"))
            .concat(),
        expected
    );
}

proptest! {
    #[test]
    fn names_are_read_back_and_only_those(node: u64, cluster: u128, noise in ".{0,60}") {
        prop_assert_eq!(parse_name(&name_of(NodeId(node), cluster)), Some((NodeId(node), cluster)));
        prop_assert_eq!(parse_name(&noise), None);
        prop_assert_eq!(parse_name(&format!("node-+{node}.{cluster:032x}.quorate")), None);
    }

    #[test]
    fn random_bytes_are_no_identity(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let secret = Secret::new(bytes);
        prop_assert!(NodeIdentity::from_secret(&secret).is_err());
        prop_assert!(ClusterAuthority::from_secret(&secret).is_err());
    }
}
