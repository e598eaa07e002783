//! Faults and their ends, and what operators do: the hands of the scenarios.
#![forbid(unsafe_code)]

use crate::net::{ConnKey, HostId, Segment, Us};
use crate::property::{Property, violation};
use crate::redis::Mode;
use crate::redis::faults::Data;
use crate::wire::{self, Stream, Value, Words};
use crate::world::{Ev, MS, SECOND, World};

impl World {
    pub fn kill_server(&mut self, host: HostId) {
        self.trace(|| format!("kill node {host}"));
        for key in self.farm.kill(host) {
            self.close(key, 1);
        }
    }

    pub fn restart_server(&mut self, host: HostId) {
        self.restart_server_with(host, Data::AtEnd);
    }

    pub fn restart_server_with(&mut self, host: HostId, data: Data) {
        self.trace(|| format!("restart node {host} with its data {data:?}"));
        self.farm.restart_with(self.now, host, data, &mut self.rng);
    }

    pub fn freeze_server(&mut self, host: HostId) {
        self.trace(|| format!("freeze node {host}"));
        self.farm.at_mut(host).frozen = true;
    }

    /// The process goes on with what waits for it.
    pub fn thaw_server(&mut self, host: HostId) {
        self.trace(|| format!("thaw node {host}"));
        self.farm.at_mut(host).frozen = false;
        let clients: Vec<ConnKey> = self.farm.at_mut(host).clients.keys().copied().collect();
        for key in clients {
            let effects = self.farm.work(self.now, &mut self.rng, host, key);
            self.apply(host, effects);
            let conn = self.net.conns.get_mut(&key);
            let open = conn.is_some_and(|conn| {
                let on_the_way = |(_, segment): &(Us, Segment)| match segment {
                    Segment::Bytes(bytes) => bytes.len(),
                    _ => 0,
                };
                conn.pipes[0].unread = conn.pipes[0].queue.iter().map(on_the_way).sum();
                conn.ends[1].open
            });
            if open {
                self.unblock(key);
            } else {
                self.farm.at_mut(host).clients.remove(&key);
            }
        }
    }

    pub fn set_mode(&mut self, host: HostId, mode: Mode) {
        self.trace(|| format!("node {host}: {mode:?}"));
        self.farm.at_mut(host).mode = mode;
    }

    /// Those hosts no longer reach the others; what is on its way waits.
    pub fn cut_off(&mut self, hosts: &[HostId]) {
        self.trace(|| format!("cut off {hosts:?}"));
        for host in hosts {
            for other in (0..=self.operator()).filter(|other| !hosts.contains(other)) {
                self.net.block(*host, other, true);
                self.net.block(other, *host, true);
            }
        }
    }

    /// All hosts reach each other. What waited comes late; some connections did not survive.
    pub fn heal(&mut self) {
        self.trace(|| "heal".to_owned());
        let cut: Vec<ConnKey> = self
            .net
            .conns
            .iter()
            .filter_map(|(key, conn)| {
                let well = self.net.reach(conn.hosts[0], conn.hosts[1]);
                (!well).then_some(key)
            })
            .collect();
        self.net.mend();
        for at in 0..self.sentinels.len() {
            if self.sentinels[at].lost {
                self.net.isolate(at, true);
            }
        }
        for key in cut {
            if self.rng.below(2) == 0 {
                self.reset(key);
            }
        }
        for (key, side) in self.net.waiting() {
            let at = self.now + self.rng.below(200 * MS);
            self.schedule(at, Ev::Deliver(key, side));
        }
    }

    /// Both sides find a connection dead; what was on its way is lost.
    pub fn reset(&mut self, key: ConnKey) {
        if !self.net.conns.get(&key).is_some_and(|conn| conn.begun) {
            return;
        }
        for side in [0, 1] {
            let Some(conn) = self.net.conns.get_mut(&key) else { return };
            conn.pipes[side].queue.clear();
            self.send(key, side, Segment::Refused);
        }
    }

    /// A sentinel's process is gone: at once and with nothing said if its host went with it.
    pub fn crash(&mut self, sentinel: usize, silently: bool) {
        self.trace(|| format!("crash {sentinel}, silently: {silently}"));
        let landed = self.rng.below(2) == 0;
        let old = self.sentinels[sentinel].view.clone();
        self.sentinels[sentinel].die(landed);
        let new = &self.sentinels[sentinel].view;
        self.checks.judge(sentinel, |checks| checks.saved(sentinel, &old, new));
        for (key, side) in self.net.of_host(sentinel) {
            match silently {
                true => self.net.conns.get_mut(&key).expect("listed").ends[side].open = false,
                false => self.close(key, side),
            }
        }
        if silently {
            self.sentinels[sentinel].lost = true;
            self.net.isolate(sentinel, true);
        }
    }

    /// It runs again, with the file it left.
    pub fn restart_sentinel(&mut self, sentinel: usize) {
        self.trace(|| format!("restart {sentinel}"));
        if std::mem::take(&mut self.sentinels[sentinel].lost) {
            self.net.isolate(sentinel, false);
        }
        for (key, side) in self.net.waiting() {
            self.schedule(self.now, Ev::Deliver(key, side));
        }
        self.start_sentinel(sentinel);
    }

    /// The process stands still.
    pub fn pause(&mut self, sentinel: usize) {
        if !self.sentinels[sentinel].runs() {
            return;
        }
        self.trace(|| format!("pause {sentinel}"));
        // Sockets take a few bytes at once: a torn write here would only be one of the model's.
        let torn = std::mem::replace(&mut self.options.torn, false);
        self.flush(sentinel);
        self.options.torn = torn;
        self.sentinels[sentinel].paused = true;
        self.checks.paused(self.now, sentinel);
    }

    pub fn resume(&mut self, sentinel: usize) {
        self.trace(|| format!("resume {sentinel}"));
        self.sentinels[sentinel].paused = false;
        self.checks.resumed(self.now, sentinel);
        self.wake_soon(sentinel);
    }

    /// The operator sends a command to a sentinel and waits for the answer.
    pub fn command(&mut self, sentinel: usize, words: &[&[u8]]) -> Value {
        let key = self.tell(sentinel, words);
        self.answer(key)
    }

    /// Several sentinels are told at the same moment to fail over.
    pub fn force_at_once(&mut self, sentinels: &[usize]) {
        let words: [&[u8]; 3] = [b"SENTINEL", b"FAILOVER", b"m0"];
        let told: Vec<ConnKey> = sentinels.iter().map(|at| self.tell(*at, &words)).collect();
        for key in told {
            self.answer(key);
        }
    }

    /// The last sentinel and one replica are cut off from the others. On both sides a failover is
    /// forced, in the same epoch.
    pub fn force_on_both_sides(&mut self) {
        let words: [&[u8]; 3] = [b"SENTINEL", b"FAILOVER", b"m0"];
        let (last, replica) = (self.options.sentinels - 1, self.first_master(0) + 1);
        let operator = self.operator();
        self.cut_off(&[last, replica, operator]);
        self.command(last, &words);
        self.run_for(3 * SECOND);
        self.heal();
        self.cut_off(&[last, replica]);
        self.command(0, &words);
        self.run_for(3 * SECOND);
        self.heal();
    }

    /// The operator sends a command to a sentinel; [`World::answer`] waits for the answer.
    pub fn tell(&mut self, sentinel: usize, words: &[&[u8]]) -> ConnKey {
        let key = self.connect([self.operator(), sentinel], None);
        let asked: Words = words.iter().map(|word| word.to_vec()).collect();
        self.trace(|| format!("operator to {sentinel}: {}", wire::show_words(&asked)));
        let mut bytes = self.login(key);
        self.net.conns.get_mut(&key).expect("just made").asked.push_back(asked);
        bytes.extend(wire::request(words));
        self.send(key, 0, Segment::Bytes(bytes));
        key
    }

    /// The answer to what was told.
    pub fn answer(&mut self, key: ConnKey) -> Value {
        let mut logs_in = self.must_log_in();
        for _ in 0..10_000 {
            let mut reply = self.inbox.get_mut(&key).and_then(Stream::next_value);
            if reply.is_some() && std::mem::take(&mut logs_in) {
                reply = self.inbox.get_mut(&key).and_then(Stream::next_value);
            }
            if let Some(reply) = reply {
                self.trace(|| format!("answer: {reply:?}"));
                self.inbox.remove(&key);
                self.close(key, 0);
                return reply;
            }
            self.run_for(MS);
        }
        violation!(Property::ClientsAreAnswered, "no answer within 10 s");
    }
}
