//! Takes the steps of a change of [`keys`](super::keys), one after the other, until the change is
//! at its end.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Command, Response};
use tokio::time::{sleep, timeout};

use super::keys::{Keys, Step};
use super::shared::Shared;

/// How long a step waits for its outcome before it is looked at again. Guess: several decisions.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs as long as the node does.
pub(super) async fn run(shared: Arc<Shared>) {
    let Some(keys) = &shared.keys else {
        return;
    };
    let mut acted = shared.acted.subscribe();
    loop {
        acted.mark_unchanged();
        let topology = shared.hub.topology();
        let info = topology.nodes.get(&shared.settings.node);
        let Some(step) = info.and_then(|info| keys.step(info)) else {
            tokio::select! {
                biased;
                () = keys.drawn.notified() => {}
                changed = acted.changed() => if changed.is_err() { return },
            }
            continue;
        };
        match take(&shared, keys, step).await {
            Ok(()) if step == Step::Show => {}
            // Until this node acts on what was decided.
            Ok(()) => drop(timeout(PAUSE, acted.changed()).await),
            Err(error) => {
                tracing::warn!(%error, ?step, "the change of this node's key stands still");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn take(
    shared: &Shared,
    keys: &Arc<Keys>,
    step: Step,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let node = shared.settings.node;
    let command = match step {
        Step::Offer(key) => Command::OfferKey { node, key },
        Step::Settle(key) => Command::ChangeKey { node, key },
        Step::Show => {
            let keys = Arc::clone(keys);
            return Ok(tokio::task::spawn_blocking(move || keys.show()).await??);
        }
    };
    match shared.control.propose(command).await? {
        Response::Refused(refusal) => Err(refusal.into()),
        _ => Ok(()),
    }
}
