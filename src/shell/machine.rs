//! The face of the core that the event loop drives, so that tests can drive the loop with a
//! scripted machine.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::node::{Closed, CpuTimes, Endpoint, Node, SaveJob};
use crate::sentinel::action::Action;
use crate::util::ident::{AskId, CheckId, ConnId, JobId, LookupId};
use crate::util::time::{Clock, Mono};

/// A machine that takes inputs and gives actions; see [`Node`] for the meaning of each.
pub trait Machine {
    fn start(&mut self);
    fn begin_turn(&mut self, clock: Clock);
    fn run_due(&mut self) -> bool;
    fn end_turn(&mut self);
    fn next_deadline(&self) -> Mono;
    fn is_at_rest(&self) -> bool {
        false
    }
    fn poll_action(&mut self) -> Option<Action>;
    fn take_save(&mut self, generation: u64) -> Option<SaveJob>;
    fn take_touched(&mut self, into: &mut Vec<ConnId>);
    fn take_gather(&mut self) -> Option<(ConnId, usize)> {
        None
    }
    fn output(&self, conn: ConnId) -> Option<&[u8]>;
    fn sent(&mut self, conn: ConnId, n: usize);
    fn accepted(&mut self, endpoint: Endpoint, fd: i32) -> ConnId;
    fn received(&mut self, conn: ConnId, bytes: &[u8]);
    fn read_closed(&mut self, conn: ConnId);
    fn closed(&mut self, conn: ConnId, why: Closed);
    fn conn_started(&mut self, conn: ConnId, local: Option<IpAddr>);
    fn conn_established(&mut self, conn: ConnId);
    fn conn_failed(&mut self, conn: ConnId, why: Closed);
    fn persisted(&mut self, generation: u64, result: Result<(), String>, took_ms: u64);
    fn resolved(&mut self, lookup: LookupId, ips: Vec<IpAddr>);
    fn script_checked(&mut self, check: CheckId, executable: bool);
    fn answered(&mut self, ask: AskId, result: Result<Vec<u8>, String>);
    fn spawned(&mut self, job: JobId, pid: Result<i32, String>);
    fn child_exited(&mut self, pid: i32, exit_code: i32, signal: i32);
    fn shutdown_asked(&mut self);
    fn cpu_times(&mut self, times: CpuTimes);
}

/// Passes each call on to the method of the same name.
macro_rules! forward {
    ($($name:ident ( &mut self $(, $arg:ident : $ty:ty)* ) $(-> $ret:ty)? ;)*) => {
        $(fn $name(&mut self $(, $arg: $ty)*) $(-> $ret)? {
            Node::$name(self $(, $arg)*)
        })*
    };
}

impl Machine for Node {
    forward! {
        start(&mut self);
        begin_turn(&mut self, clock: Clock);
        run_due(&mut self) -> bool;
        end_turn(&mut self);
        poll_action(&mut self) -> Option<Action>;
        take_save(&mut self, generation: u64) -> Option<SaveJob>;
        take_touched(&mut self, into: &mut Vec<ConnId>);
        take_gather(&mut self) -> Option<(ConnId, usize)>;
        sent(&mut self, conn: ConnId, n: usize);
        accepted(&mut self, endpoint: Endpoint, fd: i32) -> ConnId;
        received(&mut self, conn: ConnId, bytes: &[u8]);
        read_closed(&mut self, conn: ConnId);
        closed(&mut self, conn: ConnId, why: Closed);
        conn_started(&mut self, conn: ConnId, local: Option<IpAddr>);
        conn_established(&mut self, conn: ConnId);
        conn_failed(&mut self, conn: ConnId, why: Closed);
        persisted(&mut self, generation: u64, result: Result<(), String>, took_ms: u64);
        resolved(&mut self, lookup: LookupId, ips: Vec<IpAddr>);
        script_checked(&mut self, check: CheckId, executable: bool);
        answered(&mut self, ask: AskId, result: Result<Vec<u8>, String>);
        spawned(&mut self, job: JobId, pid: Result<i32, String>);
        child_exited(&mut self, pid: i32, exit_code: i32, signal: i32);
        shutdown_asked(&mut self);
        cpu_times(&mut self, times: CpuTimes);
    }

    fn next_deadline(&self) -> Mono {
        Node::next_deadline(self)
    }

    fn is_at_rest(&self) -> bool {
        Node::is_at_rest(self)
    }

    fn output(&self, conn: ConnId) -> Option<&[u8]> {
        Node::output(self, conn)
    }
}
