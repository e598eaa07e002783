//! What waits for the address of a host name: it is taken up when the lookup ends, not when the
//! other side happens to say it again.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::Sentinel;
use super::action::Cx;
use super::instance::{MasterId, ReplicaId};
use crate::util::defect::{Defect, defect};

/// Most things that wait for names of one master: its replicas, the hellos about it.
const MAX_PER_MASTER: usize = 128;
/// A longer hello is not kept, the next one will come.
const MAX_HELLO_BYTES: usize = 1_024;

/// Something that could not go on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Waiter {
    /// INFO of the master listed a replica at this host and port.
    Listed { host: Vec<u8>, port: u16 },
    /// A replica said that it follows a master of that name.
    Follows(ReplicaId),
    /// A hello gave the name.
    Hello(Vec<u8>),
}

/// All that waits.
#[derive(Clone, Debug, Default)]
pub struct Waiters {
    /// By name in lower case.
    by_name: BTreeMap<Vec<u8>, BTreeSet<(MasterId, Waiter)>>,
    of: BTreeMap<MasterId, OfMaster>,
}

#[derive(Clone, Debug, Default)]
struct OfMaster {
    count: usize,
    /// The names that something about the master waits for.
    names: BTreeSet<Vec<u8>>,
}

impl Waiters {
    /// Keeps something until the lookup of `host` ends. What has no room must come again.
    pub(super) fn add(&mut self, host: &[u8], master: MasterId, waiter: Waiter) {
        let too_long = matches!(&waiter, Waiter::Hello(text) if text.len() > MAX_HELLO_BYTES);
        let count = self.of.get(&master).map_or(0, |of| of.count);
        if too_long || count >= MAX_PER_MASTER || defect(Defect::WaitForNoName) {
            return;
        }
        let name = host.to_ascii_lowercase();
        let is_new = self.by_name.entry(name.clone()).or_default().insert((master, waiter));
        let of = self.of.entry(master).or_default();
        of.count += usize::from(is_new);
        of.names.insert(name);
    }

    /// Everything that waited for a name.
    fn take(&mut self, name: &[u8]) -> BTreeSet<(MasterId, Waiter)> {
        let all = self.by_name.remove(name).unwrap_or_default();
        for (master, _) in &all {
            let Some(of) = self.of.get_mut(master) else { continue };
            of.count -= 1;
            of.names.remove(name);
            if of.count == 0 {
                self.of.remove(master);
            }
        }
        all
    }

    /// What was learnt about a master is forgotten, and what waits is part of that.
    pub(super) fn forget(&mut self, master: MasterId) {
        for name in self.of.remove(&master).unwrap_or_default().names {
            if let Some(all) = self.by_name.get_mut(&name) {
                all.retain(|(of, _)| *of != master);
                if all.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
    }
}

impl Sentinel {
    /// The lookup of a name has ended: what waited for it goes on. A replica in the list of a
    /// master, or a hello, is lost if the name has no address; they come again.
    pub(super) fn name_answered(&mut self, cx: &mut Cx, name: &[u8]) {
        let found = self.names.cached(name).is_some();
        for (master, waiter) in self.names.waiters.take(name) {
            if !self.masters.contains(master) || defect(Defect::DropWaiters) {
                continue;
            }
            match waiter {
                Waiter::Listed { host, port } if found => {
                    self.discover_replica(cx, master, &host, port);
                }
                Waiter::Hello(text) if found => self.hello(cx, &text),
                Waiter::Follows(replica) if self.replicas.contains(replica) => {
                    self.act_on_role(cx, super::instance::InstId::Replica(replica));
                }
                Waiter::Listed { .. } | Waiter::Hello(_) | Waiter::Follows(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(n: usize) -> Waiter {
        Waiter::Listed { host: format!("db{n}").into_bytes(), port: 6379 }
    }

    #[test]
    fn what_waits_is_given_back_once_and_counted_per_master() {
        let mut waiters = Waiters::default();
        let (one, two) = (MasterId(1), MasterId(2));
        for n in 0..MAX_PER_MASTER + 10 {
            waiters.add(format!("DB{n}").as_bytes(), one, listed(n));
        }
        waiters.add(b"db0", one, listed(0));
        waiters.add(b"db0", two, listed(0));
        assert_eq!(waiters.of[&one].count, MAX_PER_MASTER);
        let taken = waiters.take(b"db0");
        assert_eq!(taken, BTreeSet::from([(one, listed(0)), (two, listed(0))]));
        assert!(waiters.take(b"db0").is_empty());
        waiters.add(b"again", one, listed(1));
        assert_eq!(waiters.take(b"again").len(), 1, "there is room again");
        waiters.add(b"db1", two, listed(7));
        waiters.forget(one);
        assert_eq!(waiters.take(b"db1"), BTreeSet::from([(two, listed(7))]));
        assert!(waiters.by_name.is_empty() && waiters.of.is_empty());
        waiters.add(b"x", one, Waiter::Hello(vec![b'h'; MAX_HELLO_BYTES + 1]));
        assert!(waiters.by_name.is_empty(), "too long to be kept");
    }
}
