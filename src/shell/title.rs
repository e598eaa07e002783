//! The title of the process as `ps` shows it: `<argv 0> <first bind or *>:<port> [sentinel]`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::config::settings::Settings;

/// Fills the template of the `proc-title-template` directive.
pub fn text(settings: &Settings, program: &[u8], config_file: &[u8]) -> Vec<u8> {
    let host = match settings.bind.first() {
        Some(bind) => bind.host.clone(),
        None => b"*".to_vec(),
    };
    let listen = match (settings.port, &settings.unixsocket) {
        (0, Some(path)) => path.clone(),
        (port, _) => [&host, format!(":{port}").as_bytes()].concat(),
    };
    let unix = settings.unixsocket.clone().unwrap_or_default();
    let port = settings.port.to_string().into_bytes();
    let fields: [(&[u8], &[u8]); 7] = [
        (b"{title}", program),
        (b"{listen-addr}", &listen),
        (b"{server-mode}", b"[sentinel]"),
        (b"{port}", &port),
        (b"{tls-port}", b"0"),
        (b"{unixsocket}", &unix),
        (b"{config-file}", config_file),
    ];
    let mut rest = settings.proc_title_template.as_slice();
    let mut text = Vec::new();
    while let Some(&byte) = rest.first() {
        match fields.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                text.extend_from_slice(value);
                rest = &rest[name.len()..];
            }
            None => {
                text.push(byte);
                rest = &rest[1..];
            }
        }
    }
    text.trim_ascii().to_vec()
}

/// Where the kernel finds the command line of this process, and behind it the environment.
#[derive(Clone, Copy, Debug)]
struct Area {
    start: u64,
    args_end: u64,
    env_start: u64,
    env_end: u64,
}

/// Writes the title over the command line that the kernel keeps. One that is too long for it goes
/// on over the environment, which is moved away before: so this is for a process that has one
/// thread. Where writing is forbidden the title stays as it was.
///
/// Going through /proc/self/mem has the kernel do the writing. The bytes written lie between the
/// first argument and the end of the environment and end in a zero, so whoever still has a pointer
/// to one of these strings finds a string.
pub fn set(title: &[u8]) {
    let Some(area) = argument_area() else { return };
    let mut text = title.to_vec();
    let mut room = area.args_end - area.start;
    if text.len() as u64 >= room {
        if area.env_start != area.args_end {
            return;
        }
        move_environment();
        room = area.env_end - area.start;
        text.truncate(room as usize - 1);
        text.push(0);
    } else {
        // A zero at the very end tells the kernel that there is nothing behind it.
        text.resize(room as usize, 0);
    }
    if let Ok(memory) = File::options().write(true).open("/proc/self/mem") {
        let _ = memory.write_all_at(&text, area.start);
    }
}

/// Sets each variable to what it is, which gives it memory of its own.
fn move_environment() {
    let variables: Vec<_> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Fields 48 to 51 of /proc/self/stat.
fn argument_area() -> Option<Area> {
    let stat = fs::read("/proc/self/stat").ok()?;
    // The second field is a name in brackets that may hold anything.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 2;
    let fields: Vec<&str> = std::str::from_utf8(&stat[after_name..]).ok()?.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    let (start, args_end) = (field(48)?, field(49)?);
    let (env_start, env_end) = (field(50)?, field(51)?);
    let sound = start != 0 && start < args_end && args_end <= env_start && env_start <= env_end;
    // Far above what the kernel lets a command line be.
    let sound = sound && env_end - start < 1 << 24;
    sound.then_some(Area { start, args_end, env_start, env_end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let mut settings = Settings::default();
        assert_eq!(text(&settings, b"sentineld", b"/c"), b"sentineld *:26379 [sentinel]");
        settings.port = 0;
        settings.unixsocket = Some(b"/run/s".to_vec());
        assert_eq!(text(&settings, b"x", b"/c"), b"x /run/s [sentinel]");
        settings.proc_title_template = b"a{port}{b} {title} {config-file}".to_vec();
        assert_eq!(text(&settings, b"x", b"/c"), b"a0{b} x /c");
    }
}
