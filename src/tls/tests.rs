use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A folder with authorities and certificates.
struct Folder(tempfile::TempDir);

type Issuer = CertifiedIssuer<'static, KeyPair>;

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An authority, and its certificate in `name`.
    fn authority(&self, name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(self.path(name), issuer.pem()).unwrap();
        issuer
    }

    /// A certificate for `host`, signed by `issuer`.
    fn certificate(&self, name: &str, host: &str, issuer: &Issuer) -> KeyFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()])
            .unwrap()
            .signed_by(&key, issuer)
            .unwrap();
        let files = KeyFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

/// Whether a client that trusts `trust` and the door come to terms, and a word passes.
async fn come_to_terms(door: &TlsDoor, trust: &TlsTrust, host: &str) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = door.accept(stream).await?;
        stream.write_all(b"word").await?;
        stream.flush().await
    };
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = trust.connect(stream, host).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.map(|_| word)
    };
    let (given, got) = tokio::join!(server, client);
    given.is_ok() && got.is_ok_and(|word| word == *b"word")
}

#[tokio::test]
async fn a_client_trusts_only_its_authority_and_the_name_it_asked_for() {
    let folder = Folder::new();
    let (own, other) = (folder.authority("ca.pem"), folder.authority("other.pem"));
    let door = |files| {
        TlsDoor::open(TlsFiles {
            own: files,
            client_ca: None,
        })
        .unwrap()
    };
    let good = door(folder.certificate("good", "localhost", &own));
    let foreign = door(folder.certificate("foreign", "localhost", &other));
    let trust = TlsTrust::load(&folder.path("ca.pem"), None).unwrap();
    assert!(come_to_terms(&good, &trust, "localhost").await);
    assert!(!come_to_terms(&good, &trust, "example.org").await);
    assert!(!come_to_terms(&foreign, &trust, "localhost").await);
}

#[tokio::test]
async fn a_door_that_asks_for_certificates_lets_in_only_those_of_its_authority() {
    let folder = Folder::new();
    let (own, other) = (folder.authority("ca.pem"), folder.authority("other.pem"));
    let door = TlsDoor::open(TlsFiles {
        own: folder.certificate("node", "localhost", &own),
        client_ca: Some(folder.path("ca.pem")),
    })
    .unwrap();
    let ca = folder.path("ca.pem");
    let with = |files: Option<KeyFiles>| TlsTrust::load(&ca, files.as_ref()).unwrap();
    let ann = folder.certificate("ann", "ann", &own);
    let eve = folder.certificate("eve", "eve", &other);
    assert!(come_to_terms(&door, &with(Some(ann)), "localhost").await);
    assert!(!come_to_terms(&door, &with(Some(eve)), "localhost").await);
    assert!(!come_to_terms(&door, &with(None), "localhost").await);
}

#[tokio::test]
async fn files_that_are_read_again_count_and_bad_ones_change_nothing() {
    let folder = Folder::new();
    let (old, new) = (folder.authority("old.pem"), folder.authority("new.pem"));
    let files = folder.certificate("node", "localhost", &old);
    let door = TlsDoor::open(TlsFiles {
        own: files.clone(),
        client_ca: None,
    })
    .unwrap();
    let trusts = |name: &str| TlsTrust::load(&folder.path(name), None).unwrap();
    let (trusts_old, trusts_new) = (trusts("old.pem"), trusts("new.pem"));
    folder.certificate("node", "localhost", &new);
    assert!(come_to_terms(&door, &trusts_old, "localhost").await);
    door.reload().unwrap();
    assert!(come_to_terms(&door, &trusts_new, "localhost").await);
    assert!(!come_to_terms(&door, &trusts_old, "localhost").await);
    fs::write(&files.certificate, "nonsense").unwrap();
    let error = door.reload().unwrap_err().to_string();
    assert!(error.contains("node.pem: there is nothing"), "{error}");
    assert!(come_to_terms(&door, &trusts_new, "localhost").await);
}

#[test]
fn bad_files_are_named() {
    let folder = Folder::new();
    let authority = folder.authority("ca.pem");
    let good = folder.certificate("good", "localhost", &authority);
    let other = folder.certificate("other", "localhost", &authority);
    let open = |own: KeyFiles| {
        TlsDoor::open(TlsFiles {
            own,
            client_ca: None,
        })
        .unwrap_err()
        .to_string()
    };
    let missing = open(KeyFiles {
        key: folder.path("missing.key"),
        ..good.clone()
    });
    assert!(missing.contains("missing.key: No such file"), "{missing}");
    let mixed = open(KeyFiles {
        key: other.key,
        ..good
    });
    assert!(mixed.contains("do not make a certificate"), "{mixed}");
}
