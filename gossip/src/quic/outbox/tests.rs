use super::*;
use crate::quic::frame::{Deframer, Frame};

#[tokio::test]
async fn a_batch_is_all_that_waits_in_order() {
    let outbox = Outbox::default();
    let large = Bytes::from(vec![7; COPY_BYTES_MAX + 1]);
    for body in [
        Bytes::from_static(b"a"),
        large.clone(),
        Bytes::from_static(b"b"),
    ] {
        assert!(outbox.push(Header::OneWay, body));
    }
    let (chunks, bytes) = outbox.take().await.unwrap();
    let mut expected = vec![2, 0, 0, 0, 0, b'a'];
    expected.extend_from_slice(&u32::try_from(large.len() + 1).unwrap().to_le_bytes());
    expected.push(0);
    expected.extend_from_slice(&large);
    expected.extend_from_slice(&[2, 0, 0, 0, 0, b'b']);
    assert_eq!(chunks.concat(), expected);
    assert_eq!(chunks.len(), 3);
    outbox.written(bytes);
    assert_eq!(outbox.lock().bytes, 0);
}

#[tokio::test]
async fn what_is_being_written_counts_until_it_has_left() {
    let outbox = Outbox::default();
    let frame = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    assert!(outbox.push(Header::OneWay, frame.clone()));
    assert!(outbox.push(Header::OneWay, frame.clone()));
    let (_batch, bytes) = outbox.take().await.unwrap();
    assert!(
        !outbox.push(Header::OneWay, frame.clone()),
        "the bound counts the batch in flight"
    );
    assert_eq!(outbox.backlog(), bytes, "and so does the backlog");
    outbox.written(bytes);
    assert_eq!(outbox.backlog(), 0);
    assert!(outbox.push(Header::OneWay, frame));
}

#[tokio::test]
async fn a_frame_that_comes_while_a_batch_is_written_is_not_forgotten() {
    let outbox = Outbox::default();
    assert!(outbox.push(Header::OneWay, Bytes::from_static(b"a")));
    let (_batch, bytes) = outbox.take().await.unwrap();
    assert!(outbox.push(Header::OneWay, Bytes::from_static(b"b")));
    outbox.written(bytes);
    let (chunks, _) = outbox.take().await.unwrap();
    assert_eq!(chunks.concat(), [2, 0, 0, 0, 0, b'b']);
}

#[tokio::test]
async fn a_closed_outbox_takes_nothing_and_wakes_its_writer() {
    let outbox = Outbox::default();
    let (taken, ()) = tokio::join!(outbox.take(), async { outbox.close() });
    assert!(taken.is_none());
    assert!(!outbox.push(Header::OneWay, Bytes::new()));
}

#[test]
fn a_message_over_the_bound_is_refused() {
    assert!(!Outbox::default().push(Header::OneWay, Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1])));
}

#[tokio::test]
async fn a_message_longer_than_a_frame_comes_in_parts_that_stay_together() {
    let outbox = Outbox::default();
    let body = Bytes::from(
        (0..FRAME_BYTES_MAX + 5)
            .map(|at| (at % 251) as u8)
            .collect::<Vec<_>>(),
    );
    assert!(outbox.push(Header::Call(7), body.clone()));
    assert!(outbox.push(Header::OneWay, Bytes::from_static(b"next")));
    let (chunks, bytes) = outbox.take().await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.len() <= PART_BYTES));
    let mut deframer = Deframer::default();
    let mut seen = Vec::new();
    for chunk in chunks {
        deframer.push(&chunk);
        while let Some(frame) = deframer.next().unwrap() {
            seen.push(frame);
        }
    }
    assert!(
        seen == [
            Frame::Call(7, body),
            Frame::OneWay(Bytes::from_static(b"next"))
        ]
    );
    outbox.written(bytes);
    assert_eq!(outbox.lock().bytes, 0);
}
