//! A running face, and raw connections to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate::faces::resp::client::{Client, Options};
use quorate::faces::resp::{RespConfig, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fake::Fake;

/// Longer than any test should take: a bound on hanging, not a wait.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Face {
    pub(crate) address: SocketAddr,
    pub(crate) fake: Arc<Fake>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

impl Face {
    pub(crate) async fn start() -> Self {
        Self::with(RespConfig::default()).await
    }

    pub(crate) async fn with(config: RespConfig) -> Self {
        Self::before(Fake::new(), config).await
    }

    /// Another face of the same node, which knows nothing of this one: as after a restart.
    pub(crate) async fn another(&self) -> Self {
        Self::before(Arc::clone(&self.fake), RespConfig::default()).await
    }

    async fn before(fake: Arc<Fake>, config: RespConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(serve(listener, Arc::clone(&fake) as _, config, stopped));
        Self {
            address,
            fake,
            stop,
            served,
        }
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address, Options::default())
            .await
            .unwrap()
    }
}

/// A connection that sends exactly what the test says.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads as many bytes as `expected` has and compares them; `/` stands for CR LF.
    pub(crate) async fn expect(&mut self, expected: &str) {
        let expected = expected.replace('/', "\r\n");
        let mut seen = Vec::new();
        let reading = async {
            while seen.len() < expected.len() {
                let mut chunk = vec![0; expected.len() - seen.len()];
                match self.0.read(&mut chunk).await.unwrap() {
                    0 => break,
                    length => seen.extend_from_slice(&chunk[..length]),
                }
                if !expected.as_bytes().starts_with(&seen) {
                    // The rest of a wrong reply makes the failure readable.
                    self.0.try_read_buf(&mut seen).ok();
                    break;
                }
            }
        };
        let finished = timeout(PATIENCE, reading).await;
        assert_eq!(
            String::from_utf8_lossy(&seen),
            expected,
            "timed out: {}",
            finished.is_err()
        );
    }

    /// Reads and discards this many bytes.
    pub(crate) async fn skip(&mut self, bytes: usize) {
        let mut skipped = vec![0; bytes];
        let reading = timeout(PATIENCE, self.0.read_exact(&mut skipped));
        reading.await.expect("no reply").unwrap();
    }

    /// Sends one inline command and expects its reply.
    pub(crate) async fn ask(&mut self, command: &str, reply: &str) {
        self.send(format!("{command}\r\n")).await;
        self.expect(reply).await;
    }

    /// Expects that the server has closed the connection and left nothing to read.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("the connection stays open")
        {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

/// Lets other tasks run until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}
