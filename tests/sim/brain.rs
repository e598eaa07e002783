//! The mind of a sentinel's host: the real node, or a model of another program. Both take bytes,
//! connection events and time, and give actions; the host does not care which it holds.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use sentineld::config::again::Rewriter;
use sentineld::node::{Closed, Endpoint, Node, SaveJob};
use sentineld::sentinel::action::Action;
use sentineld::sentinel::instance::Master;
use sentineld::util::ident::{CheckId, ConnId, JobId, LookupId};
use sentineld::util::time::{Clock, Mono};

use crate::checks::FileView;
use crate::cpeer::CPeer;
use crate::file_state::FileState;

/// What decides.
pub enum Brain {
    Ours(Box<Node>),
    C(Box<CPeer>),
}

/// A write of the file that is on its way.
#[derive(Debug)]
pub struct Save {
    job: SaveJob,
    /// What it has to say.
    pub said: FileState,
}

impl Save {
    /// What the file says afterwards, without its text.
    pub fn view(&self) -> FileView {
        let mut view = FileView::default();
        let state = &self.job.state;
        for line in &state.global {
            view.take(&mut line.words.iter().skip(1).map(Vec::as_slice));
        }
        for line in state.masters.iter().flat_map(|lines| lines.iter()) {
            view.take(&mut line.words.iter().skip(1).map(Vec::as_slice));
        }
        view
    }

    /// What the file holds afterwards.
    pub fn text(&self, old: &[u8], rewriter: &mut Rewriter) -> Vec<u8> {
        rewriter.rewrite(old, &self.job.state)
    }
}

/// How a sentinel sees one master at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The address it gives to clients.
    pub ip: Option<IpAddr>,
    pub replicas: usize,
    pub peers: usize,
    /// A failover of its own is not at its end.
    pub in_failover: bool,
    pub down: bool,
}

impl Held {
    fn of_ours(master: &Master) -> Held {
        Held {
            ip: master.base.addr.ip,
            replicas: master.replicas.len(),
            peers: master.peers.len(),
            in_failover: master.failover.is_some() || master.reconf.is_some(),
            down: master.base.sdown.is || master.odown.is,
        }
    }
}

impl Brain {
    /// The run id.
    pub fn myid(&self) -> &[u8] {
        match self {
            Brain::Ours(node) => &node.sentinel().myid,
            Brain::C(peer) => peer.myid.as_bytes(),
        }
    }

    pub fn current_epoch(&self) -> u64 {
        match self {
            Brain::Ours(node) => node.sentinel().current_epoch,
            Brain::C(peer) => peer.current_epoch,
        }
    }

    /// Its view of a master; `None`: it does not watch one of that name.
    pub fn held(&self, name: &str) -> Option<Held> {
        match self {
            Brain::Ours(node) => {
                let sentinel = node.sentinel();
                let id = sentinel.master_named(name.as_bytes())?;
                Some(Held::of_ours(&sentinel.masters[id]))
            }
            Brain::C(peer) => peer.held(name),
        }
    }

    pub fn start(&mut self) {
        match self {
            Brain::Ours(node) => node.start(),
            Brain::C(peer) => peer.start(),
        }
    }

    pub fn begin_turn(&mut self, clock: Clock) {
        match self {
            Brain::Ours(node) => node.begin_turn(clock),
            Brain::C(peer) => peer.begin_turn(clock),
        }
    }

    pub fn run_due(&mut self) -> bool {
        match self {
            Brain::Ours(node) => node.run_due(),
            Brain::C(peer) => {
                peer.run_due();
                false
            }
        }
    }

    pub fn end_turn(&mut self) {
        match self {
            Brain::Ours(node) => node.end_turn(),
            Brain::C(_) => {}
        }
    }

    pub fn next_deadline(&self) -> Mono {
        match self {
            Brain::Ours(node) => node.next_deadline(),
            Brain::C(peer) => peer.next_deadline(),
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        match self {
            Brain::Ours(node) => node.poll_action(),
            Brain::C(peer) => peer.poll_action(),
        }
    }

    /// The file as it was written in the middle of the work, if it was, and how often: the disk was
    /// waited for each time. Ours asks for a save instead, see [`Brain::take_save`].
    pub fn take_written(&mut self) -> Option<(Vec<u8>, u64)> {
        match self {
            Brain::Ours(_) => None,
            Brain::C(peer) => peer.take_written(),
        }
    }

    /// The write that [`Action::Persist`] announced.
    pub fn take_save(&mut self, generation: u64) -> Option<Save> {
        match self {
            Brain::Ours(node) => {
                let job = node.take_save(generation)?;
                Some(Save { job, said: FileState::of_node(node) })
            }
            Brain::C(_) => None,
        }
    }

    pub fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        match self {
            Brain::Ours(node) => node.take_touched(into),
            Brain::C(peer) => peer.take_touched(into),
        }
    }

    /// A socket that is to hold back what is less than so many bytes.
    pub fn take_gather(&mut self) -> Option<(ConnId, usize)> {
        match self {
            Brain::Ours(node) => node.take_gather(),
            Brain::C(_) => None,
        }
    }

    pub fn output(&self, conn: ConnId) -> Option<&[u8]> {
        match self {
            Brain::Ours(node) => node.output(conn),
            Brain::C(peer) => peer.output(conn),
        }
    }

    pub fn sent(&mut self, conn: ConnId, n: usize) {
        match self {
            Brain::Ours(node) => node.sent(conn, n),
            Brain::C(peer) => peer.sent(conn, n),
        }
    }

    pub fn accepted(&mut self, endpoint: Endpoint, fd: i32) -> ConnId {
        match self {
            Brain::Ours(node) => node.accepted(endpoint, fd),
            Brain::C(peer) => peer.accepted(endpoint),
        }
    }

    pub fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        match self {
            Brain::Ours(node) => node.received(conn, bytes),
            Brain::C(peer) => peer.received(conn, bytes),
        }
    }

    pub fn read_closed(&mut self, conn: ConnId) {
        match self {
            Brain::Ours(node) => node.read_closed(conn),
            Brain::C(peer) => peer.closed(conn, Closed::Eof),
        }
    }

    pub fn closed(&mut self, conn: ConnId, why: Closed) {
        match self {
            Brain::Ours(node) => node.closed(conn, why),
            Brain::C(peer) => peer.closed(conn, why),
        }
    }

    pub fn conn_started(&mut self, conn: ConnId, local: Option<IpAddr>) {
        match self {
            Brain::Ours(node) => node.conn_started(conn, local),
            Brain::C(peer) => peer.conn_started(conn, local),
        }
    }

    pub fn conn_established(&mut self, conn: ConnId) {
        match self {
            Brain::Ours(node) => node.conn_established(conn),
            // Nothing depends on it there.
            Brain::C(_) => {}
        }
    }

    pub fn conn_failed(&mut self, conn: ConnId, why: Closed) {
        match self {
            Brain::Ours(node) => node.conn_failed(conn, why),
            Brain::C(peer) => peer.closed(conn, why),
        }
    }

    pub fn persisted(&mut self, generation: u64, result: Result<(), String>, took_ms: u64) {
        match self {
            Brain::Ours(node) => node.persisted(generation, result, took_ms),
            Brain::C(_) => unreachable!("it asks for nothing of the kind"),
        }
    }

    /// A lookup has ended.
    pub fn resolved(&mut self, lookup: LookupId, ips: Vec<IpAddr>) {
        match self {
            Brain::Ours(node) => node.resolved(lookup, ips),
            Brain::C(_) => unreachable!("it asks for nothing of the kind"),
        }
    }

    pub fn script_checked(&mut self, check: CheckId, executable: bool) {
        match self {
            Brain::Ours(node) => node.script_checked(check, executable),
            Brain::C(_) => unreachable!("it asks for nothing of the kind"),
        }
    }

    pub fn spawned(&mut self, job: JobId, pid: Result<i32, String>) {
        match self {
            Brain::Ours(node) => node.spawned(job, pid),
            Brain::C(_) => unreachable!("it asks for nothing of the kind"),
        }
    }

    pub fn child_exited(&mut self, pid: i32, exit_code: i32, signal: i32) {
        match self {
            Brain::Ours(node) => node.child_exited(pid, exit_code, signal),
            Brain::C(_) => unreachable!("it asks for nothing of the kind"),
        }
    }
}
