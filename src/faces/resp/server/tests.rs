use super::*;

#[test]
fn connections_come_and_go() {
    let clients = Clients::default();
    let address = "127.0.0.1:1".parse().unwrap();
    let enter = || clients.enter(address).0;
    let (first, second) = (enter(), enter());
    assert_eq!((first, second, clients.count()), (1, 2, 2));
    clients.update(second, |client| client.name = "b".to_owned());
    clients.leave(first);
    assert_eq!(
        clients
            .all()
            .iter()
            .map(|(id, client)| (*id, client.name.as_str()))
            .collect::<Vec<_>>(),
        [(2, "b")]
    );
    assert_eq!(enter(), 3);
    assert!(clients.find(first).is_none());
}
