//! Whether a name still leads to where its instance was found.
//!
//! A name server may tell an old address for a while. If that was given to another node meanwhile,
//! as happens where pods come and go, the connection works and leads to somebody else: its name
//! would never be looked up again. So whenever another process answers than before, the name is
//! looked up a few more times, and is believed if it leads elsewhere. An instance that has been the
//! same process for longer keeps its address: a name server can be wrong.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::instance::InstId;
use super::names::{Origin, parse_ip};
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

/// When the name is looked up after another process has answered, and when that is over.
const LOOKUPS_MS: [u64; 4] = [2_000, 8_000, 30_000, 40_000];

/// An answer is there after so long, as a rule.
const ANSWER_MS: u64 = 1_000;

/// An instance whose process is new to us, and whose host is a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    since: Mono,
    /// So many lookups were asked for.
    lookups: usize,
}

impl Sentinel {
    /// Another process answers there than before, or the first one.
    pub(super) fn doubt_place(&mut self, now: Mono, inst: InstId) {
        let base = self.base_mut(inst);
        let named = parse_ip(&base.addr.host).is_none();
        let named = named && !defect(Defect::TrustFirstLookup);
        base.doubt = named.then_some(Doubt { since: now, lookups: 0 });
    }

    /// Looks the name of an instance up again, if that is due.
    pub(super) fn verify_place(&mut self, cx: &mut Cx, inst: InstId) {
        let base = self.base_mut(inst);
        let Some(doubt) = &mut base.doubt else { return };
        let due = |doubt: &Doubt| doubt.since.after(LOOKUPS_MS[doubt.lookups]) <= cx.now;
        if !due(doubt) {
            return;
        }
        doubt.lookups += 1;
        if doubt.lookups == LOOKUPS_MS.len() {
            base.doubt = None;
            return;
        }
        let host = base.addr.host.clone();
        self.host_state(cx, &host, Origin::Own);
    }

    /// Whether the name of an instance has not been looked up since its process is another one.
    pub(super) fn is_just_found(&self, now: Mono, inst: InstId) -> bool {
        let doubt = self.base(inst).doubt;
        doubt.is_some_and(|doubt| now.since(doubt.since) < LOOKUPS_MS[0] + ANSWER_MS)
    }

    /// Whether an instance answers, and is certainly the one that is meant.
    pub(super) fn is_certain(&self, inst: InstId) -> bool {
        let base = self.base(inst);
        base.doubt.is_none() && self.cmd_alive(base.link)
    }
}
