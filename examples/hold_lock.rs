//! Holds a lock while it works, and stops working when the lock is lost.
//!
//! `cargo run --example hold_lock -- 127.0.0.1:7379`

use std::error::Error;
use std::time::Duration;

use quorate::client::{Coordinated, Patience};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let node = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:7379".to_owned());

    let cluster = Coordinated::at([node]);
    let patience = Patience::new(Duration::from_secs(10)).wait(Duration::from_secs(30));
    let lock = cluster.lock("nightly-report", patience).await?;
    tokio::select! {
        () = write_report(lock.token()) => lock.release().await?,
        lost = lock.lost() => return Err(lost.into()),
    }
    Ok(())
}

/// Whatever it writes to Quorate, it writes as `FENCE nightly-report token …`.
async fn write_report(token: u64) {
    println!("working under token {token}");
    tokio::time::sleep(Duration::from_secs(3)).await;
}
