//! Facts that the shell hands in: how a client connected, what process this is.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

/// What a client connected through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    Tcp { peer: SocketAddr, local: SocketAddr },
    Unix,
}

impl Endpoint {
    /// Whether the client sits on this machine for sure: loopback or unix socket.
    pub fn is_local(&self) -> bool {
        match self {
            Endpoint::Unix => true,
            Endpoint::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
        }
    }
}

/// Facts about the process that replies show.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    pub pid: i32,
    /// `uname`: sysname, release, machine, joined by blanks.
    pub os: String,
    pub executable: Vec<u8>,
    pub config_file: Vec<u8>,
    /// The port that INFO shows and hellos announce.
    pub tcp_port: u16,
    pub supervised: bool,
    /// 40 random hex digits, new at each start.
    pub run_id: Vec<u8>,
}

/// CPU time used so far, in microseconds; refreshed by the shell when INFO may be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    pub sys_us: u64,
    pub user_us: u64,
    pub sys_children_us: u64,
    pub user_children_us: u64,
}
