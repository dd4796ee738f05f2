use super::{
    CLIENTS_MAX, Guests, RESERVE, STORE_FILES_MAX, clients, clients_max, clients_share,
    raise_descriptors, store_share,
};

#[test]
fn clients_never_get_what_the_store_and_the_network_need() {
    for descriptors in [128, 256, 1024, 4096, 65_536, usize::MAX] {
        let (store, clients) = (store_share(descriptors), clients_share(descriptors));
        assert!(
            store + clients + RESERVE <= descriptors,
            "{descriptors}: {store} + {clients}"
        );
        assert!(
            store >= 16 && clients >= 16,
            "{descriptors}: {store}, {clients}"
        );
    }
    assert_eq!((store_share(256), clients_share(256)), (64, 128));
    assert_eq!(
        (store_share(usize::MAX), clients_share(usize::MAX)),
        (STORE_FILES_MAX, CLIENTS_MAX)
    );
}

#[test]
fn an_operator_may_want_fewer_clients_and_gets_no_more_than_there_is_room_for() {
    let room = clients_max();
    assert_eq!(clients(None), room);
    assert_eq!(clients(Some(7)), 7.min(room));
    assert_eq!(clients(Some(usize::MAX)), room);
}

#[test]
fn raising_never_lowers() {
    let (before, now) = raise_descriptors();
    assert!(now >= before);
    assert_eq!(raise_descriptors(), (now, now));
}

#[test]
fn a_guest_that_goes_makes_room() {
    let guests = Guests::new(2);
    let (first, second) = (guests.admit(), guests.admit());
    assert!(first.is_some() && second.is_some() && guests.admit().is_none());
    assert_eq!((guests.open(), guests.refused()), (2, 1));
    drop(first);
    assert!(guests.admit().is_some());
    assert_eq!(guests.open(), 1);
}
