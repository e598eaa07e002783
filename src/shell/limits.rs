//! The limit of open descriptors (spec/config.md, last paragraph; design: links before clients).
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::load::Loaded;

/// Listeners, the log, epoll, a file being saved, lookups.
const OWN_DESCRIPTORS: u64 = 64;
/// Two connections to a master and to each of two replicas.
const PER_MASTER: u64 = 6;
/// Masters that are added later need descriptors too; asking for no more than this keeps what
/// scripts inherit within reason.
const SOFT_LIMIT_GOAL: u64 = 65_536;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Enough,
    /// So many clients fit; lines for the log.
    Lowered {
        maxclients: u32,
        lines: Vec<String>,
    },
    /// Not even the links fit; the line for the log.
    Impossible(String),
}

/// Descriptors for everything but clients.
fn reserved(loaded: &Loaded) -> u64 {
    let masters = &loaded.sentinel.masters;
    let peers: usize = masters.iter().map(|m| m.peers.len()).max().unwrap_or(0);
    PER_MASTER * masters.len() as u64 + peers as u64 + OWN_DESCRIPTORS
}

/// Raises the limit as far as needed and allowed, and says how many clients fit.
pub fn raise(loaded: &Loaded) -> Outcome {
    let reserved = reserved(loaded);
    let maxclients = loaded.settings.maxclients;
    let wanted = u64::from(maxclients) + reserved;
    let (mut soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let mut failed = None;
    if hard < wanted {
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted) {
            Ok(()) => return Outcome::Enough,
            Err(e) => failed = Some(e),
        }
    }
    let goal = hard.min(wanted.max(SOFT_LIMIT_GOAL));
    if soft < goal {
        match setrlimit(Resource::RLIMIT_NOFILE, goal, hard) {
            Ok(()) => soft = goal,
            Err(e) => failed = Some(e),
        }
    }
    judge(soft, maxclients, reserved, failed.unwrap_or(Errno::EPERM))
}

fn judge(limit: u64, maxclients: u32, reserved: u64, failed: Errno) -> Outcome {
    let wanted = u64::from(maxclients) + reserved;
    if limit >= wanted {
        return Outcome::Enough;
    }
    let fits = limit.saturating_sub(reserved);
    if fits == 0 {
        return Outcome::Impossible(format!(
            "Your current 'ulimit -n' of {limit} is not enough for the server to start. \
             Please increase your open file limit to at least {wanted}. Exiting."
        ));
    }
    let lines = vec![
        format!(
            "You requested maxclients of {maxclients} requiring at least {wanted} max file \
             descriptors."
        ),
        format!(
            "Server can't set maximum open files to {wanted} because of OS error: {}.",
            failed.desc()
        ),
        format!(
            "Current maximum open files is {limit}. maxclients has been reduced to {fits} to \
             compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
        ),
    ];
    // `fits` is less than `maxclients` here.
    Outcome::Lowered { maxclients: fits as u32, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_give_way_to_links() {
        assert_eq!(judge(10_064, 10_000, 64, Errno::EPERM), Outcome::Enough);
        let Outcome::Lowered { maxclients, lines } = judge(500, 10_000, 76, Errno::EPERM) else {
            panic!()
        };
        assert_eq!(maxclients, 424);
        assert_eq!(
            lines[1..],
            [
                "Server can't set maximum open files to 10076 because of OS error: Operation not \
                 permitted.",
                "Current maximum open files is 500. maxclients has been reduced to 424 to \
                 compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
            ]
        );
        let Outcome::Impossible(line) = judge(60, 10_000, 64, Errno::EPERM) else { panic!() };
        assert!(line.contains("of 60 is not enough"), "{line}");
        assert!(line.contains("at least 10064. Exiting."), "{line}");
    }
}
