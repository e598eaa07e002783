//! From a seed to a world: its options, and the course that it takes. Whatever a plan does not
//! lay down is drawn.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use crate::dns::draw_names;
use crate::draws;
use crate::gathers::LOW_WATER_MAX;
use crate::net::Us;
use crate::refusing::with_passwords;
use crate::trouble::{FAULTS, Fault, LATER_FAULTS};
use crate::world::{MS, Options, SECOND};

/// What is laid down for all seeds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Plan {
    pub sentinels: Option<usize>,
    pub masters: Option<usize>,
    pub replicas: Option<usize>,
    pub rounds: Option<u32>,
    /// With so many links sentinels take themselves for large.
    pub bundle_links: Option<usize>,
    /// The default faults: no more than masters that die or hang, network and disk as drawn.
    pub plain: bool,
    /// A line per event on standard error.
    pub tracing: bool,
    /// The last lines of a world that fails are shown.
    pub tail: bool,
    /// Wall clocks jump; nothing may come of it.
    pub wall_jumps: Option<bool>,
    /// Lines are hashed.
    pub hashing: bool,
    /// All that passes the borders of sentinels is hashed.
    pub ledger: bool,
    /// Every world has names; none has otherwise.
    pub names: bool,
}

/// Which commands operators send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Operators {
    #[default]
    None,
    /// Settings and questions.
    Gentle,
    /// Also forced failovers.
    Forcing,
    /// Also such that make sentinels forget.
    Forgetful,
    /// Also such that make one sentinel look like another.
    Misleading,
}

/// What happens to a world.
#[derive(Clone, Debug)]
pub struct Course {
    /// Troubles and healing, so many times.
    pub rounds: u32,
    /// Troubles per round.
    pub episodes: u32,
    /// Faults that occur, with their weights.
    pub weights: Vec<(Fault, u32)>,
    /// After a fault of a master: wait until it is replaced, as a rule.
    pub brisk: bool,
    /// The longest pause between troubles.
    pub pause_us: Us,
    pub operators: Operators,
    pub wall_jumps: bool,
    /// Operators shorten all periods at the beginning.
    pub quick: bool,
    /// In which round, and after how many troubles, somebody attacks.
    pub attack: Option<(u32, u32)>,
}

impl Course {
    /// Whether more may happen than that masters die or stand still.
    pub fn is_troubled(&self) -> bool {
        let plain = |fault: &Fault| matches!(fault, Fault::KillMaster | Fault::FreezeMaster);
        let attacked = self.attack.is_some() || self.operators != Operators::None;
        attacked || !self.weights.iter().all(|(fault, _)| plain(fault))
    }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

impl Plan {
    /// Whether everything is drawn.
    pub fn is_free(&self) -> bool {
        let sizes = [self.sentinels, self.masters, self.replicas];
        let chosen = self.names || self.rounds.is_some() || self.bundle_links.is_some();
        !self.plain && !chosen && sizes == [None; 3]
    }

    /// What has to be said beside a seed to have the same plan again.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let sizes = [
            ("SENTINELS", self.sentinels),
            ("MASTERS", self.masters),
            ("REPLICAS", self.replicas),
            ("ROUNDS", self.rounds.map(|n| n as usize)),
            ("BUNDLE_LINKS", self.bundle_links),
        ];
        for (name, size) in sizes {
            if let Some(size) = size {
                words += &format!(" {name}={size}");
            }
        }
        words += if self.names { " NAMES=1" } else { "" };
        words + if self.plain { " PLAIN=1" } else { "" }
    }

    /// The options and the course of a seed.
    pub fn draw(&self, seed: u64) -> (Options, Course) {
        let mut rng = Rng::new(seed ^ 0x5eed_0975);
        let mut options = self.draw_options(&mut rng);
        draw_large(&mut Rng::new(seed ^ 0x1a46e), &mut options);
        draw_waits(&mut Rng::new(seed ^ 0xc0ec7), &mut options);
        if self.names {
            options.names = draw_names(&mut Rng::new(seed ^ 0x4a3e5));
        }
        if let Some(links) = self.bundle_links {
            options.bundle_links = Some(links);
        }
        if !self.plain && !options.names.on {
            draws::draw(&mut Rng::new(seed ^ 0xd4a35), &mut options, self.is_free());
        }
        draw_passwords(&mut Rng::new(seed ^ 0xa0741), &mut options);
        let mut course = self.draw_course(&mut rng, &options);
        if !self.plain {
            draw_later_faults(&mut Rng::new(seed ^ 0x1a7e4), &mut course);
        }
        if options.sentinels == 1 {
            // Nobody would remember what it forgets, and one more voter would leave no majority.
            course.operators = course.operators.min(Operators::Forcing);
        }
        let mut rng = Rng::new(seed ^ 0xa77ac);
        // A forged configuration names an address, and a node that moves is found by name alone.
        if !self.plain && rng.below(3) > 0 && options.sentinels > 1 && !options.names.moves {
            let round = rng.below(u64::from(course.rounds)) as u32;
            course.attack = Some((round, rng.below(u64::from(course.episodes)) as u32));
        }
        (options, course)
    }

    fn draw_options(&self, rng: &mut Rng) -> Options {
        let sentinels = pick(rng, &[3, 3, 3, 3, 3, 3, 4, 5, 5, 7, 7, 17]);
        let sentinels = self.sentinels.unwrap_or(sentinels);
        let masters = pick(rng, &[1, 1, 1, 1, 2, 3]);
        let replicas = pick(rng, &[1, 2, 2, 2, 3, 5]);
        let majority = sentinels / 2 + 1;
        let quorum = match rng.below(4) {
            0 => 1 + rng.below(sentinels as u64) as usize,
            _ => majority,
        };
        Options {
            sentinels,
            masters: self.masters.unwrap_or(masters),
            replicas: self.replicas.unwrap_or(replicas),
            quorum,
            down_after_ms: pick(rng, &[100, 200, 300, 500, 1_000]),
            failover_timeout_ms: pick(rng, &[500, 1_000, 2_000, 5_000]),
            parallel_syncs: 1 + rng.below(3) as u32,
            latency_us: pick(rng, &[(0, MS / 2), (0, MS), (200, 3 * MS), (0, 20 * MS)]),
            save_us: pick(rng, &[(0, MS), (MS, 3 * MS), (2 * MS, 20 * MS)]),
            scripts: !self.plain && rng.below(6) == 0,
            ..Options::default()
        }
    }

    fn draw_course(&self, rng: &mut Rng, options: &Options) -> Course {
        let weights = match self.plain {
            true => vec![(Fault::KillMaster, 1), (Fault::FreezeMaster, 1)],
            false => draw_weights(rng),
        };
        let operators = match rng.below(10) {
            _ if self.plain => Operators::None,
            0 | 4 => Operators::Gentle,
            1 => Operators::Forcing,
            2 => Operators::Forgetful,
            3 => Operators::Misleading,
            _ => Operators::None,
        };
        let rounds = 2 + rng.below(4) as u32;
        Course {
            rounds: self.rounds.unwrap_or(rounds),
            episodes: 10 + rng.below(40) as u32,
            weights,
            brisk: rng.below(4) > 0,
            pause_us: pick(rng, &[100 * MS, options.down_after_ms * MS, SECOND, 4 * SECOND]),
            operators,
            wall_jumps: {
                let drawn = rng.below(2) == 0;
                self.wall_jumps.unwrap_or(drawn)
            },
            quick: rng.below(2) == 0,
            attack: None,
        }
    }
}

/// In every third world sentinels do what the release does with many more links, in some of these
/// with sockets that hold hardly anything back.
pub fn draw_large(rng: &mut Rng, options: &mut Options) {
    if rng.below(3) == 0 {
        options.bundle_links = Some(1 + rng.below(8) as usize);
        options.low_water_max = pick(rng, &[LOW_WATER_MAX, LOW_WATER_MAX, 300]);
    }
}

/// In some worlds connects wait for their turn, as in processes with thousands of them.
fn draw_waits(rng: &mut Rng, options: &mut Options) {
    if rng.below(6) == 0 {
        options.connect_wait_us = (0, pick(rng, &[50 * MS, 500 * MS, 2 * SECOND]));
    }
}

/// In some worlds sentinels have a password, which nodes need at times.
fn draw_passwords(rng: &mut Rng, options: &mut Options) {
    if rng.below(2) == 0 && !options.drawn.needs_password() {
        with_passwords(options);
    }
}

fn draw_later_faults(rng: &mut Rng, course: &mut Course) {
    for fault in LATER_FAULTS {
        if rng.below(4) == 0 {
            course.weights.push((fault, 1 + rng.below(8) as u32));
        }
    }
}

/// Each seed knows some of the faults only, but always those of masters.
fn draw_weights(rng: &mut Rng) -> Vec<(Fault, u32)> {
    let percent = pick(rng, &[10, 25, 50]);
    let mut weights = vec![(Fault::KillMaster, 20), (Fault::FreezeMaster, 20)];
    for fault in FAULTS {
        if rng.below(100) < percent {
            weights.push((fault, 1 + rng.below(8) as u32));
        }
    }
    weights
}
