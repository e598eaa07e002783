//! What can happen to a data node, for the faults of the simulator.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use super::history::{History, Id};
use super::replication::{Link, Phase};
use super::{Farm, Mode, Script, Server};
use crate::net::{ConnKey, HostId, Us};

/// What a node finds on its disk when it starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// All it had when it ended.
    AtEnd,
    /// What it had at its last [`Server::save`]; nothing if there was none.
    Saved,
    /// Nothing: no persistence, or an empty disk.
    Empty,
}

/// What CONFIG REWRITE does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigFile {
    /// Writes the role, which then survives a restart.
    Kept,
    /// There is no file: an error.
    None,
    /// There is one, and writing it fails.
    Fails,
}

/// What INFO brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InfoAnswer {
    Given,
    /// An error: the user may not.
    Refused,
    /// Nothing, and nothing of what was sent behind it on that connection.
    Silent,
}

/// Data on a disk, with its history if that was known.
#[derive(Clone, Debug)]
pub(super) struct Saved(pub(super) Option<History>);

impl Server {
    /// Its history when it has loaded what its disk has.
    fn restarted_history(&self, rng: &mut Rng) -> History {
        let mut history = History::new(Id::random(rng));
        if let Some(Saved(Some(saved))) = &self.saved {
            history.offset = saved.offset;
            history.first_kept = Some(saved.offset + 1);
            match self.saved_master {
                Some(_) => history.replid = saved.replid,
                None => {
                    history.replid2 = saved.replid;
                    history.second_offset = Some(saved.offset + 1);
                }
            }
        }
        history
    }

    /// Its data is on the disk now, for a restart.
    pub fn save(&mut self) {
        // The name of a history is saved only if there is one to go on with.
        self.saved = Some(Saved(self.history.first_kept.map(|_| self.history.clone())));
    }

    /// A script runs and does not end; most requests are answered with BUSY from now on. A script
    /// that has written cannot be killed. (The first seconds, in which a real node answers
    /// nothing at all, are those of a frozen one.)
    pub fn run_script(&mut self, owner: Option<ConnKey>, killable: bool) {
        self.mode = Mode::Busy;
        self.script = Some(Script { owner, killable });
    }

    /// Requires a password from now on, or none. Who is connected stays so.
    pub fn set_password(&mut self, password: Option<&[u8]>) {
        if self.password.is_none() {
            self.clients.values_mut().for_each(|client| client.authenticated = true);
        }
        self.password = password.map(<[u8]>::to_vec);
    }

    /// Whether it requires a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// With which password it goes to its master.
    pub fn set_master_password(&mut self, password: Option<&[u8]>) {
        self.master_password = password.map(<[u8]>::to_vec);
    }

    /// What CONFIG REWRITE does from now on.
    pub fn set_config_file(&mut self, file: ConfigFile) {
        self.config_file = file;
    }

    /// What INFO brings from now on.
    pub fn set_info_answer(&mut self, answer: InfoAnswer) {
        self.info_answer = answer;
    }

    /// Whether it answers while it is not in sync with its master.
    pub fn set_serves_stale_data(&mut self, serves: bool) {
        self.serves_stale_data = serves;
    }
}

impl Farm {
    /// Somebody who is no sentinel lets it follow another node, or none.
    pub fn set_master(&mut self, now: Us, rng: &mut Rng, host: HostId, master: Option<HostId>) {
        assert_ne!(master, Some(host), "a node cannot replicate from itself");
        self.at_mut(host).follow(now, rng, master);
    }

    /// What waits for the times of this node goes on: its loading, and transfers from it that have
    /// not begun.
    pub fn delay_no_longer(&mut self, now: Us, host: HostId) {
        for server in &mut self.servers {
            let (own, its_replica) = (server.host == host, server.master == Some(host));
            match &mut server.link {
                Link::Syncs { phase: Phase::Asked, until, .. } if its_replica => *until = now,
                Link::Syncs { phase: Phase::Loads(_), until, .. } if own => *until = now,
                _ => {}
            }
            if own {
                server.loading_until = server.loading_until.map(|_| now);
            }
        }
    }

    /// The process is gone; all its connections close.
    pub fn kill(&mut self, host: HostId) -> Vec<ConnKey> {
        let server = self.at_mut(host);
        server.running = false;
        server.frozen = false;
        server.link = Link::Waits { until: 0 };
        server.link_up = false;
        server.attached.clear();
        server.unread.clear();
        std::mem::take(&mut server.clients).into_keys().collect()
    }

    /// Started again with the role of its config file and what its disk has; it loads that for
    /// as long as its times say.
    pub fn restart_with(&mut self, now: Us, host: HostId, data: Data, rng: &mut Rng) {
        let server = self.at_mut(host);
        if data == Data::AtEnd {
            server.save();
        }
        if data == Data::Empty {
            server.saved = None;
        }
        let history = server.restarted_history(rng);
        server.running = true;
        server.mode = Mode::Normal;
        server.loading_until = None;
        server.script = None;
        server.clients_paused = false;
        server.run_id = Id::random(rng);
        server.master = server.saved_master;
        server.master_text = server.saved_text.clone();
        server.down_since = None;
        let loads_us = if server.saved.is_some() { server.times.load_us } else { 0 };
        server.loads = None;
        server.has_place = matches!(server.saved, Some(Saved(Some(_))));
        if loads_us > 0 {
            server.history = History { first_kept: Some(1), ..History::new(history.replid) };
            server.loads = Some(history);
            server.load_until(now, now + loads_us);
        } else {
            server.history = history;
        }
        server.link = Link::Waits { until: now + loads_us + rng.below(20_000) };
    }
}
