//! What the sentinels say: every event of all three, with the time it arrived and its meaning.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::{Client, ask_once};
use crate::group::{Group, NODE_NAMES};

/// One event of one sentinel.
pub struct Event {
    pub at: Instant,
    /// The sentinel's number, from 0.
    pub sentinel: usize,
    pub name: String,
    pub text: String,
}

/// A subscription to all events of all sentinels.
pub struct Events {
    incoming: Receiver<Event>,
    node_ports: Vec<String>,
    /// The sentinels' own ids.
    ids: Vec<String>,
}

impl Events {
    /// Subscribes; events from now on are seen.
    pub fn subscribe(group: &Group) -> Result<Events, String> {
        let (sender, incoming) = channel();
        // Stamped and sent under one lock, so that the order of arrival is the order of times.
        let sender = Arc::new(Mutex::new(sender));
        let mut ids = Vec::new();
        for (number, port) in group.sentinel_ports().into_iter().enumerate() {
            let failed = |e| format!("cannot subscribe to S{}: {e}", number + 1);
            let mut client = Client::connect(port, None).map_err(failed)?;
            client.ask(&["PSUBSCRIBE", "*"]).map_err(failed)?;
            let id = ask_once(port, &["SENTINEL", "MYID"]);
            ids.push(id.map(|r| r.text().to_string()).unwrap_or_default());
            let sender = Arc::clone(&sender);
            std::thread::spawn(move || pass_on(client, number, &sender));
        }
        let node_ports = group.nodes.iter().map(|n| n.port.to_string()).collect();
        Ok(Events { incoming, node_ports, ids })
    }

    /// The next event, waiting at most so long.
    pub fn next(&mut self, limit: Duration) -> Option<Event> {
        self.incoming.recv_timeout(limit).ok()
    }

    /// What an event says, in few words.
    pub fn meaning(&self, event: &Event) -> String {
        let words: Vec<&str> = event.text.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or("?");
        let who = self.instance(&words);
        let rest = words.iter().position(|w| w.starts_with('#')).map(|at| words[at..].join(" "));
        let rest = rest.unwrap_or_default();
        match event.name.as_str() {
            "+sdown" => format!("{who} does not answer"),
            "-sdown" => format!("{who} answers again"),
            "+odown" => match rest.strip_prefix("#quorum ").and_then(|q| q.split_once('/')) {
                Some((agree, quorum)) => format!("{agree} hold {who} for down, {quorum} suffice"),
                None => format!("{who} {rest}"),
            },
            "-odown" => format!("{who} is no longer held for down"),
            "+new-epoch" => format!("epoch {}", word(0)),
            "+try-failover" => "wants to lead the failover".to_string(),
            "+vote-for-leader" => {
                format!("votes for {} in epoch {}", self.sentinel(word(0)), word(1))
            }
            "+elected-leader" => "leads the failover".to_string(),
            "+failover-state-select-slave" => "looks for the best replica".to_string(),
            "+selected-slave" => format!("chooses {who}"),
            "+failover-state-send-slaveof-noone" => format!("tells {who} to be a master"),
            "+failover-state-wait-promotion" => format!("waits for {who} to be one"),
            "+promoted-slave" => format!("{who} is a master"),
            "+failover-state-reconf-slaves" => "turns to the other replicas".to_string(),
            "+slave-reconf-sent" => format!("{who} is told to follow"),
            "+slave-reconf-inprog" => format!("{who} is connecting"),
            "+slave-reconf-done" => format!("{who} follows the new master"),
            "+failover-end" => "the failover is complete".to_string(),
            "+config-update-from" => format!("learns of it from {who}"),
            "+switch-master" => format!("{} -> {}", self.node(word(2)), self.node(word(4))),
            "+slave" => format!("{who} is a replica"),
            "+convert-to-slave" => format!("{who} is told to follow"),
            "+role-change" | "-role-change" => format!("{who} reports {}", word(words.len() - 1)),
            _ => format!("{who} {rest}"),
        }
    }

    /// The short name of the instance an event is about: `<type> <name> <ip> <port> …`.
    fn instance(&self, words: &[&str]) -> String {
        match words {
            ["sentinel", id, ..] => self.sentinel(id),
            ["master" | "slave", _, _, port, ..] => self.node(port),
            _ => words.join(" "),
        }
    }

    fn node(&self, port: &str) -> String {
        let at = self.node_ports.iter().position(|p| p == port);
        at.map_or("?", |at| NODE_NAMES[at]).to_string()
    }

    fn sentinel(&self, id: &str) -> String {
        let at = self.ids.iter().position(|i| i == id);
        at.map_or("?".to_string(), |at| format!("S{}", at + 1))
    }
}

/// Passes messages on until the connection ends.
fn pass_on(mut client: Client, sentinel: usize, sender: &Mutex<Sender<Event>>) {
    while let Ok(reply) = client.read_reply() {
        let [_, _, name, text] = reply.list() else { continue };
        let (name, text) = (name.text().to_string(), text.text().to_string());
        let Ok(sender) = sender.lock() else { return };
        if sender.send(Event { at: Instant::now(), sentinel, name, text }).is_err() {
            return;
        }
    }
}
