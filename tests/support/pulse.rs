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
    /// `worst`; and where the machine itself was slow meanwhile, in proportion to that.
    #[track_caller]
    pub fn assert_rarely_slow(
        &self,
        what: &str,
        times: &[Duration],
        (slow_max, slow, worst): (usize, Duration, Duration),
    ) {
        let slower = |times: &[Duration]| times.iter().filter(|took| **took > slow).count();
        let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        let (count, usual) = (slower(times), slower(&self.0));
        let (most, usual_most) = (longest(times), longest(&self.0));
        let beside = format!("a bystander: {usual} of {}, {usual_most:?}", self.0.len());
        let text = format!("{what}: {count} of {} slow, {most:?}; {beside}", times.len());
        assert!(!times.is_empty(), "nothing was measured");
        assert!(count <= slow_max + FACTOR as usize * usual, "{text}");
        assert!(most <= worst.max(FACTOR * usual_most), "{text}");
    }
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
