//! Counting answers.
//!
//! ```text
//! groups N/A,B,… …                 starts a tally: N of the nodes A, B, … in every group
//! placement A,B                    a partition that is not moving
//! placement A,B copying C,D        one that is moving from A, B to C, D (or switching)
//! read | write                     starts a tally of a majority in each set that counts
//! ack N | fail N                   node N answers as asked, or will not
//! ```

use std::collections::BTreeSet;

use quorate_control::quorum::{Group, Tally, Verdict, majority};
use quorate_control::topology::{Epoch, Groups, Phase, Placement, Transition};
use quorate_crdt::NodeId;

use crate::runner::{numbers, shown};

#[derive(Default)]
pub(crate) struct Counting {
    tally: Option<Tally>,
    placement: Option<Placement>,
}

impl Counting {
    pub(crate) fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["groups", ref groups @ ..] => self.start(groups.iter().map(|text| group(text))),
            ["placement", replicas] => self.place(replicas, None),
            ["placement", replicas, "copying", to] => {
                self.place(replicas, Some((Phase::Copying, to)))
            }
            ["placement", replicas, "switching", to] => {
                self.place(replicas, Some((Phase::Switching, to)))
            }
            ["read"] => {
                let placement = self.placement.clone().unwrap();
                self.start(placement.readers().map(majority_of))
            }
            ["write"] => {
                let placement = self.placement.clone().unwrap();
                self.start(placement.writers().map(majority_of))
            }
            ["ack", node] => {
                let verdict = self.tally_mut().ack(NodeId(node.parse().unwrap()));
                self.state(verdict)
            }
            ["fail", node] => {
                let verdict = self.tally_mut().fail(NodeId(node.parse().unwrap()));
                self.state(verdict)
            }
            _ => panic!("no such command: {line}"),
        }
    }

    fn tally_mut(&mut self) -> &mut Tally {
        self.tally.as_mut().unwrap()
    }

    fn start(&mut self, groups: impl Iterator<Item = Group>) -> String {
        match Tally::new(&groups.collect::<Vec<_>>()) {
            Ok(tally) => {
                let verdict = tally.verdict();
                self.tally = Some(tally);
                self.state(verdict)
            }
            Err(error) => format!("refused: {error}"),
        }
    }

    fn place(&mut self, replicas: &str, moving: Option<(Phase, &str)>) -> String {
        let mut placement = Placement::stable(Epoch(1), nodes(replicas));
        placement.transition = moving.map(|(phase, to)| Transition {
            to: nodes(to),
            phase,
            done: BTreeSet::new(),
        });
        let text = format!(
            "reads {}, writes {}, held by {}",
            sets(placement.readers()),
            sets(placement.writers()),
            ids(placement.holders())
        );
        self.placement = Some(placement);
        text
    }

    fn state(&self, verdict: Verdict) -> String {
        let tally = self.tally.as_ref().unwrap();
        let verdict = format!("{verdict:?}").to_lowercase();
        format!(
            "{verdict:10} {} of {}, silent {}",
            tally.acked(),
            tally.required(),
            ids(tally.silent())
        )
    }
}

/// `2/1,2,3`: two of the nodes 1, 2 and 3.
fn group(text: &str) -> Group {
    let (needed, members) = text.split_once('/').unwrap();
    Group {
        needed: needed.parse().unwrap(),
        members: nodes(members),
    }
}

fn majority_of(members: &[NodeId]) -> Group {
    Group {
        needed: majority(members.len()),
        members: members.to_vec(),
    }
}

fn nodes(list: &str) -> Vec<NodeId> {
    numbers(list).into_iter().map(NodeId).collect()
}

fn ids(nodes: impl IntoIterator<Item = NodeId>) -> String {
    shown(nodes.into_iter().map(|node| node.0))
}

fn sets(groups: Groups<'_>) -> String {
    let sets: Vec<_> = groups
        .map(|set| format!("{{{}}}", ids(set.iter().copied())))
        .collect();
    sets.join(" and ")
}
