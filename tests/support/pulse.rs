//! How quick the machine is while a test measures how quick a sentinel is.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// A sentinel does more for an answer than the bystander, and at other moments.
const FACTOR: u32 = 3;

/// A bystander process (`cat`) that is asked all the time.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Pulse {
    /// Begins to ask.
    pub fn start() -> Pulse {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::spawn(move || ask(&until).expect("cat gives back what it gets"));
        Pulse { stop, thread: Some(thread) }
    }

    /// Ends it and gives how quick the machine was.
    pub fn end(mut self) -> Usual {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        Usual(thread.join().expect("it does not panic"))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long the answers of a [`Pulse`] took.
pub struct Usual(Vec<Duration>);

impl Usual {
    /// Wants that no more than `slow_max` of the times are longer than `slow`, and none than
    /// `worst`; and where the machine itself was slow meanwhile, more of them and longer ones.
    #[track_caller]
    pub fn assert_rarely_slow(
        &self,
        what: &str,
        times: &[Duration],
        (slow_max, slow, worst): (usize, Duration, Duration),
    ) {
        let slower = |times: &[Duration]| times.iter().filter(|took| **took > slow).count();
        let (count, usual) = (slower(times), slower(&self.0));
        let (longest, usual_longest) = (quantiles(times, 0).0, quantiles(&self.0, 0).0);
        let beside = format!("a bystander {usual}, {usual_longest:?}");
        let text = format!("{what}: {count} of {} slow, {longest:?}; {beside}", times.len());
        assert!(count <= slow_max + FACTOR as usize * usual, "{text}");
        assert!(longest <= worst.max(FACTOR * usual_longest), "{text}");
    }

    /// Wants that all but some `percent` of the times are shorter than `most`, and all of them
    /// than `worst`; or at least of the order of what the machine itself took for less.
    #[track_caller]
    pub fn assert_quick(
        &self,
        what: &str,
        times: &[Duration],
        percent: usize,
        (most, worst): (Duration, Duration),
    ) {
        let (took, took_worst) = quantiles(times, percent);
        let (usual, usual_worst) = quantiles(&self.0, percent);
        let (count, beside) = (times.len(), format!("a bystander {usual:?}, {usual_worst:?}"));
        let text = format!("{what} took {took:?}, at worst {took_worst:?} of {count}; {beside}");
        assert!(took < most.max(FACTOR * usual), "{text}");
        assert!(took_worst < worst.max(FACTOR * usual_worst), "{text}");
    }
}

/// What all but `percent` of the times do not exceed, and what none does.
fn quantiles(times: &[Duration], percent: usize) -> (Duration, Duration) {
    let mut times = times.to_vec();
    times.sort();
    let last = times.len().checked_sub(1).expect("something was measured");
    (times[last * (100 - percent) / 100], times[last])
}

fn ask(stop: &AtomicBool) -> std::io::Result<Vec<Duration>> {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = cat.stdin.take().expect("it is piped");
    let mut output = cat.stdout.take().expect("it is piped");
    let mut times = Vec::new();
    while times.is_empty() || !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        input.write_all(b"x")?;
        output.read_exact(&mut [0])?;
        times.push(start.elapsed());
        std::thread::sleep(PAUSE);
    }
    // It ends at the end of its input.
    drop(input);
    cat.wait()?;
    Ok(times)
}
