//! What the commands do.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use super::commands::{Asked, Name, error, find};
use super::faults::ConfigFile;
use super::{Effect, Farm, Mode, REDIS_PORT, Script, Server};
use crate::net::Net;
use crate::wire::{self, Words};

fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

fn number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(format!(":{number}\r\n").as_bytes());
}

impl Server {
    /// CLIENT KILL TYPE, by default without the asker itself.
    fn kill_clients(&mut self, asked: &Asked, out: &mut Vec<u8>, effects: &mut Vec<Effect>) {
        let word = |at: usize| asked.words.get(at).map(|word| word.to_ascii_lowercase());
        let kind = word(3);
        let pubsub = match (word(2).as_deref(), kind.as_deref()) {
            (Some(b"type"), Some(b"normal")) => false,
            (Some(b"type"), Some(b"pubsub")) => true,
            (Some(b"type"), Some(other)) => {
                return error(out, &format!("ERR Unknown client type '{}'", wire::show(other)));
            }
            _ => return error(out, "ERR syntax error"),
        };
        let skip = match (word(4).as_deref(), word(5).as_deref()) {
            (None, None) | (Some(b"skipme"), Some(b"yes")) => true,
            (Some(b"skipme"), Some(b"no")) => false,
            _ => return error(out, "ERR syntax error"),
        };
        let mut count = 0;
        let conn = asked.conn;
        self.clients.retain(|key, client| {
            let meant = client.channels.is_empty() != pubsub && !(*key == conn && skip);
            count += usize::from(meant);
            if meant && *key == conn {
                client.closing = true;
            } else if meant {
                effects.push(Effect::Close(*key));
            }
            !meant || *key == conn
        });
        number(out, count);
    }

    fn config_set(&mut self, words: &[&[u8]], out: &mut Vec<u8>) {
        let value = wire::show(words[3]);
        match words[2] {
            b"replica-priority" => self.priority = value.parse().expect("a priority"),
            b"replica-announced" => self.announced = value == "yes",
            b"replica-serve-stale-data" => self.serves_stale_data = value == "yes",
            b"requirepass" => self.set_password(Some(words[3]).filter(|word| !word.is_empty())),
            b"masterauth" => self.set_master_password(Some(words[3])),
            _ => {
                let name = wire::show(words[2]);
                let text =
                    format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
                return error(out, &text);
            }
        }
        ok(out);
    }

    fn auth(&mut self, asked: &Asked, out: &mut Vec<u8>) {
        let [_, user @ .., password] = asked.words else { return };
        if user.is_empty() && self.password.is_none() {
            return error(
                out,
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            );
        }
        let default = user.is_empty() || *user == [b"default".as_slice()];
        let right = self.password.as_deref().is_none_or(|known| known == *password);
        if !default || !right {
            return error(out, "WRONGPASS invalid username-password pair or user is disabled.");
        }
        self.clients.get_mut(&asked.conn).expect("it asks").authenticated = true;
        ok(out);
    }

    /// SCRIPT KILL; the script's own client learns of it.
    fn kill_script(&mut self, out: &mut Vec<u8>, effects: &mut Vec<Effect>) {
        if self.mode != Mode::Busy {
            return error(out, "NOTBUSY No scripts in execution right now.");
        }
        if let Some(Script { killable: false, .. }) = self.script {
            return error(
                out,
                "UNKILLABLE Sorry the script already executed write commands against the \
                 dataset. You can either wait the script termination or kill the server in a \
                 hard way using the SHUTDOWN NOSAVE command.",
            );
        }
        self.mode = Mode::Normal;
        if let Some(Script { owner: Some(owner), .. }) = self.script.take() {
            let mut text = Vec::new();
            let id = wire::show(self.run_id.bytes());
            error(
                &mut text,
                &format!(
                    "ERR Script killed by user with SCRIPT KILL... script: {id}, \
                     on @user_script:1."
                ),
            );
            effects.push(Effect::Reply(owner, text));
        }
        ok(out);
    }
}

impl Farm {
    pub(super) fn call(
        &mut self,
        rng: &mut Rng,
        name: Name,
        asked: &Asked,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let &Asked { now, host, conn, words } = asked;
        let server = self.at_mut(host);
        let client = server.clients.get_mut(&conn).expect("it asks");
        match name {
            Name::Ping if words.len() > 2 => {
                error(out, "ERR wrong number of arguments for 'ping' command");
            }
            Name::Ping if client.channels.is_empty() => match words.get(1) {
                Some(text) => wire::bulk(out, text),
                None => out.extend_from_slice(b"+PONG\r\n"),
            },
            Name::Ping => {
                out.extend_from_slice(b"*2\r\n$4\r\npong\r\n");
                wire::bulk(out, words.get(1).unwrap_or(&b"".as_slice()));
            }
            Name::Info => self.info(now, host, words.get(1).copied(), out),
            Name::Publish => {
                let count = self.publish(host, words[1], words[2], effects);
                number(out, count);
            }
            Name::Auth => server.auth(asked, out),
            Name::ClientSetname => ok(out),
            Name::ClientKill => server.kill_clients(asked, out, effects),
            Name::Subscribe => {
                for channel in &words[1..] {
                    if !client.channels.iter().any(|known| known == channel) {
                        client.channels.push(channel.to_vec());
                    }
                    out.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n");
                    wire::bulk(out, channel);
                    number(out, client.channels.len());
                }
            }
            Name::Multi if client.multi.is_some() => {
                error(out, "ERR MULTI calls can not be nested");
            }
            Name::Multi => {
                client.multi = Some(Vec::new());
                client.spoiled = false;
                ok(out);
            }
            Name::Exec => self.exec(rng, asked, out, effects),
            Name::Discard => match client.multi.take() {
                Some(_) => ok(out),
                None => error(out, "ERR DISCARD without MULTI"),
            },
            _ => self.call_rare(rng, name, asked, out, effects),
        }
    }

    /// What is no part of a sentinel's every day.
    fn call_rare(
        &mut self,
        rng: &mut Rng,
        name: Name,
        asked: &Asked,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let &Asked { host, conn, words, .. } = asked;
        let server = self.at_mut(host);
        match name {
            Name::Slaveof => self.slaveof(rng, asked, out, effects),
            Name::ConfigRewrite => match server.config_file {
                ConfigFile::Kept => {
                    server.saved_master = server.master;
                    server.saved_text = server.master_text.clone();
                    ok(out);
                }
                ConfigFile::None => {
                    error(out, "ERR The server is running without a config file");
                }
                ConfigFile::Fails => {
                    error(out, "ERR Rewriting config file: No such file or directory");
                }
            },
            Name::ConfigSet => server.config_set(words, out),
            Name::ScriptKill => {
                server.kill_script(out, effects);
                if server.works() {
                    self.read_relayed(host, effects);
                }
            }
            Name::Quit => {
                let client = server.clients.get_mut(&conn).expect("it asks");
                client.closing = true;
                ok(out);
            }
            Name::Set => {
                server.history.command(words);
                ok(out);
            }
            Name::Save => {
                server.save();
                ok(out);
            }
            Name::Eval => {
                let writes = words[1].windows(4).any(|part| part == b"call");
                server.run_script(Some(conn), !writes);
            }
            Name::Debug => ok(out),
            _ => unreachable!("{name:?} is of every day"),
        }
    }

    fn exec(&mut self, rng: &mut Rng, asked: &Asked, out: &mut Vec<u8>, effects: &mut Vec<Effect>) {
        let client = self.at_mut(asked.host).clients.get_mut(&asked.conn).expect("it asks");
        let Some(queued) = client.multi.take() else {
            return error(out, "ERR EXEC without MULTI");
        };
        if std::mem::take(&mut client.spoiled) {
            return error(out, "EXECABORT Transaction discarded because of previous errors.");
        }
        out.extend_from_slice(format!("*{}\r\n", queued.len()).as_bytes());
        for words in queued {
            self.queued(rng, asked, &words, out, effects);
            let clients = &self.at(asked.host).expect("a data node").clients;
            if clients.get(&asked.conn).is_none_or(|client| client.closing) {
                return;
            }
        }
    }

    fn queued(
        &mut self,
        rng: &mut Rng,
        asked: &Asked,
        words: &Words,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let (name, ..) = find(&words).expect("it was found when it was queued");
        self.call(rng, *name, &Asked { words: &words, ..*asked }, out, effects);
    }

    fn slaveof(
        &mut self,
        rng: &mut Rng,
        asked: &Asked,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let &Asked { now, host, words, .. } = asked;
        let none = words[1].eq_ignore_ascii_case(b"NO") && words[2].eq_ignore_ascii_case(b"ONE");
        let master = if none {
            None
        } else {
            let port: Option<u16> = wire::show(words[2]).parse().ok();
            let Some(port) = port else { return error(out, "ERR Invalid master port") };
            assert_eq!(port, REDIS_PORT, "no data node's port");
            let master = self.resolve(&wire::show(words[1])).expect("a host's address or name");
            Some(master)
        };
        let server = self.at_mut(host);
        let old_word = server.master_word();
        server.follow(now, rng, master);
        let first_address = master.map(|master| Net::ip_of(master).to_string());
        let word = master.map(|_| wire::show(words[1]));
        server.master_text = word.clone().filter(|_| word != first_address);
        if server.master_word() != old_word || none {
            effects.push(Effect::Role(master));
            ok(out);
        } else {
            out.extend_from_slice(b"+OK Already connected to specified master\r\n");
        }
    }
}
