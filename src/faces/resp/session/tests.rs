use super::*;

const BASE: Level = Level {
    consistency: Some(Consistency::One),
    timeout: Duration::from_secs(2),
};

fn parse(spec: &str) -> Result<Level, Refused> {
    Asked::parse(spec.as_bytes()).map(|asked| asked.over(BASE))
}

#[test]
fn a_spec_changes_what_it_names() {
    let quorum = Level {
        consistency: Some(Consistency::LocalQuorum),
        ..BASE
    };
    assert_eq!(parse("local_quorum"), Ok(quorum));
    assert_eq!(
        parse("DEFAULT"),
        Ok(Level {
            consistency: None,
            ..BASE
        })
    );
    assert_eq!(
        parse("timeout=3s"),
        Ok(Level {
            timeout: Duration::from_secs(3),
            ..BASE
        })
    );
    let numeric = Level {
        consistency: Some(Consistency::Numeric { read: 2, write: 3 }),
        timeout: Duration::from_millis(50),
    };
    assert_eq!(parse("R=2,W=3,TIMEOUT=50ms"), Ok(numeric));
    assert_eq!(parse("TIMEOUT=50ms,W=3,R=2"), Ok(numeric));
}

#[test]
fn a_bad_spec_is_refused() {
    assert_eq!(
        parse("SERIAL"),
        Err(Refused::LevelNotOffered { level: "SERIAL" })
    );
    assert!(matches!(parse("QUORUMM"), Err(Refused::Level(_))));
    assert!(matches!(parse("QUORUM,R=1"), Err(Refused::Level(_))));
    for time in [
        "0ms",
        "50",
        "61s",
        "ms",
        "-1s",
        "99999999999999999999s",
        "18446744073709551615s",
    ] {
        assert_eq!(
            parse(&format!("TIMEOUT={time}")),
            Err(Refused::LevelTimeout {
                max_ms: TIMEOUT_MS_MAX
            }),
            "{time}"
        );
    }
}

#[test]
fn a_user_name_may_be_a_level_or_carry_one() {
    let topology = Topology {
        cluster: quorate_control::topology::ClusterId(1),
        epoch: quorate_control::topology::Epoch(1),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
        users: BTreeMap::new(),
        timing: quorate_control::topology::Timing::default(),
    };
    let read = |text: &'static [u8]| {
        Profile::parse(text, &topology).map(|profile| (profile.user, profile.consistency))
    };
    let quorum = Some(Consistency::Quorum);
    assert_eq!(read(b"default"), Some(("default", None)));
    assert_eq!(read(b"quorum"), Some(("default", quorum)));
    assert_eq!(read(b"default+quorum"), Some(("default", quorum)));
    assert_eq!(read(b"ann"), Some(("ann", None)));
    assert_eq!(read(b"ann+quorum"), Some(("ann", quorum)));
    assert_eq!(read(b"ann+quorumm"), None);
    assert_eq!(read(b"\xff"), None);
}
