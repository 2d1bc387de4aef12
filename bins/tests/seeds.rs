//! Whole nodes, their clients and their troubles, each from one seed. `chatroom-sim` runs more of them; what a seed finds becomes
//! a test with the rule's name, in `rules` or beside the code.

use chatroom::sim::swarm::{Plan, run};

#[test]
fn many_seeds_keep_the_promises() {
    let mut events = 0;
    for seed in 1..=60 {
        match run(seed, Plan::default()) {
            Ok(report) => events += report.events,
            Err(failure) => panic!("{failure}\nchatroom-sim --trace --seeds 1 --from {seed}"),
        }
    }
    assert!(events > 10_000, "the clients were idle: {events} events");
}

#[test]
fn a_seed_always_comes_to_the_same() {
    let plan = Plan { storm_ms: 5000, ..Plan::default() };
    let (first, second) = (run(7, plan).unwrap(), run(7, plan).unwrap());
    assert_eq!((first.turns, first.events), (second.turns, second.events));
}
