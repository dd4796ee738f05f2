use proptest::prelude::*;

use super::*;

fn frame() -> impl Strategy<Value = Frame> {
    let body = || prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    prop_oneof![
        body().prop_map(Frame::OneWay),
        (any::<u64>(), body()).prop_map(|(number, body)| Frame::Call(number, body)),
        (any::<u64>(), body()).prop_map(|(number, body)| Frame::Answer(number, body)),
    ]
}

fn write(frame: &Frame, out: &mut BytesMut) {
    let (header, body) = match frame {
        Frame::OneWay(body) => (Header::OneWay, body),
        Frame::Call(number, body) => (Header::Call(*number), body),
        Frame::Answer(number, body) => (Header::Answer(*number), body),
    };
    header.write(body.len(), out);
    out.extend_from_slice(body);
}

#[test]
fn a_length_out_of_bounds_is_a_violation_before_any_body_comes() {
    for length in [0u32, 40 * 1024 * 1024, u32::MAX] {
        let mut deframer = Deframer::default();
        deframer.push(&length.to_le_bytes());
        assert_eq!(deframer.next(), Err(Violation));
    }
}

#[test]
fn parts_without_end_are_a_violation_at_the_bound() {
    let mut deframer = Deframer {
        parts: BytesMut::zeroed(MESSAGE_BYTES_MAX - 3),
        ..Deframer::default()
    };
    let mut stream = BytesMut::new();
    Header::Part.write(4, &mut stream);
    stream.extend_from_slice(&[0; 4]);
    deframer.push(&stream);
    assert_eq!(deframer.next(), Err(Violation));
}

proptest! {
    #[test]
    fn a_body_in_parts_is_that_body(
        bodies in prop::collection::vec(frame(), 1..8),
        part in 1usize..20,
    ) {
        let mut stream = BytesMut::new();
        for frame in &bodies {
            let (header, mut body) = match frame.clone() {
                Frame::OneWay(body) => (Header::OneWay, body),
                Frame::Call(number, body) => (Header::Call(number), body),
                Frame::Answer(number, body) => (Header::Answer(number), body),
            };
            while body.len() > part {
                Header::Part.write(part, &mut stream);
                stream.extend_from_slice(&body.split_to(part));
            }
            header.write(body.len(), &mut stream);
            stream.extend_from_slice(&body);
        }
        let mut deframer = Deframer::default();
        deframer.push(&stream);
        for frame in bodies {
            prop_assert_eq!(deframer.next(), Ok(Some(frame)));
        }
        prop_assert_eq!(deframer.next(), Ok(None));
    }

    #[test]
    fn frames_survive_any_cutting(
        frames in prop::collection::vec(frame(), 0..20),
        cuts in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut stream = BytesMut::new();
        for frame in &frames {
            write(frame, &mut stream);
        }
        let mut deframer = Deframer::default();
        let mut seen = Vec::new();
        for size in cuts.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            deframer.push(&stream.split_to((*size).min(stream.len())));
            while let Some(frame) = deframer.next().unwrap() {
                seen.push(frame);
            }
        }
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn random_bytes_never_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let mut deframer = Deframer::default();
        for chunk in chunks {
            deframer.push(&chunk);
            while let Ok(Some(_)) = deframer.next() {}
        }
    }
}
