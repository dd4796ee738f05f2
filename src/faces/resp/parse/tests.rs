use proptest::prelude::*;

use super::*;

type Parsed = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Feeds `bytes` in chunks of the given sizes, over and over, and gives all commands and the error
/// that ended it.
fn parse_in(bytes: &[u8], sizes: &[usize], trusted: bool) -> Parsed {
    let (mut parser, mut input, mut commands, mut at) =
        (Parser::default(), BytesMut::new(), Vec::new(), 0);
    parser.trust(trusted);
    for size in sizes.iter().cycle() {
        let end = (at + size).min(bytes.len());
        input.extend_from_slice(&bytes[at..end]);
        at = end;
        loop {
            match parser.next(&mut input) {
                Ok(Some(command)) => {
                    commands.push(command.args(0).iter(0).map(<[u8]>::to_vec).collect());
                }
                Ok(None) => break,
                Err(error) => return (commands, Some(error)),
            }
        }
        if at == bytes.len() {
            return (commands, None);
        }
    }
    unreachable!("a cycle does not end");
}

fn parse(bytes: &[u8]) -> Parsed {
    parse_in(bytes, &[usize::MAX / 2], true)
}

fn error(bytes: &[u8]) -> Option<ProtocolError> {
    parse(bytes).1
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn arrays_and_inline_requests_mix() {
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\n*-1\r\nset k \"a b\\x41\\n\" 'it\\'s'\n*1\r\n$0\r\n\r\n";
    let (commands, error) = parse(bytes);
    assert_eq!(error, None);
    let set = vec![
        b"set".to_vec(),
        b"k".to_vec(),
        b"a bA\n".to_vec(),
        b"it's".to_vec(),
    ];
    assert_eq!(commands, [words("GET a"), words("PING"), set, vec![vec![]]]);
}

#[test]
fn every_protocol_error_has_redis_words() {
    let text = |bytes: &[u8]| {
        error(bytes)
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert_eq!(text(b"*1048577\r\n"), "invalid multibulk length");
    let many = "invalid multibulk length: 131073 arguments are more than the 131072 allowed; nothing was applied";
    assert_eq!(text(b"*131073\r\n"), many);
    assert_eq!(text(b"*x\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*+1\r\n"), "invalid multibulk length");
    assert_eq!(text(&[b'*'; 40]), "invalid multibulk length");
    let too_long = "invalid bulk length: 16777217 bytes is more than the 16777216 allowed; nothing was applied";
    assert_eq!(text(b"*1\r\n$16777217\r\n"), too_long);
    assert_eq!(text(b"*1\r\n$536870913\r\n"), "invalid bulk length");
    assert_eq!(text(b"*1\r\n$-1\r\n"), "invalid bulk length");
    assert_eq!(text(b"*1\r\n:5\r\n"), "expected '$', got ':'");
    assert_eq!(text(b"*1\r\n*1\r\n"), "expected '$', got '*'");
    assert_eq!(text(b"%1\r\n"), "expected '*', got '%'");
    assert_eq!(
        text(b"*1\r\n$1\r\nabc"),
        "expected CR LF after the bulk string"
    );
    assert_eq!(text(&vec![b'a'; 64 * 1024]), "too big inline request");
    assert_eq!(text(b"get \"a\r\n"), "unbalanced quotes in request");
    assert_eq!(text(b"get 'a'b\r\n"), "unbalanced quotes in request");
    assert_eq!(error(b"*131072\r\n$16777216\r\n"), None);
}

#[test]
fn strangers_get_small_limits() {
    let stranger = |bytes: &[u8]| parse_in(bytes, &[usize::MAX / 2], false).1;
    assert_eq!(
        stranger(b"*11\r\n"),
        Some(ProtocolError::StrangerArgumentCount)
    );
    assert_eq!(stranger(b"*10\r\n$16384\r\n"), None);
    assert_eq!(
        stranger(b"*10\r\n$16385\r\n"),
        Some(ProtocolError::StrangerArgumentLength)
    );
}

#[test]
fn many_large_arguments_stop_at_the_request_bound_before_they_arrive() {
    let mut bytes = b"*8\r\n".to_vec();
    for _ in 0..3 {
        bytes.extend_from_slice(b"$16777216\r\n");
        bytes.resize(bytes.len() + 16_777_216, b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"$16777216\r\n");
    assert_eq!(error(&bytes), Some(ProtocolError::TooBig));
}

#[test]
fn a_header_reserves_nothing() {
    let (mut parser, mut input) = (
        Parser::default(),
        BytesMut::from(&b"*131072\r\n$16777216\r\nabc"[..]),
    );
    parser.trust(true);
    assert!(parser.next(&mut input).unwrap().is_none());
    assert!(input.capacity() < 1024, "{}", input.capacity());
    assert!(!parser.spans.spilled());
}

#[test]
fn large_arguments_are_not_copied_and_small_ones_do_not_pin_the_buffer() {
    let bytes = encode(&[b"SET".to_vec(), b"key".to_vec(), vec![b'v'; 100_000]]);
    let mut input = BytesMut::from(&bytes[..]);
    let mut parser = Parser::default();
    parser.trust(true);
    let command = parser.next(&mut input).unwrap().unwrap();
    let args = command.args(0);
    assert_eq!(args.kept(2).as_ptr(), args.get(2).as_ptr());
    assert_ne!(args.kept(1).as_ptr(), args.get(1).as_ptr());
    assert_eq!(args.shared(1).as_ptr(), args.get(1).as_ptr());
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        proptest::sample::select(b"*$%~:\r\n\"' 0123456789ab".to_vec())
    ];
    let piece = prop_oneof![
        proptest::collection::vec(byte, 0..12),
        Just(b"*2\r\n$1\r\na\r\n$2\r\nbc\r\n".to_vec()),
        Just(b"*1\r\n".to_vec()),
        Just(b"$3\r\nabc\r\n".to_vec()),
        Just(b"PING x\r\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_result_in_any_chunks(
        bytes in soup(),
        sizes in proptest::collection::vec(1usize..9, 1..8),
        trusted in any::<bool>(),
    ) {
        let whole = parse_in(&bytes, &[usize::MAX / 2], trusted);
        prop_assert_eq!(parse_in(&bytes, &sizes, trusted), whole);
    }

    #[test]
    fn what_a_client_encodes_is_what_is_parsed(
        commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..9),
            1..9,
        ),
        sizes in proptest::collection::vec(1usize..30, 1..8),
    ) {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        prop_assert_eq!(parse_in(&bytes, &sizes, true), (commands, None));
    }
}
