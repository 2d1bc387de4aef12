//! Whole nodes, their clients and their troubles, each from one seed. `chatroom-sim` runs more of them; what a seed finds becomes
//! a test with the rule's name, in `rules` or beside the code.

use std::ops::RangeInclusive;

use chatroom::sim::swarm::{Plan, run};

/// All of these keep the promises of PROTOCOL.md section 4.
fn check(seeds: RangeInclusive<u64>) {
    let mut events = 0;
    for seed in seeds {
        match run(seed, Plan::default()) {
            Ok(report) => events += report.events,
            Err(failure) => panic!("{failure}\nsee: chatroom-sim --trace --seeds 1 --from {seed}"),
        }
    }
    assert!(events > 1000, "the clients were idle: {events} events");
}

// In four parts, which run beside each other.

#[test]
fn seeds_1_to_20_keep_the_promises() {
    check(1..=20);
}

#[test]
fn seeds_21_to_40_keep_the_promises() {
    check(21..=40);
}

#[test]
fn seeds_41_to_60_keep_the_promises() {
    check(41..=60);
}

#[test]
fn seeds_61_to_80_keep_the_promises() {
    check(61..=80);
}

#[test]
fn a_seed_always_comes_to_the_same() {
    let plan = Plan { storm_ms: 5000, ..Plan::default() };
    let (first, second) = (run(7, plan).unwrap(), run(7, plan).unwrap());
    assert_eq!((first.turns, first.events), (second.turns, second.events));
}
