//! Runs of worlds to an outcome: all held, a named property was broken, or something panicked.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::Once;

use crate::coverage::Stats;
use crate::net::Us;
use crate::plan::Plan;
use crate::property::{Property, Violation};
use crate::world::{Options, World};

/// How a seed ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Ok(Box<Stats>),
    /// A checker beside the group found a property broken.
    Violated {
        property: Property,
        text: String,
        at: Us,
    },
    /// Something panicked: the code under test, or (`in_core` is false) the simulator.
    Panicked {
        text: String,
        at: Us,
        in_core: bool,
    },
}

thread_local! {
    /// The last panic of this thread: where, and what it said.
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
    /// Panics of this thread are looked at, not printed.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

fn describe(info: &PanicHookInfo) -> String {
    let payload = info.payload();
    if let Some(Violation { property, text }) = payload.downcast_ref() {
        return format!("{property:?}: {text}");
    }
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no text".to_owned())
}

/// From here on violations are printed with their names, and caught panics not at all.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let plain = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = describe(info);
            if CAUGHT.get() {
                LAST.set(Some((place, text)));
            } else if info.payload().is::<Violation>() {
                eprintln!("violated at {place}: {text}");
            } else {
                plain(info);
            }
        }));
    });
}

/// Looks, and gives what was found broken instead of unwinding.
pub fn attempt(look: impl FnOnce()) -> Option<Violation> {
    install_hook();
    let before = CAUGHT.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(look));
    CAUGHT.set(before);
    let payload = ended.err()?;
    match payload.downcast::<Violation>() {
        Ok(violation) => Some(*violation),
        Err(panic) => resume_unwind(panic),
    }
}

/// Runs a world that `make` makes through `live`, catching how it ends.
pub fn run(make: impl FnOnce() -> World, live: impl FnOnce(&mut World)) -> (Outcome, Us) {
    install_hook();
    let before = CAUGHT.replace(true);
    let mut world = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(make());
        world.caught = true;
        live(world);
    }));
    CAUGHT.set(before);
    let at = world.as_ref().map_or(0, |world| world.now);
    if ended.is_err()
        && let Some(tail) = world.as_ref().and_then(|world| world.tracer.tail.as_ref())
    {
        tail.iter().for_each(|line| println!("{line}"));
    }
    let outcome = match (ended, &mut world) {
        (Ok(()), Some(world)) => Outcome::Ok(Box::new(world.take_stats())),
        (Ok(()), None) => unreachable!("it was made"),
        (Err(payload), _) => match payload.downcast::<Violation>() {
            Ok(violation) => {
                let Violation { property, text } = *violation;
                Outcome::Violated { property, text, at }
            }
            Err(_) => {
                let (place, text) = LAST.take().unwrap_or_default();
                let in_core = place.starts_with("src/");
                Outcome::Panicked { text: format!("{place}: {text}"), at, in_core }
            }
        },
    };
    (outcome, at)
}

/// The options that a seed draws under a plan.
pub fn options_of(seed: u64, plan: &Plan) -> Options {
    plan.draw(seed).0
}

/// Runs one seed under a plan.
pub fn run_seed(seed: u64, plan: &Plan) -> Outcome {
    let (options, course) = plan.draw(seed);
    let (tracing, hashing, tail) = (plan.tracing, plan.hashing, plan.tail);
    let make = || {
        let mut world = World::new("sweep", seed, options);
        world.tracer.printing = tracing;
        world.tracer.hashing = hashing;
        world.ledger.is_on = plan.ledger;
        world.tracer.tail = tail.then(Default::default);
        world
    };
    run(make, |world| world.live(&course)).0
}

/// CPU time of this thread.
pub fn cpu_ns() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
