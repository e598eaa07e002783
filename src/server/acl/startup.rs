//! The users of the configuration, looked at before the start: what is wrong with them, and what
//! may be a mistake.
#![forbid(unsafe_code)]

use super::users::Users;
use crate::config::load::{LoadError, Loaded};
use crate::config::settings::Settings;

/// Checks the rules of all `user` lines.
pub fn check(loaded: &Loaded) -> Result<(), LoadError> {
    let users = Users::with_default(&loaded.settings);
    for (words, (line_number, line)) in loaded.settings.users.iter().zip(&loaded.user_lines) {
        let Some((name, rules)) = words.split_first() else { continue };
        if let Err(bad) = users.from_config(name, rules) {
            let (word, text) = (String::from_utf8_lossy(&bad.word), bad.error.text());
            let reason = format!("Error in user declaration '{word}': {text}");
            return Err(LoadError { line_number: *line_number, line: line.clone(), reason });
        }
    }
    Ok(())
}

/// Lines for the log: users of the configuration who cannot log in.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let named = |name: &[u8]| settings.users.iter().any(|words| words[0] == name);
    let users = Users::new(settings);
    let disabled = users.iter().filter(|user| !user.on && named(&user.name));
    disabled
        .map(|user| {
            let name = String::from_utf8_lossy(&user.name);
            format!(
                "The user '{name}' is disabled (there is no 'on' modifier in the user \
                 description). Make sure this is not a configuration error."
            )
        })
        .collect()
}
