//! Groups whose hosts have names: what befalls names befalls these, and masters die meanwhile.
#![forbid(unsafe_code)]

use crate::dns::NameOptions;
use crate::outcome::{Outcome, run_seed};
use crate::plan::Plan;
use crate::settle::seeds;
use crate::sweep::{replay, tell};

/// One round of everything that may happen.
#[test]
fn names_hold_all_properties() {
    let plan = Plan { names: true, rounds: Some(1), ..Plan::default() };
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        assert!(replay(seed, &Plan { tracing: true, ..plan }));
        return;
    }
    let mut kinds = [false; 5];
    for seed in seeds(16) {
        let NameOptions { v6, moves, lies, aliases, hasty, .. } = plan.draw(seed).0.names;
        for (kind, is) in kinds.iter_mut().zip([v6, moves, lies, aliases, hasty]) {
            *kind |= is;
        }
        let outcome = run_seed(seed, &plan);
        if !matches!(outcome, Outcome::Ok(_)) {
            tell(seed, &plan, &outcome);
            panic!("seed {seed}");
        }
    }
    assert_eq!(kinds, [true; 5], "every kind of names was there");
}
