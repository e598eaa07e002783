//! The table of elections: `make sim ELECTIONS=n`, kept in docs/elections.md.
#![forbid(unsafe_code)]

use crate::elections::{Case, Tally};
use crate::world::MS;

const HEAD: &str = "\
| sentinels | of them C | latency | detection | host lost | staggered | failovers | candidacies \
| > 1 cand. | repeated | epochs | median ms | 99 % ms | worst ms |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

const LEGEND: &str = "\
Each failover is that of one master whose process ends; detection: within which time all sentinels
see that; host lost: one sentinel's host goes down with the master; of them C: sentinels that act as
redis-sentinel does (they do not let others go first). candidacies and epochs: per failover.
In > 1 cand.: failovers that saw more than one candidacy; repeated: of them, those whose first
candidacies all failed, so that a newer epoch was needed. Times: from the first odown to the last
sentinel's switch. Saves take 2 ms where the latency is 0-1 ms, else 2 to 12 ms.

A sentinel like redis-sentinel starts at its next tick, up to 100 ms after it has found the master
objectively down, whatever others do; then it takes about a second for what sentineld does at once.
So it is not waited for: where two candidates need each other's vote and the network is slow (3
sentinels, one of them C, one lost), a fourth of the elections meets such a tick and is repeated.
That costs one more round of votes: C does not try again before 2 x failover-timeout, and its vote
is free for the next epoch. Waiting for it instead was measured: 21 % repeated, 1.2 s at 99 %.
";

/// Prints the table: `count` failovers per row, a third of that for large groups; or the rows of
/// groups of one size.
pub fn table(count: u64, only: Option<usize>) {
    println!("{LEGEND}\n{HEAD}");
    let sizes = only.map_or(vec![3, 5, 17], |size| vec![size]);
    for sentinels in sizes {
        let count = if sentinels > 5 { count.div_ceil(3) } else { count };
        let seeds: Vec<u64> = (1..=count).collect();
        for c_peers in [0, sentinels / 3] {
            for case in cases(Case { sentinels, c_peers, ..Case::default() }) {
                row(&case, &case.tally(&seeds));
            }
        }
    }
}

/// Near and far, found at once and spread, with and without a sentinel less; in an order and, in
/// builds that can do so, without one.
fn cases(base: Case) -> Vec<Case> {
    let ordered: &[bool] = if cfg!(feature = "defects") { &[true, false] } else { &[true] };
    let mut cases = Vec::new();
    for far in [false, true] {
        for spread_us in [MS, 100 * MS] {
            for one_dies in [false, true] {
                for staggered in ordered.iter().copied() {
                    cases.push(Case { far, spread_us, one_dies, staggered, ..base });
                }
            }
        }
    }
    cases
}

/// Prints a row of the table.
pub fn row(case: &Case, tally: &Tally) {
    let [crossed, repeated] = tally.shares();
    println!(
        "| {:>2} | {} | {:<7} | {:>3} ms | {:<3} | {:<3} | {:>4} | {:.3} | {:>6.2} % | {:>6.2} % \
         | {:.3} | {:>6.1} | {:>6.1} | {:>6.1} |",
        case.sentinels,
        case.c_peers,
        if case.far { "5-25 ms" } else { "0-1 ms" },
        case.spread_us / MS,
        if case.one_dies { "yes" } else { "no" },
        if case.staggered { "yes" } else { "no" },
        tally.failovers,
        tally.candidacies_each(),
        crossed,
        repeated,
        tally.epochs_each(),
        tally.took_ms(50),
        tally.took_ms(99),
        tally.took_ms(100),
    );
}

/// Prints what becomes of so many masters that fail together, at once and spread.
pub fn together(masters: usize) {
    println!("\n{masters} masters of 3 sentinels that fail together:\n");
    for spread_us in [MS, 100 * MS] {
        for far in [false, true] {
            let case = Case { masters, far, spread_us, ..Case::default() };
            let tally = case.tally(&[1]);
            println!(
                "- found within {} ms, {}: {} candidacies, {} epochs; all sentinels give all new \
                 addresses {:.0} ms after down-after, {} masters waited 2 x failover-timeout",
                spread_us / MS,
                if far { "latency 5-25 ms" } else { "latency 0-1 ms" },
                tally.candidacies,
                tally.epochs,
                tally.all_told_us as f64 / 1_000.0,
                tally.waited,
            );
        }
    }
}
