//! The Redis face over TLS.

use std::fs;
use std::time::Duration;

use quorate::config::{KeyFiles, TlsFiles};
use quorate::faces::resp::RespConfig;
use quorate::faces::resp::client::{Client, Options};
use quorate::limits::Guests;
use quorate::tls::{TlsDoor, TlsTrust};
use rcgen::{CertificateParams, KeyPair};

use crate::wire::{Face, until};

/// A face whose certificate signs itself, and a client's trust in it.
async fn secure(config: RespConfig) -> (Face, TlsTrust) {
    let folder = tempfile::tempdir().unwrap();
    let own = KeyFiles {
        certificate: folder.path().join("node.pem"),
        key: folder.path().join("node.key"),
    };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    fs::write(&own.certificate, certificate.pem()).unwrap();
    fs::write(&own.key, key.serialize_pem()).unwrap();
    let trust = TlsTrust::load(&own.certificate, None).unwrap();
    let files = TlsFiles {
        own,
        client_ca: None,
    };
    let face = Face::with(RespConfig {
        tls: Some(TlsDoor::open(files).unwrap()),
        ..config
    })
    .await;
    (face, trust)
}

#[tokio::test]
async fn commands_and_long_replies_pass_over_tls() {
    let (face, trust) = secure(RespConfig::default()).await;
    let options = Options {
        tls: Some(trust),
        ..Options::default()
    };
    let mut client = Client::connect(face.address, options).await.unwrap();
    let value = vec![b'x'; 3_000_000];
    client.command(&[b"SET", b"k", &value]).await.unwrap();
    let commands = vec![[&b"GET"[..], &b"k"[..]]; 10];
    let replies = client.pipeline(&commands).await.unwrap();
    assert!(
        replies
            .iter()
            .all(|reply| reply.bytes() == Some(&value[..]))
    );
    let plain = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let mut plain = Client::connect(face.address, plain).await.unwrap();
    assert!(plain.command(&[b"PING"]).await.is_err(), "it is not TLS");
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_keeps_no_place() {
    let guests = Guests::new(1);
    let (face, _) = secure(RespConfig {
        guests: std::sync::Arc::clone(&guests),
        greeting: Duration::from_millis(50),
        ..RespConfig::default()
    })
    .await;
    let mut silent = face.raw().await;
    until("the place is taken", || guests.open() == 1).await;
    silent.expect_end().await;
    until("the place is free again", || guests.open() == 0).await;
}
