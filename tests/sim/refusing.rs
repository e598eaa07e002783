//! Nodes that are connected and refuse: passwords that change on some of them, users that lack a
//! command, commands with another name, replicas that load during a failover.
#![forbid(unsafe_code)]

use crate::net::{ConnKey, HostId, Us};
use crate::redis::denials::{DENIABLE, Denial};
use crate::redis::faults::Data;
use crate::world::{MS, Options, SECOND, World};

/// What sentinels send in AUTH where they have a password.
pub const PASSWORD: &[u8] = b"s3cret";
/// What they do not know.
pub const OTHER: &[u8] = b"other";
/// Sentinels have a password for every master; their nodes need none yet.
pub fn with_passwords(options: &mut Options) {
    for group in 0..options.masters {
        options.extra += &format!("sentinel auth-pass m{group} s3cret\n");
    }
}

impl World {
    /// A node refuses a command of sentinels.
    pub fn deny(&mut self, host: HostId, command: (&'static str, &'static str), denial: Denial) {
        self.trace(|| format!("node {host} refuses {command:?}: {denial:?}"));
        self.farm.at_mut(host).deny(command, denial);
    }

    /// A node refuses some commands, for one reason each.
    pub fn deny_some(&mut self, host: HostId) {
        for _ in 0..=self.rng.below(3) {
            let command = DENIABLE[self.rng.below(DENIABLE.len() as u64) as usize];
            let denial = match self.chance(50) {
                true => Denial::NoPermission,
                false => Denial::Renamed,
            };
            self.deny(host, command, denial);
        }
    }

    /// A node wants another password, or one at all, and all its connections close, as a rule. Not
    /// where all nodes have one for good.
    pub fn change_password(&mut self, host: HostId) {
        let password = if self.chance(30) { PASSWORD } else { OTHER };
        let closes = self.chance(70);
        if self.options.drawn.needs_password() {
            return;
        }
        self.trace(|| format!("node {host}: another password, connections close: {closes}"));
        self.farm.at_mut(host).set_password(Some(password));
        if closes {
            let keys: Vec<ConnKey> =
                self.farm.at(host).expect("it was").clients.keys().copied().collect();
            for key in keys {
                self.farm.at_mut(host).clients.remove(&key);
                self.close(key, 1);
            }
        }
    }

    /// Starts a node again that loads its data for some time.
    pub fn restart_loading(&mut self, host: HostId, load_us: Us) {
        self.kill_server(host);
        let server = self.farm.at_mut(host);
        let usual = std::mem::replace(&mut server.times.load_us, load_us);
        self.restart_server_with(host, Data::AtEnd);
        self.farm.at_mut(host).times.load_us = usual;
    }

    /// The master dies while its replicas load, all or some of them.
    pub fn load_during_failover(&mut self, replica: HostId, master: Option<HostId>, group: usize) {
        let is = |server: &&crate::redis::Server| {
            server.group == group && server.alive() && server.master.is_some()
        };
        let hosts: Vec<HostId> = self.farm.servers.iter().filter(is).map(|s| s.host).collect();
        for host in hosts {
            if host == replica || self.chance(50) {
                let load_us = 200 * MS + self.rng.below(8 * SECOND);
                self.restart_loading(host, load_us);
            }
        }
        if let Some(master) = master.filter(|master| *master != replica) {
            let pause = self.rng.below(300) * MS;
            self.run_for(pause);
            self.kill_server(master);
        }
    }

    /// What a node refuses is taken again with that chance, and its password is put right. All is
    /// well only behind 100.
    pub fn mend_refusals(&mut self, host: HostId, percent: u64) {
        let server = self.farm.at(host).expect("a data node");
        let (denies, locked) = (server.denies_any(), server.has_password());
        if denies && self.chance(percent) {
            self.trace(|| format!("node {host} takes all commands"));
            self.farm.at_mut(host).permit_all();
        }
        if locked && !self.options.drawn.needs_password() && self.chance(percent) {
            let password = (percent < 100 && self.chance(50)).then_some(PASSWORD);
            self.trace(|| format!("node {host}: password {password:?}"));
            self.farm.at_mut(host).set_password(password);
        }
    }
}
