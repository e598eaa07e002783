//! Data nodes with names: what they announce, whom they follow by name, and how they move to
//! other addresses.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use super::{Farm, Server};
use crate::net::{HostId, Net, Us};

impl Server {
    /// `master_host` of INFO.
    pub(super) fn master_word(&self) -> Option<String> {
        let master = self.master?;
        Some(self.master_text.clone().unwrap_or_else(|| Net::ip_of(master).to_string()))
    }

    /// Its file names its master so, from the beginning.
    pub fn follow_by(&mut self, name: String) {
        self.master_text = Some(name.clone());
        self.saved_text = Some(name);
    }
}

impl Farm {
    /// The host that an address or a name leads to.
    pub(super) fn resolve(&self, text: &str) -> Option<HostId> {
        match text.parse() {
            Ok(ip) => Net::host_of(ip),
            Err(_) => self.zone.get(&text.to_ascii_lowercase()).copied(),
        }
    }

    /// An address of a group where no node is.
    pub fn add_vacant(&mut self, group: usize, rng: &mut Rng) -> HostId {
        let host = self.add(None, rng);
        let server = self.at_mut(host);
        (server.group, server.running, server.vacant) = (group, false, true);
        host
    }

    /// Replicas announce themselves, as if they had just come.
    pub fn announce_all(&mut self) {
        for index in 0..self.servers.len() {
            let mut attached = std::mem::take(&mut self.servers[index].attached);
            for replica in &mut attached {
                replica.shown = self.at(replica.host).and_then(|s| s.announces.clone());
            }
            self.servers[index].attached = attached;
        }
    }

    /// What is at two addresses, and does not run, changes places.
    pub fn exchange(&mut self, one: HostId, other: HostId) {
        self.servers.swap(one - self.first, other - self.first);
        self.at_mut(one).host = one;
        self.at_mut(other).host = other;
    }

    /// Nodes that follow a name look it up again.
    pub fn follow_names(&mut self, now: Us) {
        for index in 0..self.servers.len() {
            let server = &self.servers[index];
            let known = |text: &Option<String>| self.resolve(text.as_deref()?);
            let (master, saved) = (known(&server.master_text), known(&server.saved_text));
            let server = &mut self.servers[index];
            if let (Some(master), Some(_)) = (master, server.master)
                && server.master != Some(master)
            {
                server.master = Some(master);
                server.lose_link(now, now);
            }
            if let (Some(saved), Some(_)) = (saved, server.saved_master) {
                server.saved_master = Some(saved);
            }
        }
    }
}
