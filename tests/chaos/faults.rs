//! The faults, and plans of them drawn from a seed.

use crate::cluster::Layout;
use sentineld::util::rng::Rng;

/// A data node or its host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Which {
    /// That of the one that is the master when the fault begins.
    Master,
    Node(usize),
}

/// Whose frames a fault of the network is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whose {
    /// The host of the master.
    Master,
    Host(usize),
    Everybody,
}

/// Something that befalls the group; times are how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The master's host is alone with less than half of the sentinels and one client; `first` is
    /// the sentinel with which the choice of company begins.
    Minority { first: usize, ms: u64 },
    /// Hosts whose bit is set hear nothing of the others, and the other way round.
    Split { mask: u64, ms: u64 },
    /// A host is not heard any more (outward) or hears nothing.
    OneWay { of: Whose, outward: bool, ms: u64 },
    /// The link of a host breaks and comes back again and again.
    Flap { of: Whose, off_ms: u64, on_ms: u64, times: u64 },
    /// Frames take long, and overtake each other.
    Slow { of: Whose, least_ms: u64, most_ms: u64, ms: u64 },
    /// Frames get lost.
    Lossy { of: Whose, percent: u64, ms: u64 },
    /// kill -9 of a sentinel, started again on its own file.
    KillSentinel { index: usize, ms: u64 },
    /// kill -9 of a data node, likewise.
    KillNode { which: Which, ms: u64 },
    /// kill -9 of the master, and of the sentinel that logs this event first.
    KillLeader { at: &'static str, ms: u64 },
    /// SIGSTOP of a sentinel.
    StopSentinel { index: usize, ms: u64 },
    /// SIGSTOP of a data node.
    StopNode { which: Which, ms: u64 },
}

/// Moments of a failover at which its leader may be killed.
pub const MOMENTS: [&str; 6] = [
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+switch-master",
];

impl Fault {
    /// What kind of fault it is, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Minority { .. } => "master in a minority",
            Fault::Split { .. } => "split",
            Fault::OneWay { .. } => "one way",
            Fault::Flap { .. } => "flapping",
            Fault::Slow { .. } => "latency",
            Fault::Lossy { .. } => "loss",
            Fault::KillSentinel { .. } => "sentinel killed",
            Fault::KillNode { .. } => "node killed",
            Fault::KillLeader { .. } => "leader killed",
            Fault::StopSentinel { .. } => "sentinel stopped",
            Fault::StopNode { .. } => "node stopped",
        }
    }

    /// Draws a fault; without a switch only of processes.
    pub fn draw(rng: &mut Rng, layout: &Layout, with_switch: bool) -> Fault {
        let ms = 300 + rng.below(6_000);
        let index = rng.below(layout.sentinels as u64) as usize;
        let kind = if with_switch { rng.below(11) } else { 6 + rng.below(5) };
        match kind {
            0 => Fault::Minority { first: index, ms },
            1 => Fault::Split { mask: rng.next_u64(), ms },
            2 => Fault::OneWay { of: draw_whose(rng, layout), outward: rng.below(2) == 0, ms },
            3 => Fault::Flap {
                of: draw_whose(rng, layout),
                off_ms: 50 + rng.below(900),
                on_ms: 50 + rng.below(900),
                times: 3 + rng.below(8),
            },
            4 => {
                let least_ms = rng.below(100);
                let most_ms = least_ms + rng.below(100);
                Fault::Slow { of: draw_whose(rng, layout), least_ms, most_ms, ms }
            }
            5 => Fault::Lossy { of: draw_whose(rng, layout), percent: 1 + rng.below(25), ms },
            6 => Fault::KillSentinel { index, ms },
            7 => Fault::KillNode { which: draw_which(rng, layout), ms },
            8 => {
                let at = MOMENTS[rng.below(MOMENTS.len() as u64) as usize];
                Fault::KillLeader { at, ms }
            }
            9 => Fault::StopSentinel { index, ms },
            _ => Fault::StopNode { which: draw_which(rng, layout), ms },
        }
    }
}

fn draw_which(rng: &mut Rng, layout: &Layout) -> Which {
    match rng.below(2) {
        0 => Which::Master,
        _ => Which::Node(rng.below(layout.nodes() as u64) as usize),
    }
}

fn draw_whose(rng: &mut Rng, layout: &Layout) -> Whose {
    match rng.below(4) {
        0 => Whose::Master,
        1 => Whose::Everybody,
        _ => Whose::Host(rng.below(layout.member_hosts() as u64) as usize),
    }
}

/// Faults with the time at which each begins, in ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub faults: Vec<(u64, Fault)>,
    pub span_ms: u64,
    /// How much longer a leader that is to be killed is waited for.
    pub patience_ms: u64,
}

impl Plan {
    /// Draws faults for a span, one every second or so, so that several hold at once.
    pub fn draw(rng: &mut Rng, layout: &Layout, span_ms: u64, with_switch: bool) -> Plan {
        let mut faults = Vec::new();
        let mut at_ms = 0;
        while at_ms < span_ms {
            faults.push((at_ms, Fault::draw(rng, layout, with_switch)));
            at_ms += 200 + rng.below(2_000);
        }
        Plan { faults, span_ms, patience_ms: 0 }
    }

    /// Some faults at once, for so long and until every leader meant is killed.
    pub fn at_once(span_ms: u64, faults: &[Fault]) -> Plan {
        let faults = faults.iter().map(|fault| (0, *fault)).collect();
        Plan { faults, span_ms, patience_ms: 20_000 }
    }
}

#[test]
fn plans_repeat_and_hold_every_kind() {
    let layout = Layout::default();
    let plan = |seed| Plan::draw(&mut Rng::new(seed), &layout, 400_000, true);
    assert_eq!(plan(3), plan(3));
    assert_ne!(plan(3), plan(4));
    let kinds: std::collections::BTreeSet<_> =
        plan(3).faults.iter().map(|(_, fault)| fault.kind()).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    let plan = Plan::draw(&mut Rng::new(3), &layout, 100_000, false);
    let of_processes = |kind: &str| kind.ends_with("killed") || kind.ends_with("stopped");
    assert!(plan.faults.iter().all(|(_, fault)| of_processes(fault.kind())), "{plan:?}");
}
