use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::decode::Decoder;
use super::*;

fn bulk(text: &'static str) -> Value {
    Value::Bulk(Bytes::from_static(text.as_bytes()))
}

fn all(decoder: &mut Decoder, input: &mut BytesMut) -> Result<Vec<Value>, DecodeError> {
    let mut values = Vec::new();
    while let Some(value) = decoder.next(input)? {
        values.push(value);
    }
    Ok(values)
}

const SAMPLE: &[u8] = b"+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n*2\r\n$3\r\na\r\n\r\n*2\r\n*1\r\n:1\r\n$1\r\nb\r\n";

fn sample() -> Vec<Value> {
    vec![
        bulk("OK"),
        Value::Error(Refusal {
            text: "ERR no".into(),
        }),
        Value::Integer(-7),
        Value::Nil,
        Value::Nil,
        bulk(""),
        Value::Array(vec![]),
        Value::Array(vec![
            bulk("a\r\n"),
            Value::Array(vec![Value::Array(vec![Value::Integer(1)]), bulk("b")]),
        ]),
    ]
}

proptest! {
    #[test]
    fn chunks_do_not_change_replies(cuts in proptest::collection::vec(1usize..20, 1..40)) {
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
        let (mut values, mut at) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(SAMPLE.len());
            input.extend_from_slice(&SAMPLE[at..end]);
            values.extend(all(&mut decoder, &mut input).unwrap());
            at = end;
            if at == SAMPLE.len() {
                break;
            }
        }
        prop_assert_eq!(values, sample());
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(
            prop_oneof![
                any::<u8>(),
                proptest::sample::select(b"*$+-:\r\n0123456789".to_vec()),
            ],
            0..200,
        ),
    ) {
        drop(all(&mut Decoder::default(), &mut BytesMut::from(&bytes[..])));
    }
}

#[test]
fn bad_replies_are_typed_errors() {
    let decode = |bytes: &[u8]| all(&mut Decoder::default(), &mut BytesMut::from(bytes));
    assert_eq!(decode(b"%1\r\n"), Err(DecodeError::Type { byte: b'%' }));
    assert_eq!(decode(b"$99999999999\r\n"), Err(DecodeError::Number));
    assert_eq!(decode(b"$-2\r\n"), Err(DecodeError::Number));
    assert_eq!(decode(b"$1\r\nabc"), Err(DecodeError::Line));
    assert_eq!(decode(&b"*1\r\n".repeat(17)), Err(DecodeError::Depth));
    assert_eq!(decode(&vec![b'+'; 70_000]), Err(DecodeError::Line));
}

#[tokio::test]
async fn commands_pipelines_and_refusals() {
    let script: [(&[u8], &[u8]); 4] = [
        (
            b"*3\r\n$4\r\nAUTH\r\n$6\r\nquorum\r\n$2\r\npw\r\n",
            b"+OK\r\n",
        ),
        (b"*2\r\n$6\r\nSTRLEN\r\n$1\r\nk\r\n", b":3\r\n"),
        (b"*1\r\n$4\r\nNOPE\r\n", b"-ERR x\r\n"),
        (
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
            b"$1\r\na\r\n-OOM y\r\n",
        ),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (expected, reply) in script {
            let mut seen = vec![0; expected.len()];
            stream.read_exact(&mut seen).await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&seen),
                String::from_utf8_lossy(expected)
            );
            stream.write_all(reply).await.unwrap();
        }
    });
    let options = Options {
        user: Some("quorum".into()),
        password: Some("pw".into()),
        ..Options::default()
    };
    let mut client = Client::connect(address, options).await.unwrap();
    assert_eq!(
        client.command(&[b"STRLEN", b"k"]).await.unwrap(),
        Value::Integer(3)
    );
    let refused = client.command(&[b"NOPE"]).await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused(refusal) if refusal.code() == "ERR"),
        "{refused}"
    );
    let replies = client
        .pipeline(&[&[b"GET".as_slice(), b"k"][..], &[b"SET", b"k", b"v"]])
        .await
        .unwrap();
    assert_eq!(
        replies,
        [
            bulk("a"),
            Value::Error(Refusal {
                text: "OOM y".into()
            })
        ]
    );
    server.await.unwrap();
    assert!(matches!(
        client.command(&[b"PING"]).await.unwrap_err(),
        ClientError::Closed | ClientError::Io(_)
    ));
}
