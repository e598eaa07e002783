//! PING, QUIT, RESET, AUTH, HELLO.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::acl::user::User;
use super::auth::DEFAULT_USER;
use super::call::{Call, text};
use super::client::Muting;
use super::pubsub::Kind;
use super::tracking::Tracking;
use super::{REDIS_VERSION, cmd_client};
use crate::resp::write::{self, Dialect};
use crate::util::num;

/// `PING [message]`.
pub fn ping(call: &mut Call<'_, '_>) {
    if call.args.len() > 2 {
        return call.error(b"ERR wrong number of arguments for 'ping' command");
    }
    let message = call.args.get(1).map(Vec::as_slice);
    let in_subscription = call.client().in_subscription();
    let out = call.reply().out;
    if in_subscription {
        write::array(out, 2);
        write::bulk(out, b"pong");
        write::bulk(out, message.unwrap_or_default());
    } else if let Some(message) = message {
        write::bulk(out, message);
    } else {
        write::simple(out, b"PONG");
    }
}

/// `QUIT`.
pub fn quit(call: &mut Call<'_, '_>) {
    call.ok();
    call.server.close_after_flush(call.cx, call.conn);
}

/// `RESET`: the connection is as it was when new.
pub fn reset(call: &mut Call<'_, '_>) {
    let authenticated = call.server.users.default_is_open();
    let user = Arc::clone(call.server.users.default_user());
    let client = call.client();
    client.name.clear();
    client.dialect = Dialect::Resp2;
    client.authenticated = authenticated;
    client.user = user;
    client.no_evict = false;
    client.muting = Muting::default();
    client.subscribed_bytes = 0;
    call.introduced();
    call.server.set_tracking(call.conn, Tracking::default());
    for kind in [Kind::Channel, Kind::Pattern] {
        let held = std::mem::take(call.client().held(kind));
        call.server.pubsub.remove_all(held, kind, call.conn);
    }
    write::simple(call.reply().out, b"RESET");
}

/// `AUTH [user] password`.
pub fn auth(call: &mut Call<'_, '_>) {
    let (user, password) = match &call.args[1..] {
        [_] if call.server.users.default_user().nopass => {
            return call.error(
                b"ERR AUTH <password> called without any password configured for the default \
                user. Are you sure your configuration is correct?",
            );
        }
        [password] => (DEFAULT_USER, password),
        [user, password] => (user.as_slice(), password),
        _ => return call.error(text::SYNTAX),
    };
    match call.server.log_in(call.cx, call.conn, (&call.args[0], user, password)) {
        Some(user) => {
            let client = call.client();
            client.authenticated = true;
            client.user = user;
            call.ok();
        }
        None => call.error(text::WRONG_PASS),
    }
}

/// What HELLO is to change, once all of it is found good.
#[derive(Default)]
struct Wishes<'a> {
    dialect: Option<Dialect>,
    user: Option<Arc<User>>,
    name: Option<&'a [u8]>,
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`; nothing is switched if any part fails.
pub fn hello(call: &mut Call<'_, '_>) {
    let words = call.args;
    let mut wishes = Wishes::default();
    if let Some(version) = words.get(1) {
        wishes.dialect = match num::parse_i64(version) {
            Some(2) => Some(Dialect::Resp2),
            Some(3) => Some(Dialect::Resp3),
            Some(_) => return call.error(b"NOPROTO unsupported protocol version"),
            None => {
                return call.error(b"ERR Protocol version is not an integer or out of range");
            }
        };
    }
    let mut options = words.get(2..).unwrap_or_default();
    while let Some((option, rest)) = options.split_first() {
        match (option.to_ascii_lowercase().as_slice(), rest) {
            (b"auth", [user, password, rest @ ..]) => {
                let login = (&words[0][..], &user[..], &password[..]);
                wishes.user = call.server.log_in(call.cx, call.conn, login);
                if wishes.user.is_none() {
                    return call.error(text::WRONG_PASS);
                }
                options = rest;
            }
            (b"setname", [name, rest @ ..]) => {
                if let Err(text) = cmd_client::check_name(b"Client names", name) {
                    return call.error(&text);
                }
                wishes.name = Some(name);
                options = rest;
            }
            _ => return call.error_about("ERR Syntax error in HELLO option ", option, ""),
        }
    }
    let client = &call.server.clients[&call.conn];
    if call.server.users.must_log_in(client) && wishes.user.is_none() {
        return call.error(
            b"NOAUTH HELLO must be called with the client already authenticated, otherwise the \
            HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
            select the RESP protocol version at the same time",
        );
    }
    let client = call.client();
    if let Some(user) = wishes.user {
        client.authenticated = true;
        client.user = user;
    }
    if let Some(dialect) = wishes.dialect {
        client.dialect = dialect;
    }
    if let Some(name) = wishes.name {
        client.name = name.to_vec();
        call.introduced();
    }
    describe(call);
}

fn describe(call: &mut Call<'_, '_>) {
    let id = call.client().id;
    let reply = call.reply();
    let (out, dialect) = (reply.out, reply.dialect);
    write::map(out, 6, dialect);
    write::bulk(out, b"server");
    write::bulk(out, b"redis");
    write::bulk(out, b"version");
    write::bulk(out, REDIS_VERSION.as_bytes());
    write::bulk(out, b"proto");
    write::int(out, if dialect == Dialect::Resp3 { 3 } else { 2 });
    write::bulk(out, b"id");
    write::int(out, id as i64);
    write::bulk(out, b"mode");
    write::bulk(out, b"sentinel");
    write::bulk(out, b"modules");
    write::array(out, 0);
}
