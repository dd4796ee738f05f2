use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn sources(
    file: Option<&Path>,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Sources {
    let mut all = vec![(OsString::from("HOME"), OsString::from("/home/ann"))];
    all.extend(
        environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
    );
    let flags = flags
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()))
        .collect();
    Sources {
        file: file.map(Path::to_owned),
        environment: all,
        flags,
    }
}

fn refusal(sources: &Sources) -> String {
    NodeConfig::load(sources).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_a_useful_node() {
    let config = NodeConfig::load(&sources(None, &[], &[])).unwrap();
    if cfg!(not(target_os = "macos")) {
        assert_eq!(config.data_dir, Path::new("/home/ann/.local/share/quorate"));
    }
    assert_eq!(config.listen.resp, "127.0.0.1:7379".parse().unwrap());
    assert_eq!(config.listen.http, "127.0.0.1:7380".parse().unwrap());
    assert_eq!(config.listen.quic, "127.0.0.1:7381".parse().unwrap());
    assert_eq!(
        (config.datacenter.as_str(), config.rack.as_str()),
        ("dc1", "r1")
    );
    assert_eq!(
        (config.storage, config.durability, config.partitions),
        (Engine::Fjall, Durability::Sync, None)
    );
    assert!(!config.node.is_empty() && config.join.is_none());
    assert_eq!(config.access, Access::default());
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let file = file("node = 'file'\nrack = 'file'\ndatacenter = 'file'\npartitions = 0x10\n");
    let config = NodeConfig::load(&sources(
        Some(file.path()),
        &[("QUORATE_NODE", "env"), ("QUORATE_RACK", "env")],
        &[("node", "flag")],
    ))
    .unwrap();
    assert_eq!(
        (
            config.node.as_str(),
            config.rack.as_str(),
            config.datacenter.as_str()
        ),
        ("flag", "env", "file")
    );
    assert_eq!(config.partitions, Some(16));
}

#[test]
fn a_variable_can_name_the_file_and_the_flag_wins() {
    let (named, flagged) = (file("rack = 'named'"), file("rack = 'flagged'"));
    let environment = [("QUORATE_CONFIG", named.path().to_str().unwrap())];
    assert_eq!(
        NodeConfig::load(&sources(None, &environment, &[]))
            .unwrap()
            .rack,
        "named"
    );
    assert_eq!(
        NodeConfig::load(&sources(Some(flagged.path()), &environment, &[]))
            .unwrap()
            .rack,
        "flagged"
    );
}

#[test]
fn unknown_keys_are_named_with_the_nearest_valid_one() {
    let file = file("# a comment\nrack = 'a'\ndatacentre = 'x'\n");
    let text = refusal(&sources(Some(file.path()), &[], &[]));
    assert_eq!(
        text,
        format!(
            "{}:3: no such key: datacentre; did you mean datacenter?",
            file.path().display()
        )
    );
    let text = refusal(&sources(None, &[("QUORATE_STORAGES", "fjall")], &[]));
    assert_eq!(
        text,
        "QUORATE_STORAGES: no such key: QUORATE_STORAGES; did you mean QUORATE_STORAGE?"
    );
}

#[test]
fn wrong_types_name_key_place_and_expectation() {
    let file = file("\npartitions = 'many'\n");
    let text = refusal(&sources(Some(file.path()), &[], &[]));
    assert_eq!(
        text,
        format!(
            "{}:2: partitions must be a number that is a power of two, from 1 to 4096",
            file.path().display()
        )
    );
    assert!(
        refusal(&sources(None, &[("QUORATE_RESP", "7379")], &[]))
            .starts_with("QUORATE_RESP: resp must be a string with an IP address")
    );
    let text = refusal(&sources(None, &[], &[("durability", "maybe")]));
    assert_eq!(
        text,
        "--durability: durability must be \"sync\", \"interval\" or \"none\""
    );
    assert!(refusal(&sources(None, &[], &[("partitions", "48")])).contains("power of two"));
    assert!(refusal(&sources(None, &[], &[("request_timeout", "5")])).contains("unit"));
}

#[test]
fn broken_toml_names_its_line() {
    let file = file("rack = 'a'\nnode = \n");
    assert!(
        refusal(&sources(Some(file.path()), &[], &[]))
            .starts_with(&format!("{}:2: ", file.path().display()))
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    assert!(
        refusal(&sources(Some(Path::new("/nowhere/quorate.toml")), &[], &[]))
            .contains("/nowhere/quorate.toml")
    );
}

#[test]
fn faces_beyond_loopback_need_tls_and_somebody_who_asks_for_a_name() {
    let password = ("QUORATE_PASSWORD", "s3cret");
    let tls = [("tls_cert", "node.pem"), ("tls_key", "node.key")];
    for key in ["resp", "http"] {
        for address in ["0.0.0.0:7000", "192.0.2.1:7000", "[::]:7000"] {
            let load = |environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
                let flags: Vec<_> = [(key, address)].iter().chain(flags).copied().collect();
                NodeConfig::load(&sources(None, environment, &flags))
            };
            for (environment, flags) in
                [(&[][..], &[][..]), (&[password][..], &[]), (&[], &tls[..])]
            {
                let text = load(environment, flags).unwrap_err().to_string();
                assert!(
                    text.starts_with(&format!("--{key}: {key} = {address} can be reached")),
                    "{text}"
                );
                for remedy in [
                    "QUORATE_PASSWORD",
                    "--tls-cert",
                    "127.0.0.1:7000",
                    "--insecure",
                ] {
                    assert!(text.contains(remedy), "{remedy} is not in: {text}");
                }
            }
            load(&[password], &tls).unwrap();
            load(&[], &[("insecure", "true")]).unwrap();
            let ca = [&tls[..], &[("tls_client_ca", "ca.pem")]].concat();
            load(&[], &ca).unwrap();
        }
        NodeConfig::load(&sources(None, &[], &[(key, "[::1]:0")])).unwrap();
    }
}

#[test]
fn other_nodes_must_be_told_an_address_that_they_can_dial() {
    for address in ["0.0.0.0:7381", "[::]:7381"] {
        let text = refusal(&sources(None, &[], &[("quic", address)]));
        assert!(
            text.starts_with(&format!("--quic: quic = {address} is not an address"))
                && text.contains("--advertise HOST:7381"),
            "{text}"
        );
        for told in [
            "10.0.0.1:7381",
            "node-1.example.com:7000",
            "[2001:db8::1]:7381",
        ] {
            let flags = [("quic", address), ("advertise", told)];
            let config = NodeConfig::load(&sources(None, &[], &flags)).unwrap();
            assert_eq!(config.listen.advertise.as_deref(), Some(told));
        }
    }
    for wrong in ["node", "node:0", ":7381", "::1:7381"] {
        let text = refusal(&sources(None, &[], &[("advertise", wrong)]));
        assert!(text.starts_with("--advertise: advertise must be"), "{text}");
    }
}

#[test]
fn founding_anywhere_but_in_the_default_directory_is_explicit() {
    let found = |environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        NodeConfig::load(&sources(None, environment, flags))
            .unwrap()
            .found
    };
    assert!(found(&[], &[]), "a single node that anybody can try");
    assert!(found(&[], &[("resp", "127.0.0.1:0"), ("node", "a")]));
    assert!(!found(&[], &[("data_dir", "/data")]));
    assert!(!found(&[("QUORATE_DATA_DIR", "/data")], &[]));
    assert!(
        !found(&[], &[("quic", "10.0.0.1:7381")]),
        "others may reach it"
    );
    assert!(!found(&[], &[("join", "a:1")]));
    assert!(!found(&[], &[("found", "false")]));
    assert!(found(&[], &[("data_dir", "/data"), ("found", "true")]));
    assert!(found(
        &[("QUORATE_FOUND", "true")],
        &[("quic", "10.0.0.1:7381")]
    ));
    let file = file("found = true\ndata_dir = '/data'\n");
    let sources_with = |flags| sources(Some(file.path()), &[], flags);
    assert!(NodeConfig::load(&sources_with(&[])).unwrap().found);
    let text = refusal(&sources_with(&[("join", "a:1")]));
    assert!(
        text.contains("found and join contradict each other"),
        "{text}"
    );
    let text = refusal(&sources(None, &[("QUORATE_FOUND", "yes")], &[]));
    assert_eq!(text, "QUORATE_FOUND: found must be true or false");
}

#[test]
fn a_node_of_a_cluster_that_may_have_users_needs_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    let load = || {
        let flags = [
            ("resp", "0.0.0.0:0"),
            ("tls_cert", "node.pem"),
            ("tls_key", "node.key"),
            ("data_dir", &path),
        ];
        NodeConfig::load(&sources(None, &[], &flags))
    };
    assert!(load().is_err(), "it would found a cluster without users");
    std::fs::write(dir.path().join("identity"), "").unwrap();
    let config = load().unwrap();
    assert!(config.exposed(false).is_some() && config.exposed(true).is_none());
}

#[test]
fn a_certificate_and_its_key_go_together() {
    for (given, text) in [
        ("tls_cert", "--tls-cert: tls_cert needs tls_key as well"),
        ("tls_key", "--tls-key: tls_key needs tls_cert as well"),
        (
            "tls_client_ca",
            "--tls-client-ca: tls_client_ca needs tls_cert as well",
        ),
    ] {
        assert_eq!(refusal(&sources(None, &[], &[(given, "file.pem")])), text);
    }
}

#[test]
fn switches_and_numbers_have_types_in_the_file() {
    let given = file("insecure = true\nmaxclients = 50\n");
    let config = NodeConfig::load(&sources(Some(given.path()), &[], &[])).unwrap();
    assert!(config.access.insecure);
    assert_eq!(config.access.clients_max, Some(50));
    for wrong in [
        "insecure = 'true'",
        "insecure = 1",
        "maxclients = '50'",
        "maxclients = 0",
    ] {
        let given = file(wrong);
        let text = refusal(&sources(Some(given.path()), &[], &[]));
        assert!(text.contains(" must be "), "{wrong}: {text}");
    }
}

#[test]
fn how_far_the_nodes_are_apart_is_not_configured_any_more() {
    for (environment, origin) in [(true, "QUORATE_NETWORK"), (false, "--network")] {
        let given = [("QUORATE_NETWORK", "wide")];
        let flag = [("network", "wide")];
        let refused = if environment {
            refusal(&sources(None, &given, &[]))
        } else {
            refusal(&sources(None, &[], &flag))
        };
        let expected = format!("{origin}: the round trips between the nodes are measured now");
        assert!(refused.starts_with(&expected), "{refused}");
    }
}

#[test]
fn etcd_is_refused_clearly() {
    assert!(
        refusal(&sources(None, &[], &[("etcd", "127.0.0.1:7382")]))
            .starts_with("--etcd: this version does not serve the etcd protocol")
    );
}

#[test]
fn a_token_says_where_to_show_it_and_members_need_none() {
    assert_eq!(
        refusal(&sources(None, &[("QUORATE_TOKEN", "t")], &[])),
        "QUORATE_TOKEN: token needs join as well"
    );
    let join = |addresses: &str, token: &[(&str, &str)]| {
        NodeConfig::load(&sources(None, token, &[("join", addresses)]))
            .unwrap()
            .join
            .unwrap()
    };
    let one = join("localhost:9", &[("QUORATE_TOKEN", "t")]);
    assert_eq!(one.addresses, ["localhost:9"]);
    let token = one.token.unwrap();
    assert_eq!(token.read().unwrap(), Secret::new("t"));
    let several = join("10.0.0.1:1, [::1]:2,node-3:3", &[]);
    assert_eq!(several.addresses, ["10.0.0.1:1", "[::1]:2", "node-3:3"]);
    assert_eq!(several.token, None);
    for wrong in ["", "a:1,", "a:1,,b:2", "a:1 b:2", "a"] {
        let text = refusal(&sources(None, &[], &[("join", wrong)]));
        assert!(text.starts_with("--join: join must be"), "{text}");
    }
}

#[test]
fn a_token_may_be_in_a_file_that_is_read_only_when_it_is_needed() {
    let kept = file("  qt2.text\n");
    let path = kept.path().to_str().unwrap().to_owned();
    let load = |path: &str| {
        let flags = [("join", "a:1"), ("token_file", path)];
        NodeConfig::load(&sources(None, &[], &flags))
            .unwrap()
            .join
            .unwrap()
            .token
            .unwrap()
    };
    assert_eq!(load(&path).read().unwrap(), Secret::new("qt2.text"));
    assert!(load("/nowhere/token").read().is_err());
    let variable = [("QUORATE_TOKEN", "t")];
    assert_eq!(
        refusal(&sources(
            None,
            &variable,
            &[("join", "a:1"), ("token_file", &path)]
        )),
        "--token-file: token_file and token cannot both be given"
    );
    assert_eq!(
        refusal(&sources(None, &[], &[("token_file", &path)])),
        "--token-file: token_file needs join as well"
    );
}

#[test]
fn an_interval_belongs_to_its_mode() {
    let every = |text| {
        NodeConfig::load(&sources(
            None,
            &[("QUORATE_DURABILITY_INTERVAL", text)],
            &[("durability", "interval")],
        ))
    };
    assert_eq!(
        every("50ms").unwrap().durability,
        Durability::Interval(Duration::from_millis(50))
    );
    let text = refusal(&sources(
        None,
        &[("QUORATE_DURABILITY_INTERVAL", "1s")],
        &[("durability", "none")],
    ));
    assert!(
        text.starts_with("QUORATE_DURABILITY_INTERVAL: durability_interval needs"),
        "{text}"
    );
}

#[test]
fn secrets_stay_out_of_debug_and_errors() {
    let config = NodeConfig::load(&sources(None, &[("QUORATE_PASSWORD", "hunter2")], &[])).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let secret = config.access.password.unwrap();
    assert!(secret.matches(b"hunter2"));
    for wrong in ["", "hunter", "hunter22", "Hunter2"] {
        assert!(!secret.matches(wrong.as_bytes()), "{wrong}");
    }
}

#[test]
fn configurations_made_in_rust_are_checked_too() {
    let valid = NodeConfig::load(&sources(None, &[], &[])).unwrap();
    valid.validate().unwrap();
    assert!(
        NodeConfig {
            node: String::new(),
            ..valid.clone()
        }
        .validate()
        .is_err()
    );
    assert!(
        NodeConfig {
            partitions: Some(3),
            ..valid.clone()
        }
        .validate()
        .is_err()
    );
    assert!(
        NodeConfig {
            request_timeout: Duration::ZERO,
            ..valid
        }
        .validate()
        .is_err()
    );
}

#[test]
fn durations() {
    for (text, millis) in [
        ("1ms", 1),
        ("2s", 2_000),
        ("3m", 180_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
    ] {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in [
        "",
        "5",
        "s",
        "0s",
        "-1s",
        "1.5s",
        "1 year",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn only_the_whole_password_matches() {
    let secret = Secret::new("hunter2");
    assert!(secret.matches(b"hunter2"));
    for wrong in [
        &b""[..],
        b"hunter",
        b"hunter22",
        b"hunter2hunter2",
        b"Hunter2",
        b"hunter3",
    ] {
        assert!(!secret.matches(wrong), "{wrong:?}");
    }
    assert!(!Secret::new("").matches(b"x"));
    assert_eq!(format!("{secret:?}"), "Secret(…)");
}

#[test]
fn the_example_file_names_every_key_and_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/quorate.example.toml");
    let given = sources(Some(&path), &[], &[]);
    let config = NodeConfig::load(&given).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/quorate"));
    assert_eq!(LogConfig::load(&given).unwrap().format, LogFormat::Text);
    let text = std::fs::read_to_string(&path).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    for key in &table::KEYS {
        // What this version does not serve is no example.
        assert!(
            names.contains(&key.name) || matches!(key.name, "etcd" | "network"),
            "{}",
            key.name
        );
    }
}

#[test]
fn the_log_is_configured_like_everything_else() {
    let config = |environment: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        LogConfig::load(&sources(None, environment, flags))
    };
    assert_eq!(config(&[], &[]).unwrap().format, LogFormat::Text);
    let given = config(&[("QUORATE_LOG_FORMAT", "json")], &[("log", "quinn=debug")]).unwrap();
    assert_eq!(given.format, LogFormat::Json);
    let level = tracing::Level::DEBUG;
    assert!(given.filter.would_enable("quinn::endpoint", &level));
    assert!(!given.filter.would_enable("quorate", &level));
    let info = tracing::Level::INFO;
    assert!(
        given.filter.would_enable("audit", &info),
        "nobody has said otherwise"
    );
    let without = config(&[], &[("log", "warn,audit=off")]).unwrap();
    assert!(!without.filter.would_enable("audit", &info));
    let refused = config(&[("QUORATE_LOG", "loud")], &[])
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("QUORATE_LOG: log must be a level"),
        "{refused}"
    );
}
