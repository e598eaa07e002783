//! What peers and operators may ask it.
#![forbid(unsafe_code)]

use sentineld::util::ident::ConnId;

use super::state::{Id, State, addr_of};
use super::{CPeer, Use};
use crate::redis::HELLO;
use crate::wire::{self, Words, show};

impl CPeer {
    pub fn run_requests(&mut self, conn: ConnId) {
        while let Some(open) = self.conns.get_mut(&conn)
            && let Use::Client(requests) = &mut open.carries
            && let Some(words) = requests.next_request()
        {
            let reply = self.answer(&words);
            self.write(conn, &reply);
        }
    }

    fn answer(&mut self, words: &Words) -> Vec<u8> {
        let upper: Vec<Vec<u8>> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let upper: Vec<&[u8]> = upper.iter().map(Vec::as_slice).collect();
        match upper[..] {
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"AUTH", ..] | [b"CLIENT", b"SETNAME", _] => b"+OK\r\n".to_vec(),
            [b"PUBLISH", _, _] if words[1] == HELLO => {
                self.hello_arrived(&show(&words[2]));
                b":1\r\n".to_vec()
            }
            [b"SENTINEL", b"IS-MASTER-DOWN-BY-ADDR", ..] if words.len() == 6 => {
                self.answer_ask(&words[2..])
            }
            [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", _] => {
                let Some(id) = self.master_named(&show(&words[2])) else {
                    return b"*-1\r\n".to_vec();
                };
                let (ip, port) = self.told_addr(id);
                wire::request(&[ip.to_string().as_bytes(), port.to_string().as_bytes()])
            }
            [b"SENTINEL", b"FAILOVER", _] => self.answer_failover(&show(&words[2])),
            [b"SENTINEL", b"RESET", _] => self.answer_reset(&show(&words[2])),
            _ => format!("-ERR unknown command '{}'\r\n", show(&words[0])).into_bytes(),
        }
    }

    fn answer_ask(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let words: Vec<String> = words.iter().map(|word| show(word)).collect();
        let addr = addr_of(&words[0], &words[1]);
        let Ok(epoch) = words[2].parse::<u64>() else {
            return b"-ERR value is not an integer or out of range\r\n".to_vec();
        };
        let meant = |id: &Id| Some(self.insts[id].addr) == addr;
        let Some(id) = self.watches.keys().copied().find(meant) else {
            return b"*3\r\n:0\r\n$1\r\n*\r\n:0\r\n".to_vec();
        };
        let down = self.tilt_since.is_none() && self.insts[&id].sdown;
        let (leader, leader_epoch) = match words[3].as_str() {
            "*" => (String::new(), 0),
            candidate => self.vote(id, epoch, candidate),
        };
        let leader = if leader.is_empty() { "*" } else { &leader };
        let mut out = format!("*3\r\n:{}\r\n", u8::from(down)).into_bytes();
        wire::bulk(&mut out, leader.as_bytes());
        out.extend_from_slice(format!(":{leader_epoch}\r\n").as_bytes());
        out
    }

    fn answer_failover(&mut self, name: &str) -> Vec<u8> {
        let Some(id) = self.master_named(name) else {
            return b"-ERR No such master with that name\r\n".to_vec();
        };
        if self.watches[&id].state != State::None {
            return b"-INPROG Failover already in progress\r\n".to_vec();
        }
        let replicas: Vec<Id> = self.watches[&id].replicas.values().copied().collect();
        if !replicas.iter().any(|replica| self.suitable(id, *replica)) {
            return b"-NOGOODSLAVE No suitable replica to promote\r\n".to_vec();
        }
        self.log(&format!("Executing user requested FAILOVER of '{name}'"));
        self.start_failover(id);
        self.watch_mut(id).forced = true;
        b"+OK\r\n".to_vec()
    }

    fn answer_reset(&mut self, pattern: &str) -> Vec<u8> {
        let masters: Vec<Id> = self.watches.keys().copied().collect();
        let meant = |id: &Id| pattern == "*" || self.insts[id].name == pattern;
        let masters: Vec<Id> = masters.into_iter().filter(meant).collect();
        for id in &masters {
            let peers: Vec<Id> = self.watches[id].peers.values().copied().collect();
            for peer in peers {
                self.drop_inst(peer);
            }
            self.reset(*id);
            self.event("+reset-master", *id, "");
        }
        format!(":{}\r\n", masters.len()).into_bytes()
    }
}
