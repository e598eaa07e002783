//! The title of the process as `ps` shows it: `<argv 0> <first bind or *>:<port> [sentinel]`.
#![forbid(unsafe_code)]

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

/// Writes the title over the command line that the kernel keeps, cut to its room. Going through
/// /proc/self/mem asks the kernel to write, which keeps this within the safe language: the area
/// holds the argument strings, stays within its bounds, and still ends in zero bytes. Where that
/// is forbidden the title stays as it was.
pub fn set(title: &[u8]) {
    let Some((start, end)) = argument_area() else { return };
    let room = (end - start) as usize;
    if room < 2 {
        return;
    }
    let mut area = title[..title.len().min(room - 1)].to_vec();
    area.resize(room, 0);
    if let Ok(memory) = File::options().write(true).open("/proc/self/mem") {
        let _ = memory.write_all_at(&area, start);
    }
}

/// Where the argument strings lie: fields 48 and 49 of /proc/self/stat.
fn argument_area() -> Option<(u64, u64)> {
    let stat = fs::read("/proc/self/stat").ok()?;
    // The second field is a name in brackets that may hold anything.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 2;
    let fields: Vec<&str> = std::str::from_utf8(&stat[after_name..]).ok()?.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    let (start, end) = (field(48)?, field(49)?);
    (start != 0 && end > start && end - start < 1 << 20).then_some((start, end))
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
