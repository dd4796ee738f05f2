//! Text compared with libraries for documents and text: a writer's 260,000 edits, made locally,
//! merged elsewhere, loaded.
//!
//! Each library makes the edits in its cheapest way: all in one transaction where there are
//! transactions. The exception is yrs, whose transactions slow down as they grow; it uses one per
//! edit.

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ObjId, ObjType, ROOT};
use diamond_types::list::ListCRDT;
use diamond_types::list::encoding::EncodeOptions;
use loro::{ExportMode, LoroDoc};
use quorate_crdt::{Causal, NodeId, ReplicaId, Replicated, Text};
use yrs::updates::decoder::Decode;
use yrs::{Doc, ReadTxn, Transact, Update};

use crate::measure::{Nanos, gate_faster, medians, row, time};
use crate::trace::{Patch, editing_trace};

/// Few, because some peers take seconds.
const ROUNDS: usize = 2;

pub(crate) fn run() {
    let patches = editing_trace();
    let [ours, each, diamond, loro] = medians(
        7,
        [
            &mut || time(|| write_ours(&patches)),
            &mut || time(|| write_ours_one_by_one(&patches)),
            &mut || time(|| write_diamond(&patches)),
            &mut || time(|| write_loro(&patches)),
        ],
    );
    let [automerge] = medians(ROUNDS, [&mut || time(|| write_automerge(&patches))]);
    gate_faster(
        "text-local-within-3x-of-diamond-types",
        ours,
        diamond,
        1.0 / 3.0,
    );
    gate_faster("text-local-faster-than-automerge", ours, automerge, 1.0);
    println!(
        "      with a transaction and a delta for each of the {} edits: {}",
        patches.len(),
        Nanos(each)
    );
    row(
        "text, local",
        &[
            ("ours", ours),
            ("automerge", automerge),
            ("diamond-types", diamond),
            ("loro", loro),
        ],
    );
    elsewhere(&patches);
}

fn write_ours(patches: &[Patch]) -> Replicated<Text> {
    let mut text = Replicated::<Text>::new(ReplicaId::new(NodeId(1), 0));
    text.update(|text, tx| {
        for patch in patches {
            text.splice(tx, patch.at..patch.at + patch.delete, &patch.insert)
                .expect("a trace");
        }
    });
    text
}

fn write_ours_one_by_one(patches: &[Patch]) -> Replicated<Text> {
    let mut text = Replicated::<Text>::new(ReplicaId::new(NodeId(1), 0));
    for patch in patches {
        std::hint::black_box(text.update(|text, tx| {
            text.splice(tx, patch.at..patch.at + patch.delete, &patch.insert)
                .expect("a trace")
        }));
    }
    text
}

fn write_automerge(patches: &[Patch]) -> (AutoCommit, ObjId) {
    let mut doc = AutoCommit::new();
    let text = doc
        .put_object(ROOT, "text", ObjType::Text)
        .expect("a put at the root");
    for patch in patches {
        doc.splice_text(&text, patch.at, patch.delete.cast_signed(), &patch.insert)
            .expect("a trace");
    }
    doc.commit();
    (doc, text)
}

fn write_diamond(patches: &[Patch]) -> ListCRDT {
    let mut text = ListCRDT::new();
    let writer = text.get_or_create_agent_id("writer");
    for patch in patches {
        if patch.delete > 0 {
            text.delete_without_content(writer, patch.at..patch.at + patch.delete);
        }
        if !patch.insert.is_empty() {
            text.insert(writer, patch.at, &patch.insert);
        }
    }
    text
}

fn write_loro(patches: &[Patch]) -> LoroDoc {
    let doc = LoroDoc::new();
    let text = doc.get_text("text");
    for patch in patches {
        text.delete(patch.at, patch.delete).expect("a trace");
        text.insert(patch.at, &patch.insert).expect("a trace");
    }
    doc.commit();
    doc
}

fn write_yrs(patches: &[Patch]) -> Doc {
    use yrs::Text as _;
    let doc = Doc::with_client_id(1);
    let text = doc.get_or_insert_text("text");
    for patch in patches {
        let mut tx = doc.transact_mut();
        text.remove_range(&mut tx, patch.at as u32, patch.delete as u32);
        text.insert(&mut tx, patch.at as u32, &patch.insert);
    }
    doc
}

/// What other replicas need for the same text: merging it as an update, and loading it from bytes.
fn elsewhere(patches: &[Patch]) {
    let ours = write_ours(patches);
    let expected = ours.to_string();
    let saved = ours.state().encode();
    let (mut automerge, text) = write_automerge(patches);
    let (changes, automerge_saved) = (automerge.get_changes(&[]), automerge.save());
    assert_eq!(
        automerge::ReadDoc::text(&automerge, &text).as_ref(),
        Ok(&expected),
        "the same text everywhere"
    );
    let diamond = write_diamond(patches);
    let diamond_saved = diamond.oplog.encode(EncodeOptions::default());
    assert!(
        diamond.branch.content().to_string() == expected,
        "the same text everywhere"
    );
    let loro = write_loro(patches);
    let (update, snapshot) = (
        loro.export(ExportMode::all_updates()).expect("an export"),
        loro.export(ExportMode::Snapshot).expect("an export"),
    );
    let mut yrs = Vec::new();
    let once = time(|| {
        yrs = write_yrs(patches)
            .transact()
            .encode_state_as_update_v2(&yrs::StateVector::default())
    });
    row(
        "text, local, a single run because it takes so long",
        &[("yrs", once)],
    );
    println!(
        "      text, bytes: ours {} | automerge {} | diamond-types {} | loro {} | yrs {}",
        saved.len(),
        automerge_saved.len(),
        diamond_saved.len(),
        snapshot.len(),
        yrs.len()
    );
    let take_yrs = || {
        let doc = Doc::new();
        doc.get_or_insert_text("text");
        doc.transact_mut()
            .apply_update(Update::decode_v2(&yrs).expect("own bytes"))
            .expect("own bytes");
        doc
    };
    let [
        remote,
        remote_automerge,
        remote_diamond,
        remote_loro,
        load,
        load_automerge,
        load_diamond,
        load_loro,
        load_yrs,
    ] = medians(
        ROUNDS,
        [
            &mut || {
                let mut there = Replicated::<Text>::new(ReplicaId::new(NodeId(2), 0));
                time(|| there.merge(ours.state()).map(drop))
            },
            &mut || {
                let (mut there, changes) = (AutoCommit::new(), changes.clone());
                time(|| there.apply_changes(changes))
            },
            &mut || {
                let mut there = ListCRDT::new();
                time(|| there.merge_data_and_ff(&diamond_saved).map(drop))
            },
            &mut || {
                let there = LoroDoc::new();
                time(|| there.import(&update))
            },
            &mut || time(|| Causal::<Text>::decode(&saved)),
            &mut || time(|| AutoCommit::load(&automerge_saved)),
            &mut || time(|| ListCRDT::load_from(&diamond_saved).map(drop)),
            &mut || {
                time(|| {
                    LoroDoc::from_snapshot(&snapshot).map(|doc| doc.get_text("text").to_string())
                })
            },
            &mut || time(take_yrs),
        ],
    );
    gate_faster(
        "text-remote-faster-than-automerge",
        remote,
        remote_automerge,
        1.0,
    );
    gate_faster("text-load-faster-than-automerge", load, load_automerge, 1.0);
    row(
        "text, merged elsewhere",
        &[
            ("ours", remote),
            ("automerge", remote_automerge),
            ("diamond-types", remote_diamond),
            ("loro", remote_loro),
        ],
    );
    row(
        "text, loaded and read",
        &[
            ("ours", load),
            ("automerge", load_automerge),
            ("diamond-types", load_diamond),
            ("loro", load_loro),
            ("yrs", load_yrs),
        ],
    );
}
