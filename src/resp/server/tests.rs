use super::*;

#[test]
fn only_the_whole_password_matches() {
    let secret = Secret::new("hunter2");
    assert!(secret.matches(b"hunter2"));
    for wrong in [&b""[..], b"hunter", b"hunter22", b"hunter2hunter2", b"Hunter2", b"hunter3"] {
        assert!(!secret.matches(wrong), "{wrong:?}");
    }
    assert!(!Secret::new("").matches(b"x"));
    assert_eq!(format!("{secret:?}"), "Secret(…)");
}

#[test]
fn connections_come_and_go() {
    let clients = Clients::default();
    let address = "127.0.0.1:1".parse().unwrap();
    let (first, second) = (clients.enter(address), clients.enter(address));
    assert_eq!((first, second, clients.count()), (1, 2, 2));
    clients.update(second, |client| client.name = "b".to_owned());
    clients.leave(first);
    assert_eq!(clients.all().iter().map(|(id, client)| (*id, client.name.as_str())).collect::<Vec<_>>(), [(2, "b")]);
    assert_eq!(clients.enter(address), 3);
    assert!(clients.find(first).is_none());
}
