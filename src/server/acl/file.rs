//! The `aclfile`: one `user` line after the other, in a file of its own, without quotes.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::rules::RuleError;
use super::user::is_valid_name;
use super::users::{BadRule, Users};

const NOTHING_CHANGED: &str =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

/// Adds the users of an aclfile's text to `users`, which knows the default one only; `name` is the
/// file's. Blank lines mean nothing. Errors: all of them in one line.
pub fn parse(text: &[u8], name: &str, users: &mut Users) -> Result<(), String> {
    let mut errors = String::new();
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let words: Vec<&[u8]> =
            line.trim_ascii().split(|byte| *byte == b' ').filter(|w| !w.is_empty()).collect();
        let (user, rules) = match words.as_slice() {
            [] => continue,
            [first, user, rules @ ..] if *first == b"user" => (*user, rules),
            _ => {
                errors.push_str(&format!(
                    "{name}:{number} should start with user keyword followed by the username. "
                ));
                continue;
            }
        };
        let shown = String::from_utf8_lossy(user);
        if !seen.insert(user) {
            errors.push_str(&format!("WARNING: Duplicate user '{shown}' found on line {number}. "));
        } else if !is_valid_name(user) {
            let text = format!("{name}:{number}: username '{shown}' contains invalid characters. ");
            errors.push_str(&text);
        } else if !users.has_room_for(user) {
            errors.push_str(&format!("{name}:{number}: too many users. "));
        } else {
            let rules: Vec<Vec<u8>> = rules.iter().map(|word| word.to_vec()).collect();
            match users.make(user, &rules) {
                Ok(user) => drop(users.put(user)),
                Err(bad) => errors.push_str(&format!("{name}:{number}: {}. ", explain(&bad))),
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors + NOTHING_CHANGED) }
}

fn explain(bad: &BadRule) -> String {
    let (word, text) = (String::from_utf8_lossy(&bad.word), bad.error.text());
    match bad.error {
        RuleError::UnknownCommand => format!("Error in applying operation '{word}': {text}"),
        RuleError::Unmatched => format!("{text} starting at '{word}'"),
        _ => text.to_string(),
    }
}

/// The text of the file that holds `users`.
pub fn compose(users: &Users) -> Vec<u8> {
    let mut text = Vec::new();
    for words in users.lines() {
        text.extend_from_slice(b"user ");
        text.extend(words.join(&b' '));
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    fn parsed(text: &str) -> Result<String, String> {
        let mut users = Users::with_default(&Settings::default());
        parse(text.as_bytes(), "FILE", &mut users)?;
        Ok(String::from_utf8(compose(&users)).unwrap())
    }

    #[test]
    fn users_come_from_the_text_and_go_back_into_it() {
        let default = "user default on nopass ~* &* +@all\n";
        for (text, wanted) in [
            ("", default.to_string()),
            ("\n  user b  on \r\n\n", format!("user b on resetchannels -@all\n{default}")),
            ("user \"b\" on", format!("user \"b\" on resetchannels -@all\n{default}")),
            (
                "user default on nopass +@all (~a +ping)",
                "user default on nopass resetchannels +@all \
              (~a resetchannels -@all +ping)\n"
                    .to_string(),
            ),
        ] {
            assert_eq!(parsed(text).as_ref(), Ok(&wanted), "{text}");
            assert_eq!(parsed(&wanted), Ok(wanted), "what is written is read the same");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        for (text, wanted) in [
            (
                "user a on\nfoo\nuser a off\nuser\n# no comments\nUSER b\n",
                "FILE:2 should start with user keyword followed by the username. \
              WARNING: Duplicate user 'a' found on line 3. \
              FILE:4 should start with user keyword followed by the username. \
              FILE:5 should start with user keyword followed by the username. \
              FILE:6 should start with user keyword followed by the username. ",
            ),
            (
                "user a +foo bad\nuser b bad",
                "FILE:1: Error in applying operation '+foo': \
              Unknown command or category name in ACL. FILE:2: Syntax error. ",
            ),
            (
                "user a on (+ping\n",
                "FILE:1: Unmatched parenthesis in acl selector starting at '(+ping'. ",
            ),
            ("user a\tb on", "FILE:1: username 'a\tb' contains invalid characters. "),
        ] {
            assert_eq!(parsed(text), Err([wanted, NOTHING_CHANGED].concat()), "{text}");
        }
    }
}
