//! Random histories follow from their seeds, and from their plans alone.

use quorate::sim::{Plan, play};

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 12, 31] {
        let plan = Plan::from_seed(seed);
        assert_eq!(plan, Plan::from_seed(seed));
        let (first, second) = (play(&plan), play(&plan));
        assert!(first.acknowledged() > 0, "seed {seed}: nothing was acknowledged");
        assert_eq!(first.trace, second.trace, "seed {seed}: two runs differ");
    }
}

#[test]
fn different_seeds_give_different_histories() {
    assert_ne!(play(&Plan::from_seed(3)).trace, play(&Plan::from_seed(4)).trace);
}

#[test]
fn a_plan_that_was_written_down_gives_the_same_history() {
    let plan = Plan::from_seed(12);
    let written = serde_json::to_string(&plan).expect("a plan is plain data");
    let read: Plan = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(plan, read);
    assert_eq!(play(&plan).trace, play(&read).trace);
}
