//! Messages: to the subscribers of a node, and down the chain of its replicas.
#![forbid(unsafe_code)]

use super::{Effect, Farm};
use crate::net::HostId;
use crate::wire;

impl Farm {
    /// PUBLISH; how many clients of this node get it.
    pub fn publish(
        &mut self,
        host: HostId,
        channel: &[u8],
        text: &[u8],
        effects: &mut Vec<Effect>,
    ) -> usize {
        let count = self.deliver_on(host, channel, text, effects);
        let server = self.at_mut(host);
        if server.master.is_some() {
            return count;
        }
        server.history.command(&[b"PUBLISH", channel, text]);
        if channel == super::HELLO {
            self.relay_below(host, text, effects);
        }
        count
    }

    /// To all that replicate from here, directly or not.
    fn relay_below(&self, host: HostId, text: &[u8], effects: &mut Vec<Effect>) {
        let first = effects.len();
        let mut next = Some(host);
        let mut done = first;
        while let Some(source) = next {
            for attached in &self.at(source).expect("a data node").attached {
                let to = attached.host;
                let known =
                    |effect: &Effect| matches!(effect, Effect::Relay(known, _) if *known == to);
                let linked = self
                    .at(attached.host)
                    .is_some_and(|server| server.link_up && server.master == Some(source));
                if linked && attached.host != host && !effects[first..].iter().any(known) {
                    effects.push(Effect::Relay(attached.host, text.to_vec()));
                }
            }
            next = match effects.get(done) {
                Some(Effect::Relay(to, _)) => Some(*to),
                _ => None,
            };
            done += 1;
        }
    }

    /// A hello comes from the master of a node. A process that stands still finds it later.
    pub fn relayed(&mut self, host: HostId, text: &[u8], effects: &mut Vec<Effect>) {
        let server = self.at_mut(host);
        if !server.link_up || !server.running {
            return;
        }
        if server.works() {
            self.deliver(host, text, effects);
        } else {
            server.unread.push(text.to_vec());
        }
    }

    /// What was relayed while the process stood still.
    pub(super) fn read_relayed(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        for text in std::mem::take(&mut self.at_mut(host).unread) {
            self.deliver(host, &text, effects);
        }
    }

    /// A hello to the subscribers of one node.
    pub fn deliver(&self, host: HostId, text: &[u8], effects: &mut Vec<Effect>) {
        self.deliver_on(host, super::HELLO, text, effects);
    }

    fn deliver_on(
        &self,
        host: HostId,
        channel: &[u8],
        text: &[u8],
        effects: &mut Vec<Effect>,
    ) -> usize {
        let Some(server) = self.at(host) else { return 0 };
        let mut count = 0;
        for (key, client) in &server.clients {
            if client.channels.iter().any(|known| known == channel) {
                let mut message = Vec::with_capacity(40 + channel.len() + text.len());
                message.extend_from_slice(b"*3\r\n$7\r\nmessage\r\n");
                wire::bulk(&mut message, channel);
                wire::bulk(&mut message, text);
                effects.push(Effect::Reply(*key, message));
                count += 1;
            }
        }
        count
    }
}
