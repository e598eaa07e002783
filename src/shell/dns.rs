//! Name lookups beside the loop: up to four threads, started when needed, the same name asked for
//! only once at a time (architecture, contract 5). Names that others told us have two of the
//! threads at most: a name server that lets them hang must not hold up our own.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use mio::Waker;

use crate::util::ident::LookupId;

const THREADS_MAX: usize = 4;
/// So many of them may look up foreign names.
const FOREIGN_MAX: usize = 2;
/// getaddrinfo wants more stack than anything of ours; only touched pages cost memory.
const STACK_BYTES: usize = 256 << 10;
/// A thread without work ends after this time.
const IDLE_MS: u64 = 10_000;
/// Names that wait; more are answered with "no address" at once.
const NAMES_MAX: usize = 65_536;

/// A lookup that ended: addresses in order of preference, empty if it failed.
pub type Answer = (LookupId, Vec<IpAddr>);

type Lookup = dyn Fn(&[u8]) -> Vec<IpAddr> + Send + Sync;

/// The loop's side of the lookup threads.
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    waker: Arc<Waker>,
    lookup: Box<Lookup>,
}

#[derive(Default)]
struct State {
    /// Names to be looked up, oldest first: those of instances and operators, and those that
    /// others told.
    own: VecDeque<Vec<u8>>,
    foreign: VecDeque<Vec<u8>>,
    /// Threads that look up a foreign name.
    busy_foreign: usize,
    /// Who waits for a name, whether it is queued or being looked up.
    waiting: HashMap<Vec<u8>, Vec<LookupId>>,
    answers: VecDeque<Answer>,
    threads: usize,
    idle: usize,
}

impl Resolver {
    /// A resolver that asks the system.
    pub fn new(waker: Arc<Waker>) -> Resolver {
        Resolver::with_lookup(waker, Box::new(ask_system))
    }

    fn with_lookup(waker: Arc<Waker>, lookup: Box<Lookup>) -> Resolver {
        let state = Mutex::new(State::default());
        let shared = Shared { state, work: Condvar::new(), waker, lookup };
        Resolver { shared: Arc::new(shared) }
    }

    /// Asks for a name, a foreign one unless it is `own`; one answer comes back.
    pub fn submit(&mut self, lookup: LookupId, host: Vec<u8>, own: bool) {
        let mut state = self.shared.lock();
        if let Some(waiting) = state.waiting.get_mut(&host) {
            waiting.push(lookup);
            if own {
                state.prefer(&host);
            }
            return;
        }
        if state.queued() >= NAMES_MAX {
            self.shared.answer(&mut state, vec![lookup], &[]);
            return;
        }
        state.waiting.insert(host.clone(), vec![lookup]);
        let queue = if own { &mut state.own } else { &mut state.foreign };
        queue.push_back(host);
        if state.idle < state.queued() && state.threads < THREADS_MAX {
            self.start_thread(&mut state);
        }
        self.shared.work.notify_one();
    }

    fn start_thread(&self, state: &mut State) {
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new().name("dns".to_string()).stack_size(STACK_BYTES);
        if thread.spawn(move || shared.run()).is_ok() {
            state.threads += 1;
        } else if state.threads == 0 {
            // Nobody will ever work on these.
            while let Some(host) = state.own.pop_front().or_else(|| state.foreign.pop_front()) {
                let waiting = state.waiting.remove(&host).unwrap_or_default();
                self.shared.answer(state, waiting, &[]);
            }
        }
    }

    /// The next answer, if there is one.
    pub fn poll(&mut self) -> Option<Answer> {
        self.shared.lock().answers.pop_front()
    }
}

impl State {
    fn queued(&self) -> usize {
        self.own.len() + self.foreign.len()
    }

    /// A name that others told is wanted by us, too.
    fn prefer(&mut self, host: &[u8]) {
        if let Some(at) = self.foreign.iter().position(|queued| queued == host) {
            self.own.extend(self.foreign.remove(at));
        }
    }

    /// The next name to be looked up, and whether it is a foreign one.
    fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        if let Some(host) = self.own.pop_front() {
            return Some((host, false));
        }
        if self.busy_foreign >= FOREIGN_MAX {
            return None;
        }
        self.foreign.pop_front().map(|host| (host, true))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked in a lookup held no lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, state: &mut State, waiting: Vec<LookupId>, ips: &[IpAddr]) {
        state.answers.extend(waiting.into_iter().map(|lookup| (lookup, ips.to_vec())));
        // Only a closed poll cannot be woken, and then nobody waits.
        let _ = self.waker.wake();
    }

    /// Looks names up until none came for a while.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some((host, foreign)) = state.next() {
                state.busy_foreign += usize::from(foreign);
                drop(state);
                let ips = (self.lookup)(&host);
                state = self.lock();
                state.busy_foreign -= usize::from(foreign);
                let waiting = state.waiting.remove(&host).unwrap_or_default();
                self.answer(&mut state, waiting, &ips);
                continue;
            }
            state.idle += 1;
            let idle = Duration::from_millis(IDLE_MS);
            let (guard, timeout) =
                self.work.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.queued() == 0 {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// What the system says: IPv4 first, IPv6 only where there is no other, as the field's programs
/// choose; the system's order otherwise.
fn ask_system(host: &[u8]) -> Vec<IpAddr> {
    let Ok(host) = std::str::from_utf8(host) else { return Vec::new() };
    let Ok(found) = (host, 0).to_socket_addrs() else { return Vec::new() };
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in found.map(|at| at.ip()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips.sort_by_key(IpAddr::is_ipv6);
    ips
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::wait_until;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn waker() -> (mio::Poll, Arc<Waker>) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(1)).unwrap();
        (poll, Arc::new(waker))
    }

    #[test]
    fn asks_the_system_ipv4_first() {
        let ips = ask_system(b"localhost");
        assert!(ips.contains(&"127.0.0.1".parse().unwrap()));
        assert!(ips[0].is_ipv4());
        assert!(ask_system(b"no-such-host.invalid").is_empty());
        assert!(ask_system(b"bad\xff").is_empty());
    }

    #[test]
    fn merges_duplicates_and_uses_four_threads() {
        let (_poll, waker) = waker();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (running, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate2, running2, calls2) = (gate.clone(), running.clone(), calls.clone());
        let lookup = move |_: &[u8]| {
            running2.fetch_add(1, Ordering::SeqCst);
            calls2.fetch_add(1, Ordering::SeqCst);
            let mut open = gate2.0.lock().unwrap();
            while !*open {
                open = gate2.1.wait(open).unwrap();
            }
            running2.fetch_sub(1, Ordering::SeqCst);
            vec!["10.0.0.1".parse().unwrap()]
        };
        let mut resolver = Resolver::with_lookup(waker, Box::new(lookup));
        for n in 0..12 {
            resolver.submit(LookupId(n), format!("host{}", n % 6).into_bytes(), true);
        }
        wait_until("four threads work", || running.load(Ordering::SeqCst) == 4);
        assert_eq!(resolver.poll(), None);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        let mut answered = Vec::new();
        wait_until("all are answered", || {
            while let Some((lookup, ips)) = resolver.poll() {
                assert_eq!(ips, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
                answered.push(lookup.0);
            }
            answered.len() == 12
        });
        answered.sort_unstable();
        assert_eq!(answered, (0..12).collect::<Vec<_>>());
        assert_eq!(calls.load(Ordering::SeqCst), 6);
    }

    #[test]
    fn foreign_names_that_hang_hold_up_nobody_else() {
        let (_poll, waker) = waker();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let gate2 = gate.clone();
        let lookup = move |host: &[u8]| {
            let mut open = gate2.0.lock().unwrap();
            while host.starts_with(b"hangs") && !*open {
                open = gate2.1.wait(open).unwrap();
            }
            vec!["10.0.0.1".parse().unwrap()]
        };
        let mut resolver = Resolver::with_lookup(waker, Box::new(lookup));
        for n in 0..8 {
            resolver.submit(LookupId(n), format!("hangs{n}").into_bytes(), false);
        }
        // One that is wanted as a foreign name first, and then as our own.
        resolver.submit(LookupId(10), b"both".to_vec(), false);
        resolver.submit(LookupId(11), b"own".to_vec(), true);
        resolver.submit(LookupId(12), b"both".to_vec(), true);
        let mut answered = Vec::new();
        let mut take = |resolver: &mut Resolver, count: usize| {
            wait_until("the answers", || {
                answered.extend(std::iter::from_fn(|| resolver.poll()).map(|(id, _)| id.0));
                answered.len() >= count
            });
            answered.sort_unstable();
            answered.clone()
        };
        assert_eq!(take(&mut resolver, 3), [10, 11, 12]);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        assert_eq!(take(&mut resolver, 11).len(), 11);
    }
}
