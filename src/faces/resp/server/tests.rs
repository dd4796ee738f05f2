use super::*;

#[test]
fn connections_come_and_go() {
    let clients = Clients::default();
    let address = "127.0.0.1:1".parse().unwrap();
    let (first, second) = (clients.enter(address), clients.enter(address));
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
    assert_eq!(clients.enter(address), 3);
    assert!(clients.find(first).is_none());
}
