//! The `aclfile`: one `user` line after the other, in a file of its own.
#![forbid(unsafe_code)]

use std::fs;

use super::files;
use super::system::reason;
use crate::config::settings::Settings;

const NOTHING_CHANGED: &str =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
const BOTH: &str = "Configuring Sentinel with users defined in the config file and at the same \
    setting an ACL file path is invalid. This setup is very likely to lead to configuration \
    errors and security holes, please define either an ACL file or declare users directly in the \
    config file, but not both.";

/// Puts the users of the `aclfile`, if one is named, into the settings. Errors: the line for the
/// log before the end.
pub fn read(settings: &mut Settings) -> Result<(), String> {
    let Some(path) = &settings.aclfile else { return Ok(()) };
    if !settings.users.is_empty() {
        return Err(BOTH.to_string());
    }
    let name = String::from_utf8_lossy(path);
    let users = fs::read(files::path(path))
        .map_err(|e| format!("Error loading ACLs, opening file '{name}': {}", reason(&e)))
        .and_then(|text| users_of(&text, &name));
    settings.users =
        users.map_err(|why| format!("Aborting Redis startup because of ACL errors: {why}"))?;
    Ok(())
}

/// The words after `user` of each line; blank lines mean nothing. All errors are told at once.
fn users_of(text: &[u8], name: &str) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let mut users: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut errors = String::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let words: Vec<&[u8]> =
            line.trim_ascii().split(|byte| *byte == b' ').filter(|w| !w.is_empty()).collect();
        match words.split_first() {
            None => {}
            Some((first, rest)) if *first == b"user" && !rest.is_empty() => {
                if users.iter().any(|user| user[0] == rest[0]) {
                    let user = String::from_utf8_lossy(rest[0]);
                    let text = format!("WARNING: Duplicate user '{user}' found on line {number}. ");
                    errors.push_str(&text);
                }
                users.push(rest.iter().map(|word| word.to_vec()).collect());
            }
            Some(_) => errors.push_str(&format!(
                "{name}:{number} should start with user keyword followed by the username. "
            )),
        }
    }
    if errors.is_empty() { Ok(users) } else { Err(errors + NOTHING_CHANGED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::TempDir;

    fn read_text(text: &str) -> Result<Settings, String> {
        let dir = TempDir::new("acl");
        let path = dir.path().join("users.acl");
        fs::write(&path, text).unwrap();
        let aclfile = Some(path.to_str().unwrap().as_bytes().to_vec());
        let mut settings = Settings { aclfile, ..Settings::default() };
        let shown = path.display().to_string();
        read(&mut settings).map(|()| settings).map_err(|e| e.replace(&shown, "FILE"))
    }

    #[test]
    fn users_come_from_the_file() {
        let settings = read_text("\nuser default on >pw  +@all\r\n  user bob off\n").unwrap();
        let words = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect();
        let expected: Vec<Vec<Vec<u8>>> =
            vec![words(&["default", "on", ">pw", "+@all"]), words(&["bob", "off"])];
        assert_eq!(settings.users, expected);
    }

    #[test]
    fn refusals() {
        assert_eq!(
            read_text("user a on\nfoo\nuser a off\nuser\n").unwrap_err(),
            format!(
                "Aborting Redis startup because of ACL errors: \
                 FILE:2 should start with user keyword followed by the username. \
                 WARNING: Duplicate user 'a' found on line 3. \
                 FILE:4 should start with user keyword followed by the username. \
                 {NOTHING_CHANGED}"
            )
        );
        let mut settings = Settings {
            aclfile: Some(b"/no/users.acl".to_vec()),
            users: vec![vec![b"bob".to_vec()]],
            ..Settings::default()
        };
        assert_eq!(read(&mut settings), Err(BOTH.to_string()));
        settings.users.clear();
        assert_eq!(
            read(&mut settings).unwrap_err(),
            "Aborting Redis startup because of ACL errors: \
             Error loading ACLs, opening file '/no/users.acl': No such file or directory"
        );
    }
}
