//! What the nodes answer to requests, and the orders to the farm itself.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::SocketAddrV4;

use crate::nodes::{Link, Source};
use crate::server::Server;

const OK: &[u8] = b"+OK\r\n";

impl Server {
    /// Handles a request of a client.
    pub fn request(&mut self, key: usize, words: &[&[u8]]) {
        let Some(first) = words.first() else { return };
        let name = String::from_utf8_lossy(first).to_ascii_uppercase();
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(node) = client.node else { return self.order(key, &name, words) };
        match (name.as_str(), &mut client.multi) {
            ("MULTI", multi @ None) => {
                *multi = Some(Vec::new());
                self.send(key, OK);
            }
            ("EXEC", multi @ Some(_)) => {
                let queue = multi.take().unwrap_or_default();
                self.send(key, format!("*{}\r\n", queue.len()).as_bytes());
                for words in queue {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    let name = String::from_utf8_lossy(words[0]).to_ascii_uppercase();
                    self.run_command(key, node, &name, &words);
                }
            }
            ("DISCARD", multi @ Some(_)) => {
                *multi = None;
                self.send(key, OK);
            }
            (_, Some(queue)) => {
                queue.push(words.iter().map(|word| word.to_vec()).collect());
                self.send(key, b"+QUEUED\r\n");
            }
            (name, None) => self.run_command(key, node, name, words),
        }
    }

    fn run_command(&mut self, key: usize, node: usize, name: &str, words: &[&[u8]]) {
        match (name, words.len()) {
            ("PING", 1) if self.clients.get(key).is_some_and(|c| c.subscribed) => {
                self.send(key, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
            }
            ("PING", 1) => self.send(key, b"+PONG\r\n"),
            ("PUBLISH", 3) => self.publish(key, node, words[1], words[2]),
            ("INFO", 1 | 2) => {
                let section = words.get(1).map(|s| String::from_utf8_lossy(s).to_lowercase());
                self.counts.infos += 1;
                let section = section.unwrap_or_default();
                let text = self.info.text(&mut self.nodes, node, &section);
                self.send(key, &bulk(text.as_bytes()));
            }
            ("SUBSCRIBE", 2) => self.subscribe(key, node, words[1]),
            ("SLAVEOF" | "REPLICAOF", 3) => self.follow(key, node, words[1], words[2]),
            ("ROLE", 1) => self.role(key, node),
            ("CLIENT", 2..) => self.client_command(key, node, words),
            ("CONFIG" | "AUTH" | "SCRIPT", 2..) => self.send(key, OK),
            _ => self.send(key, b"-ERR unknown command\r\n"),
        }
    }

    /// To the subscribers of the node and, as replication does, of its replicas.
    fn publish(&mut self, key: usize, node: usize, channel: &[u8], text: &[u8]) {
        let mut message = b"*3\r\n$7\r\nmessage\r\n".to_vec();
        message.extend(bulk(channel));
        message.extend(bulk(text));
        let count = self.nodes.list[node].subscribers.len();
        self.counts.publishes += 1;
        self.send(key, format!(":{count}\r\n").as_bytes());
        self.deliver(node, &message, self.nodes.group_size);
    }

    /// `depth` bounds the chain of replicas of replicas.
    fn deliver(&mut self, node: usize, message: &[u8], depth: usize) {
        self.nodes.list[node].offset += message.len() as u64;
        let subscribers = std::mem::take(&mut self.nodes.list[node].subscribers);
        subscribers.iter().for_each(|key| self.send(*key, message));
        self.counts.deliveries += subscribers.len() as u64;
        self.nodes.list[node].subscribers = subscribers;
        if depth > 0 {
            for replica in self.nodes.replicas(node) {
                self.deliver(replica, message, depth - 1);
            }
        }
    }

    fn subscribe(&mut self, key: usize, node: usize, channel: &[u8]) {
        if let Some(client) = self.clients.get_mut(key)
            && !std::mem::replace(&mut client.subscribed, true)
        {
            self.nodes.list[node].subscribers.push(key);
        }
        let reply = [b"*3\r\n$9\r\nsubscribe\r\n", &*bulk(channel), b":1\r\n"].concat();
        self.send(key, &reply);
    }

    fn follow(&mut self, key: usize, node: usize, host: &[u8], port: &[u8]) {
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.nodes.follow(node, None);
            return self.send(key, OK);
        }
        let text = format!("{}:{}", String::from_utf8_lossy(host), String::from_utf8_lossy(port));
        match text.parse::<SocketAddrV4>() {
            Ok(address) => {
                self.nodes.follow(node, Some(address));
                self.send(key, OK);
            }
            Err(_) => self.send(key, b"-ERR Invalid master address\r\n"),
        }
    }

    fn role(&mut self, key: usize, index: usize) {
        self.nodes.settle(index);
        let node = &self.nodes.list[index];
        let offset = node.offset;
        let address = match node.source {
            None => {
                return self
                    .send(key, format!("*3\r\n$6\r\nmaster\r\n:{offset}\r\n*0\r\n").as_bytes());
            }
            Some(Source::Node(at)) => SocketAddrV4::new(self.nodes.address(at), self.nodes.port),
            Some(Source::Stranger(address)) => address,
        };
        let up = matches!(node.link, Link::Up);
        let state = if up { "connected" } else { "connect" };
        let mut reply = b"*5\r\n$5\r\nslave\r\n".to_vec();
        reply.extend(bulk(address.ip().to_string().as_bytes()));
        reply.extend(format!(":{}\r\n", address.port()).bytes());
        reply.extend(bulk(state.as_bytes()));
        reply.extend(format!(":{offset}\r\n").bytes());
        self.send(key, &reply);
    }

    /// CLIENT KILL TYPE ends connections of that type but the asker's; all others do nothing.
    fn client_command(&mut self, key: usize, node: usize, words: &[&[u8]]) {
        if !words[1].eq_ignore_ascii_case(b"kill") || words.len() < 4 {
            return self.send(key, OK);
        }
        let pubsub = words[3].eq_ignore_ascii_case(b"pubsub");
        let meant = |other: &&usize| {
            **other != key && self.clients.get(**other).is_some_and(|c| c.subscribed == pubsub)
        };
        let killed: Vec<usize> =
            self.nodes.list[node].clients.iter().filter(meant).copied().collect();
        killed.iter().for_each(|other| self.remove(*other));
        self.send(key, format!(":{}\r\n", killed.len()).as_bytes());
    }

    /// An order to the farm, at 127.0.0.1.
    fn order(&mut self, key: usize, name: &str, words: &[&[u8]]) {
        let what = words.get(1).map(|w| String::from_utf8_lossy(w).to_ascii_uppercase());
        match (name, what.as_deref().unwrap_or_default()) {
            ("PING", _) => self.send(key, b"+PONG\r\n"),
            ("FARM", "HANG") => {
                self.nodes.last_promotion = None;
                let count = self.nodes.hang_masters();
                self.send(key, format!(":{count}\r\n").as_bytes());
            }
            ("FARM", "UNHANG") => {
                let count = self.unhang();
                self.send(key, format!(":{count}\r\n").as_bytes());
            }
            ("FARM", "STATE") => {
                let text = self.state();
                self.send(key, text.as_bytes());
            }
            ("FARM", "QUIT") => self.stop = true,
            _ => self.send(key, b"-ERR orders are FARM HANG, UNHANG, STATE and QUIT\r\n"),
        }
    }

    /// A flat list of names and numbers.
    fn state(&self) -> String {
        let list = &self.nodes.list;
        let hung = list.iter().filter(|node| node.hung.is_some()).count();
        let subscribers: usize = list.iter().map(|node| node.subscribers.len()).sum();
        let connections: usize = list.iter().map(|node| node.clients.len()).sum();
        let since = self.nodes.last_promotion.map_or(0, |at| at.elapsed().as_micros());
        let counts = &self.counts;
        let fields = [
            ("groups", (list.len() / self.nodes.group_size) as u64),
            ("with-master", self.nodes.groups_with_master() as u64),
            ("hung", hung as u64),
            ("connections", connections as u64),
            ("subscribers", subscribers as u64),
            ("requests", counts.requests),
            ("infos", counts.infos),
            ("publishes", counts.publishes),
            ("deliveries", counts.deliveries),
            ("accepts", counts.accepts),
            ("refusals", counts.refusals),
            ("since-promotion-us", since as u64),
        ];
        let mut text = format!("*{}\r\n", fields.len() * 2);
        for (name, value) in fields {
            let value = value.to_string();
            let (a, b) = (name.len(), value.len());
            let _ = write!(text, "${a}\r\n{name}\r\n${b}\r\n{value}\r\n");
        }
        text
    }
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
