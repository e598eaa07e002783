//! The `aclfile` at the start.
#![forbid(unsafe_code)]

use super::disk;
use crate::config::settings::Settings;
use crate::server::acl::file;
use crate::server::acl::users::Users;

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
    let mut users = Users::with_default(settings);
    disk::read(path)
        .map_err(|reason| format!("Error loading ACLs, opening file '{name}': {reason}"))
        .and_then(|text| file::parse(&text, &name, &mut users))
        .map_err(|why| format!("Aborting Redis startup because of ACL errors: {why}"))?;
    settings.users = users.lines();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let settings = read_text("\nuser bob off\r\n  user default on  nopass +@all\n").unwrap();
        let shown: Vec<_> = settings.users.iter().map(|words| words.join(&b' ')).collect();
        let bob: &[u8] = b"bob off resetchannels -@all";
        assert_eq!(shown, [bob, b"default on nopass resetchannels +@all"]);
    }

    #[test]
    fn refusals() {
        let refused = read_text("user a on\nfoo\nuser b bad\n").unwrap_err();
        let head = "Aborting Redis startup because of ACL errors: FILE:2 should start with user \
            keyword followed by the username. FILE:3: Syntax error. ";
        assert!(refused.starts_with(head), "{refused}");
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
