//! Users and what they may do (spec/commands.md, ACL).
//!
//! [`rules`] and [`rights`] make selectors out of words, kept [`in_order`], [`user`] users out of
//! selectors, [`users`] is all of them. [`check`] is asked for every request. [`log`] keeps what
//! was refused; [`file`] is the aclfile, [`startup`] looks at the configuration. What changes users
//! while clients are connected is here; what must wait for a file or for random bytes is in
//! [`asks`].
#![forbid(unsafe_code)]

pub mod asks;
pub mod check;
pub mod file;
pub mod in_order;
pub mod log;
pub mod rights;
pub mod rules;
pub mod startup;
pub mod user;
pub mod users;

use std::sync::Arc;

use super::client::Client;
use super::{Server, work};
use crate::config::settings::Settings;
use crate::sentinel::action::Cx;
use crate::util::ident::ConnId;
use check::Denial;
use log::{Moment, Reason};
use user::User;
use users::Users;

impl Server {
    /// Puts a user in the place of the one of that name. Its clients are the new one from now on;
    /// subscribers that lose a channel are closed.
    pub(super) fn put_user(&mut self, cx: &mut Cx, user: User) {
        let user = self.users.put(user);
        self.users_changed();
        self.work.charge_each(self.clients.len(), work::LOOK_NS);
        let mut lost = Vec::new();
        for client in self.clients.values_mut().filter(|c| c.user.name == user.name) {
            client.user = Arc::clone(&user);
            if !keeps_subscriptions(client) {
                lost.push(client.conn);
            }
        }
        self.close_for_users(cx, &lost, None);
    }

    /// Removes users, and closes their clients.
    pub(super) fn remove_users(&mut self, cx: &mut Cx, names: &[Vec<u8>]) {
        for name in names {
            self.users.remove(name);
        }
        self.users_changed();
        self.work.charge_each(self.clients.len(), work::LOOK_NS);
        let gone = self.clients.values().filter(|c| self.users.get(&c.user.name).is_none());
        let gone: Vec<_> = gone.map(|client| client.conn).collect();
        self.close_for_users(cx, &gone, None);
    }

    /// Takes all users from elsewhere. Clients of users that are gone or are not the same any more
    /// are closed; those of the default user stay, as nobody logs in as it by choice.
    pub(super) fn replace_users(&mut self, cx: &mut Cx, users: Users, asker: ConnId) {
        let old = std::mem::replace(&mut self.users, users);
        self.users_changed();
        let mut lost = Vec::new();
        for client in self.clients.values_mut() {
            let name = &client.user.name;
            let is_default = *name == old.default_user().name;
            match self.users.get(name) {
                Some(user) if is_default || user.words() == client.user.words() => {
                    client.user = Arc::clone(user);
                    if !keeps_subscriptions(client) {
                        lost.push(client.conn);
                    }
                }
                _ => lost.push(client.conn),
            }
        }
        self.close_for_users(cx, &lost, Some(asker));
    }

    /// The `user` lines of the next save are other ones. They are composed for that: there may be
    /// thousands of users, and thousands of changes.
    pub(super) fn users_changed(&mut self) {
        self.users_unsaved = true;
    }

    /// The settings as they are to be saved. Users of an aclfile are not in the configuration.
    pub fn settings_to_save(&mut self) -> &Settings {
        if std::mem::take(&mut self.users_unsaved) && self.settings.aclfile.is_none() {
            self.settings.users = self.users.lines();
        }
        &self.settings
    }

    /// Closes clients; the one whose command did it gets its reply first.
    fn close_for_users(&mut self, cx: &mut Cx, conns: &[ConnId], asker: Option<ConnId>) {
        for conn in conns {
            if self.running == Some(*conn) || asker == Some(*conn) {
                self.close_after_flush(cx, *conn);
            } else {
                self.close(cx, *conn);
            }
        }
    }

    /// Notes a request that the user's rights do not cover, and gives the error.
    pub(super) fn deny(
        &mut self,
        cx: &Cx,
        conn: ConnId,
        (full_name, words): (&str, &[Vec<u8>]),
        denial: Denial,
    ) -> Vec<u8> {
        let Some(client) = self.clients.get(&conn) else { return Vec::new() };
        let user = client.user.name.clone();
        match denial {
            Denial::Command => {
                self.note_denial(cx, conn, (Reason::Command, full_name.as_bytes(), &user));
                let end = b"' command";
                let run = b" has no permissions to run the '";
                [b"NOPERM User ", &user[..], run, full_name.as_bytes(), end].concat()
            }
            Denial::Channel(at) => {
                self.note_denial(cx, conn, (Reason::Channel, &words[at], &user));
                b"NOPERM No permissions to access a channel".to_vec()
            }
        }
    }

    /// An entry for ACL LOG: reason, object and user name.
    pub(super) fn note_denial(&mut self, cx: &Cx, conn: ConnId, what: (Reason, &[u8], &[u8])) {
        let Some(client) = self.clients.get(&conn) else { return };
        let line = client.describe(cx.now, self.unixsocket());
        let now = Moment { mono: cx.now, unix_ms: cx.wall.unix_ms };
        self.acl_log.add(now, self.settings.acllog_max_len, what, line);
    }

    /// The user that a client logs in as, by AUTH or HELLO as typed, name and password; an entry in
    /// ACL LOG if they do not fit.
    pub(super) fn log_in(
        &mut self,
        cx: &Cx,
        conn: ConnId,
        (typed, name, password): (&[u8], &[u8], &[u8]),
    ) -> Option<Arc<User>> {
        let passwords = self.users.get(name).map_or(1, |user| user.password_count());
        self.work.charge_each(passwords, work::PASSWORD_NS);
        let user = self.users.login(name, password);
        if user.is_none() {
            self.note_denial(cx, conn, (Reason::Auth, typed, name));
        }
        user
    }
}

/// Whether a client may go on listening to all that it listens to.
fn keeps_subscriptions(client: &Client) -> bool {
    client.user.is_unrestricted
        || (client.channels.topics.keys().all(|channel| client.user.may_hear(channel))
            && client.patterns.topics.keys().all(|topic| client.user.may_hear_pattern(topic)))
}
