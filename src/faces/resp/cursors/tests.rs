use super::*;

const KEYSPACE: KeyspaceId = KeyspaceId(0);

#[test]
fn a_cursor_leads_back_to_its_position() {
    let cursors = Cursors::default();
    let key = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let (a, b) = (
        cursors.save(KEYSPACE, Partition(7), key("a")),
        cursors.save(KEYSPACE, Partition(65535), key("b")),
    );
    assert!(b < 1 << 53, "a double holds it");
    assert_eq!(cursors.find(KEYSPACE, a), Some((Partition(7), key("a"))));
    assert_eq!(
        cursors.find(KEYSPACE, b),
        Some((Partition(65535), key("b")))
    );
    assert_eq!(
        cursors.find(KeyspaceId(1), a),
        Some((Partition(7), None)),
        "another keyspace begins its partition"
    );
    assert_eq!(cursors.find(KEYSPACE, 0), Some((Partition(0), None)));
    assert_eq!(
        cursors.find(KEYSPACE, cursors.save(KEYSPACE, Partition(3), None)),
        Some((Partition(3), None))
    );
    assert_eq!(cursors.find(KEYSPACE, u64::MAX), None);
}

#[test]
fn the_table_is_bounded_and_a_lost_position_begins_its_partition() {
    let cursors = Cursors::default();
    let key = || Some(Bytes::from(vec![b'k'; 1024]));
    let first = cursors.save(KEYSPACE, Partition(5), key());
    let kept = BYTES_MAX / 1024;
    for _ in 1..kept {
        cursors.save(KEYSPACE, Partition(6), key());
    }
    assert_eq!(cursors.find(KEYSPACE, first), Some((Partition(5), key())));
    cursors.save(KEYSPACE, Partition(6), key());
    assert_eq!(cursors.find(KEYSPACE, first), Some((Partition(5), None)));
    let table = cursors.0.lock().unwrap();
    assert_eq!((table.positions.len(), table.bytes), (kept, BYTES_MAX));
}
