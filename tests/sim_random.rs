//! Random histories depend on their seeds and plans, and on nothing else.

use quorate::sim::scenario::{Scenario, ScenarioError};
use quorate::sim::{Action, Ask, Deed, Fortune, Key, Kind, Plan, Step, play};
use quorate_dynamo::Consistency;

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 12, 31] {
        let plan = Plan::from_seed(seed);
        assert_eq!(plan, Plan::from_seed(seed));
        let (first, second) = (play(&plan), play(&plan));
        assert!(
            first.acknowledged() > 0,
            "seed {seed}: nothing was acknowledged"
        );
        assert_eq!(first.trace, second.trace, "seed {seed}: two runs differ");
    }
}

/// Locks, semaphores and elections under every fault, and writes under the granted tokens.
#[test]
fn random_histories_of_locks_keep_every_promise() {
    let bids = |plan: &Plan| {
        let steps = plan.steps.iter();
        steps
            .filter(|step| matches!(step.action, Action::Bid(_)))
            .count()
    };
    let seeds = (100..).filter(|seed| bids(&Plan::from_seed(*seed)) > 60);
    let mut granted = 0;
    for seed in seeds.take(5) {
        let outcome = play(&Plan::from_seed(seed));
        assert_eq!(outcome.violations, [], "seed {seed}");
        let grants = outcome.heard.iter();
        granted += grants
            .filter(|heard| matches!(heard.fortune, Fortune::Granted(_)))
            .count();
    }
    assert!(granted > 20, "only {granted} grants");
}

#[test]
fn different_seeds_give_different_histories() {
    assert_ne!(
        play(&Plan::from_seed(3)).trace,
        play(&Plan::from_seed(4)).trace
    );
}

#[test]
fn a_plan_that_was_written_down_gives_the_same_history() {
    let plan = Plan::from_seed(12);
    let written = serde_json::to_string(&plan).expect("a plan is plain data");
    let read: Plan = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(plan, read);
    assert_eq!(play(&plan).trace, play(&read).trace);
}

/// No node is up when the removal is first requested, so it is requested again once every fault is
/// repaired.
#[test]
fn the_last_check_waits_for_a_removal_that_is_asked_for_again() {
    let mut plan = Plan::from_seed(3);
    plan.shape.datacenters = vec![5];
    plan.until = 5_000;
    plan.steps.clear();
    let mut step = |at, action| plan.steps.push(Step { at, action });
    for (id, kind) in (1..=14).zip(
        [
            Kind::Register,
            Kind::Set,
            Kind::Hash,
            Kind::Text,
            Kind::Counter,
            Kind::Cell,
            Kind::Expiring,
        ]
        .iter()
        .cycle(),
    ) {
        let (key, deed) = (Key(*kind, (id / 8) as u8), Deed::Delete);
        let ask = Ask {
            id,
            client: 1,
            node: 1,
            level: Consistency::Quorum,
            keyspace: 1,
            key,
            deed,
            timeout: 1_000,
            again: Vec::new(),
            wait: 0,
            token: 0,
            sequence: 0,
            since: 0,
        };
        step(u64::from(id), Action::Ask(ask));
    }
    (1..=5).for_each(|node| step(1_000, Action::Crash(node)));
    step(
        1_001,
        Action::Remove {
            node: 4,
            lost: false,
        },
    );
    (1..=5).for_each(|node| step(1_500, Action::Restart(node)));
    let outcome = play(&plan);
    assert_eq!(outcome.violations, []);
    assert!(
        outcome
            .history
            .iter()
            .all(|told| told.ask.id < 1_000_000 || told.ask.node != 4),
        "the last check asks a node that is gone"
    );
}

#[test]
fn the_scenario_of_the_example_is_served_as_its_levels_say() {
    let scenario =
        Scenario::read(include_str!("../examples/split.toml")).expect("the example is a scenario");
    let outcome = play(&scenario.plan);
    assert_eq!(outcome.violations, [], "{}", scenario.table(&outcome));
    let table = scenario.table(&outcome);
    for level in ["ONE", "LOCAL_QUORUM", "QUORUM", "EACH_QUORUM", "ALL"] {
        assert!(table.contains(level), "{table}");
    }
}

#[test]
fn a_scenario_that_means_nothing_is_refused() {
    let text = |rest: &str| {
        format!("datacenters = {{ dc1 = 1 }}\nlevels = [\"ONE\"]\nlasts = \"1s\"\n{rest}")
    };
    assert!(Scenario::read(&text("")).is_ok());
    assert!(matches!(
        Scenario::read(&text("wind = 3")),
        Err(ScenarioError::Toml(_))
    ));
    assert!(matches!(
        Scenario::read(&text("[[step]]\nat = \"1s\"")),
        Err(ScenarioError::BadStep { .. })
    ));
    assert!(matches!(
        Scenario::read(&text("[[step]]\nat = \"1s\"\ncrash = \"dc2-1\"")),
        Err(ScenarioError::NoSuchPlace { .. })
    ));
    assert!(matches!(
        Scenario::read(&text("[[step]]\nat = \"soon\"\nheal = true")),
        Err(ScenarioError::BadTime { .. })
    ));
    // Each of these would otherwise end with "every promise was kept".
    let step = |rest: &str| Scenario::read(&text(&format!("[[step]]\nat = \"500ms\"\n{rest}")));
    assert!(step("heal = true").is_ok());
    assert!(matches!(
        step("heal = true\ncrash = \"dc1-1\""),
        Err(ScenarioError::BadStep { .. })
    ));
    assert!(matches!(
        step("stop = \"dc1-1\"\ncrash = \"dc1-1\""),
        Err(ScenarioError::BadStep { .. })
    ));
    assert!(matches!(
        step("heal = false"),
        Err(ScenarioError::BadStep { .. })
    ));
    assert!(matches!(
        step("cut = [\"dc1\"]"),
        Err(ScenarioError::NobodyCut { .. })
    ));
    assert!(matches!(
        step("mute = []"),
        Err(ScenarioError::NobodyCut { .. })
    ));
    assert!(matches!(
        Scenario::read(&text("[[step]]\nat = \"1s\"\nheal = true")),
        Err(ScenarioError::StepTooLate { .. })
    ));
    let whole = |levels: &str, lasts: &str| {
        Scenario::read(&format!(
            "datacenters = {{ dc1 = 1 }}\nlevels = {levels}\nlasts = \"{lasts}\""
        ))
    };
    assert!(matches!(whole("[]", "1s"), Err(ScenarioError::NoLevels)));
    assert!(matches!(
        whole("[\"ONE\"]", "150ms"),
        Err(ScenarioError::TooShort { least_ms: 150, .. })
    ));
    assert!(whole("[\"ONE\"]", "151ms").is_ok_and(|scenario| !scenario.plan.steps.is_empty()));
}
