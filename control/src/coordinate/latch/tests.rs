//! A latch only falls, and opens once.

use super::*;

#[test]
fn a_latch_falls_to_nothing_and_opens_once() {
    let name = Name::try_from(bytes::Bytes::from_static(b"l")).unwrap();
    let mut latches = Latches::default();
    let set = |count| LatchCommand::Set {
        name: name.clone(),
        count,
    };
    let down = |by| LatchCommand::CountDown {
        name: name.clone(),
        by,
    };
    assert_eq!(latches.apply(1, set(2)).0, LatchOutcome::Set(true));
    assert_eq!(latches.apply(2, set(9)).0, LatchOutcome::Set(false));
    assert_eq!(latches.apply(3, down(1)), (LatchOutcome::Counted(1), None));
    let opens = Some(LatchEvent { name: name.clone() });
    assert_eq!(
        latches.apply(4, down(u32::MAX)),
        (LatchOutcome::Counted(0), opens)
    );
    assert_eq!(latches.apply(5, down(1)), (LatchOutcome::Counted(0), None));
    assert_eq!(latches, Latches::default());
}
