//! All users: made from the configuration or an aclfile, changed by commands.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::{RuleError, merge_selectors};
use super::user::{self, User};
use crate::config::settings::Settings;
use crate::server::auth::DEFAULT_USER;
use crate::server::client::Client;

/// Most users.
const USERS_MAX: usize = 65_536;

/// A rule that cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRule {
    /// The rule, or as much of it as there is.
    pub word: Vec<u8>,
    pub error: RuleError,
}

/// The users by name. Clients keep the one they are, so a change must be told to them.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
    default: Arc<User>,
    channels_default: bool,
}

impl Users {
    /// The users of the configuration: `requirepass`, and the `user` lines, which win. A line that
    /// [`super::config::check`] would refuse makes a user who can do nothing.
    pub fn new(settings: &Settings) -> Users {
        let mut users = Users::with_default(settings);
        for words in &settings.users {
            let Some((name, rules)) = words.split_first() else { continue };
            let from_file = settings.aclfile.is_some();
            let made =
                if from_file { users.make(name, rules) } else { users.from_config(name, rules) };
            let user = made.unwrap_or_else(|_| User::new(name, users.channels_default));
            users.put(user);
        }
        users
    }

    /// The default user alone, as `requirepass` has it.
    pub fn with_default(settings: &Settings) -> Users {
        let channels_default = settings.acl_pubsub_allchannels;
        let mut default = User::open(DEFAULT_USER, channels_default);
        if let Some(password) = &settings.requirepass {
            let rule = [b">", &password[..]].concat();
            default.apply(&rule).expect("any password can be added");
        }
        let default = Arc::new(default);
        let by_name = BTreeMap::from([(DEFAULT_USER.to_vec(), Arc::clone(&default))]);
        Users { by_name, default, channels_default }
    }

    /// A user out of the rules of its line in an aclfile.
    pub fn make(&self, name: &[u8], rules: &[Vec<u8>]) -> Result<User, BadRule> {
        let mut user = User::new(name, self.channels_default);
        apply_all(&mut user, rules)?;
        Ok(user)
    }

    /// A user out of the rules of its line in the configuration; those of the default user, which
    /// exists already, begin with a `reset`.
    pub fn from_config(&self, name: &[u8], rules: &[Vec<u8>]) -> Result<User, BadRule> {
        let mut user = User::new(name, self.channels_default);
        if name == DEFAULT_USER {
            user.apply(b"reset").expect("a reset is right");
        }
        apply_all(&mut user, rules)?;
        Ok(user)
    }

    /// What SETUSER makes of a user, who need not exist.
    pub fn changed(&self, name: &[u8], rules: &[Vec<u8>]) -> Result<User, BadRule> {
        let mut user = match self.by_name.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name, self.channels_default),
        };
        apply_all(&mut user, rules)?;
        Ok(user)
    }

    /// Whether a user of that name exists or may be added.
    pub fn has_room_for(&self, name: &[u8]) -> bool {
        self.by_name.len() < USERS_MAX || self.by_name.contains_key(name)
    }

    /// Adds a user, or puts it in the place of the one of that name.
    pub fn put(&mut self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        if user.name == DEFAULT_USER {
            self.default = Arc::clone(&user);
        }
        self.by_name.insert(user.name.clone(), Arc::clone(&user));
        user
    }

    /// Removes a user; false if there is none of that name. The default user stays.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT_USER && self.by_name.remove(name).is_some()
    }

    /// The user every connection begins as.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// Whether the default user needs no password, so that connections begin authenticated.
    pub fn default_is_open(&self) -> bool {
        self.default.on && self.default.nopass
    }

    /// Whether a client must log in before anything else.
    pub fn must_log_in(&self, client: &Client) -> bool {
        !client.authenticated && !self.default_is_open()
    }

    /// The user that logs in with that name and password.
    pub fn login(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        match self.by_name.get(name) {
            Some(user) => user.accepts(password).then(|| Arc::clone(user)),
            None => {
                // As long as for a user who exists.
                std::hint::black_box(user::hash(password));
                None
            }
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// By name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The words after `user` of each user's line, by name.
    pub fn lines(&self) -> Vec<Vec<Vec<u8>>> {
        self.iter().map(|user| user.words()).collect()
    }
}

fn apply_all(user: &mut User, rules: &[Vec<u8>]) -> Result<(), BadRule> {
    let rules =
        merge_selectors(rules).map_err(|word| BadRule { word, error: RuleError::Unmatched })?;
    for word in rules {
        user.apply(&word).map_err(|error| BadRule { word, error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(lines: &[&str], requirepass: Option<&str>) -> Users {
        let words = |line: &&str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        Users::new(&Settings {
            users: lines.iter().map(words).collect(),
            requirepass: requirepass.map(|password| password.as_bytes().to_vec()),
            ..Settings::default()
        })
    }

    fn shown(users: &Users) -> Vec<String> {
        users.lines().iter().map(|w| String::from_utf8(w.join(&b' ')).unwrap()).collect()
    }

    #[test]
    fn the_default_user_is_what_lines_say_or_else_requirepass() {
        let hash = |password: &[u8]| String::from_utf8(user::hash(password)).unwrap();
        let (x, y) = (hash(b"x"), hash(b"y"));
        assert_eq!(shown(&users(&[], None)), ["default on nopass ~* &* +@all"]);
        assert_eq!(shown(&users(&[], Some("x"))), [format!("default on #{x} ~* &* +@all")]);
        let both = users(&["default on >y +@all"], Some("x"));
        assert_eq!(shown(&both), [format!("default on sanitize-payload #{y} resetchannels +@all")]);
        assert!(!both.default_is_open() && users(&[], None).default_is_open());
        assert!(!users(&["default nopass"], None).default_is_open());
    }

    #[test]
    fn users_log_in_with_their_own_passwords() {
        let users = users(&["bob on >x", "eve off >x", "any on nopass"], None);
        for (name, password, hit) in [
            ("bob", "x", true),
            ("bob", "y", false),
            ("Bob", "x", false),
            ("eve", "x", false),
            ("any", "y", true),
            ("default", "y", true),
            ("nobody", "x", false),
        ] {
            let found = users.login(name.as_bytes(), password.as_bytes());
            assert_eq!(found.map(|u| u.name.clone()), hit.then(|| name.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_line_with_a_mistake_gives_no_rights() {
        let users = users(&["bob on nopass +@all foo"], None);
        assert_eq!(shown(&users)[0], "bob off resetchannels -@all");
    }

    #[test]
    fn the_default_user_stays() {
        let mut users = users(&["bob on"], None);
        assert!(users.remove(b"bob") && !users.remove(b"bob") && !users.remove(b"default"));
        assert_eq!(users.iter().len(), 1);
    }
}
