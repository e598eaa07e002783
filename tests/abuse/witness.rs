//! The well-behaved client: it asks all the time and notes how long each answer took.

use crate::support::client::Client;
use crate::support::pulse::Pulse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An answer that takes longer is slow.
pub const SLOW: Duration = Duration::from_millis(200);
/// The machine itself may hold up a few answers, but none for longer than this.
const WORST: Duration = Duration::from_millis(1000);
const SLOW_MAX: usize = 2;
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(2);

/// What the witness saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub times: Vec<Duration>,
    pub failure: Option<String>,
}

/// A thread that asks until it is stopped.
pub struct Witness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
    pulse: Option<Pulse>,
}

impl Witness {
    /// Begins to ask on a logged-in connection for the address of `master`.
    pub fn start(client: Client, master: &str) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, master) = (stop.clone(), master.to_string());
        let thread = std::thread::spawn(move || watch(client, &master, &until));
        Witness { stop, thread: Some(thread), pulse: Some(Pulse::start()) }
    }

    /// Ends it and wants that it was served well all the time.
    #[track_caller]
    pub fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().expect("not yet ended").join().expect("it does not panic");
        let usual = self.pulse.take().expect("not yet ended").end();
        assert_eq!(seen.failure, None, "after {} answers", seen.times.len());
        usual.assert_rarely_slow("answers", &seen.times, (SLOW_MAX, SLOW, WORST));
        seen
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(mut client: Client, master: &str, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) && seen.failure.is_none() {
        let pong = timed(&mut client, &["PING"], &mut seen);
        if pong.as_deref() != Some("PONG") && seen.failure.is_none() {
            seen.failure = Some(format!("PING was answered by {pong:?}"));
        }
        timed(&mut client, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master], &mut seen);
        std::thread::sleep(PAUSE);
    }
    seen
}

fn timed(client: &mut Client, words: &[&str], seen: &mut Seen) -> Option<String> {
    let start = Instant::now();
    let reply = client.ask(words);
    let took = start.elapsed();
    seen.times.push(took);
    match reply {
        Ok(value) => Some(value.text()),
        Err(error) => {
            seen.failure = Some(format!("{words:?} after {took:?}: {error}"));
            None
        }
    }
}
