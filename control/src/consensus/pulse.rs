//! One pulse for all groups that this node leads.
//!
//! The leader of a group gives a sign of life every 50 ms, whether or not anything happens. If each
//! engine did so by itself, each at its own moment, an idle node would do little else. So here all
//! groups that this node leads beat at the same moment, and what goes to one node goes in one
//! request. It costs an idle cluster no more to have two groups than to have one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::apply::Raft;
use super::engine::Engine;
use super::machine::GroupId;
use super::messages::{Reply, Request};
use super::peer::{Beat, CallError, Peer};
use crate::planted::ONE_GROUP_BEATS;

/// How often all others are let run before the beats are sent: the engines make them, and hand them
/// to a task for each follower. Guess: one more than it takes.
const TURNS: usize = 4;

/// The groups that this node leads, and how often each must beat.
type Led = BTreeMap<GroupId, (Raft, Duration)>;

/// The task that beats, as engines reach it.
pub(super) struct Pulse {
    led: watch::Sender<Led>,
    /// At most one for each group and follower is under way, so it needs no bound.
    beats: mpsc::UnboundedSender<Beat>,
}

impl Pulse {
    /// A pulse, and the task that it needs. `peer` is the way to the other nodes.
    pub(super) fn new(peer: Peer) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (beats, made) = mpsc::unbounded_channel();
        let led = watch::Sender::default();
        let beating = beat(led.subscribe(), made, peer);
        (Self { led, beats }, beating)
    }

    /// Where the engines' signs of life go.
    pub(super) fn beats(&self) -> mpsc::UnboundedSender<Beat> {
        self.beats.clone()
    }

    /// Lets a group beat while this node leads it. Runs for ever.
    pub(super) async fn follow(self: Arc<Self>, engine: Arc<Engine>) {
        let (mut running, group) = (engine.running(), engine.group());
        while let Ok(raft) = running
            .wait_for(Option::is_some)
            .await
            .map(|raft| raft.clone())
        {
            let Some(raft) = raft else { continue };
            let mut metrics = raft.server_metrics();
            loop {
                let leads = metrics.borrow_watched().state.is_leader();
                if leads && (group == GroupId::TOPOLOGY || !ONE_GROUP_BEATS.is_planted()) {
                    let led = (raft.clone(), engine.timing().heartbeat());
                    self.led.send_modify(|all| drop(all.insert(group, led)));
                } else {
                    self.led
                        .send_if_modified(|all| all.remove(&group).is_some());
                }
                if metrics.changed().await.is_err() {
                    break;
                }
            }
            // The engine has stopped; it may be started again.
            self.led
                .send_if_modified(|all| all.remove(&group).is_some());
            if running.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Runs for ever. Beats at the pace of the fastest group, and sends what the engines make of it.
/// They may make a sign of life at any other moment too, for a read.
async fn beat(mut led: watch::Receiver<Led>, mut made: mpsc::UnboundedReceiver<Beat>, peer: Peer) {
    let mut last = Instant::now();
    let mut beats = Vec::new();
    loop {
        let every = led
            .borrow_and_update()
            .values()
            .map(|(_, every)| *every)
            .min();
        let due = every.map(|every| last + every);
        // Biased, so that two runs of one seed are equal.
        tokio::select! {
            biased;
            changed = led.changed() => if changed.is_err() { return },
            taken = made.recv_many(&mut beats, usize::MAX) => {
                if taken == 0 {
                    return;
                }
                send(std::mem::take(&mut beats), &peer);
            }
            () = sleep_until(due.unwrap_or(last)), if due.is_some() => {
                last = Instant::now();
                let all: Vec<Raft> = led.borrow().values().map(|(raft, _)| raft.clone()).collect();
                for raft in all {
                    // One that has stopped is taken out of the list.
                    drop(raft.trigger().heartbeat().await);
                }
                for _turn in 0..TURNS {
                    yield_now().await;
                }
            }
        }
    }
}

/// Sends the beats, with one request to each node.
fn send(beats: Vec<Beat>, peer: &Peer) {
    let mut by_node: BTreeMap<NodeId, Vec<Beat>> = BTreeMap::new();
    for beat in beats {
        by_node.entry(beat.target).or_default().push(beat);
    }
    for (target, beats) in by_node {
        tokio::spawn(carry(peer.to(target), beats));
    }
}

/// Carries beats of several groups to one node, and tells each what came of it.
async fn carry(peer: Peer, beats: Vec<Beat>) {
    let within = beats.iter().map(|beat| beat.within).max();
    let (requests, answers): (Vec<_>, Vec<_>) = beats
        .into_iter()
        .map(|beat| ((beat.group, beat.rpc), beat.answer))
        .unzip();
    let request = Request::Beats(requests);
    let failed = match peer.call(&request, within.unwrap_or_default()).await {
        Ok(Reply::Beats(replies)) if replies.len() == answers.len() => {
            for (answer, reply) in answers.into_iter().zip(replies) {
                let reply = match reply {
                    Reply::Failed(error) => Err(error.into()),
                    reply => Ok(reply),
                };
                // Whoever made it may have given up.
                drop(answer.send(reply));
            }
            return;
        }
        Ok(_) => CallError::Mismatch,
        Err(error) => error,
    };
    for answer in answers {
        drop(answer.send(Err(failed)));
    }
}
