//! The table of elections: `make sim ELECTIONS=n`.
#![forbid(unsafe_code)]

use crate::elections::Case;
use crate::world::MS;

/// Prints the table: `count` failovers per row, fewer for large groups.
pub fn table(count: u64) {
    println!(
        "sentinels   C  network  detection  dies  ordered failovers    crossed   repeated  epochs \
         median ms     99 %    worst"
    );
    let ordered: &[bool] = if cfg!(feature = "defects") { &[true, false] } else { &[true] };
    for sentinels in [3, 5, 17] {
        for c_peers in [0, sentinels / 3] {
            for far in [false, true] {
                for spread_us in [MS, 100 * MS] {
                    for one_dies in [false, true] {
                        for staggered in ordered.iter().copied() {
                            let case = Case {
                                sentinels,
                                c_peers,
                                far,
                                spread_us,
                                one_dies,
                                staggered,
                                ..Case::default()
                            };
                            let count = if sentinels > 5 { count.div_ceil(4) } else { count };
                            let seeds: Vec<u64> = (1..=count).collect();
                            case.tally(&seeds).row(&case);
                        }
                    }
                }
            }
        }
    }
}

/// Prints what becomes of so many masters that fail together.
pub fn together(masters: usize) {
    let case = Case { masters, ..Case::default() };
    let tally = case.tally(&[1]);
    println!(
        "{masters} masters failed together: {} candidacies, {} epochs, all failed over {:.0} ms \
         after the first odown",
        tally.candidacies,
        tally.epochs,
        tally.took_ms(100),
    );
}
