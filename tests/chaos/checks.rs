//! What must hold whatever happens, read from the logs and the config files of all sentinels.
//!
//! It is asked of sentinels of ours; where a `redis-sentinel` breaks a rule that is only told.

use std::collections::{BTreeMap, BTreeSet};

/// The log of one sentinel over all its lives.
pub struct Journal<'a> {
    pub sentinel: usize,
    pub ours: bool,
    pub id: &'a str,
    pub log: &'a str,
}

/// A config file as it was at a moment; in order of time for each sentinel.
pub struct Copy {
    pub sentinel: usize,
    pub ours: bool,
    pub text: String,
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// Rules that were broken by ours.
    pub problems: Vec<String>,
    /// The same by `redis-sentinel`.
    pub oddities: Vec<String>,
    /// How many votes were looked at.
    pub votes: usize,
    /// How many elections were won.
    pub elections: usize,
    /// How many promotions were seen through.
    pub failovers: usize,
    /// How often tilt was entered.
    pub tilts: usize,
}

impl Findings {
    fn add(&mut self, ours: bool, what: String) {
        if ours { self.problems.push(what) } else { self.oddities.push(what) }
    }
}

/// One line of a log: its first word and the rest.
fn lines(log: &str) -> impl Iterator<Item = (&str, &str)> {
    log.lines().filter_map(|line| {
        // `pid:X DD Mon YYYY HH:MM:SS.mmm sign text`
        let text = line.splitn(7, ' ').nth(6)?;
        Some(text.split_once(' ').unwrap_or((text, "")))
    })
}

/// Run id and epoch at the end of a vote's line.
fn vote_of(text: &str) -> Option<(String, u64)> {
    let (leader, epoch) = text.split_once(' ')?;
    Some((leader.to_string(), epoch.parse().ok()?))
}

/// (voter, epoch) → whom it voted for, by its own log and by the logs of those it answered.
type Votes = BTreeMap<(String, u64), BTreeSet<String>>;

/// Looks through all logs of a group in which `majority` sentinels may elect.
pub fn judge_logs(journals: &[Journal], majority: usize) -> Findings {
    let mut findings = Findings::default();
    let votes = all_votes(journals);
    findings.votes = votes.len();
    let is_ours = |id: &str| journals.iter().any(|journal| journal.ours && journal.id == id);
    for ((voter, epoch), leaders) in &votes {
        if leaders.len() > 1 {
            let what = format!("{voter} voted in epoch {epoch} for {leaders:?}");
            findings.add(is_ours(voter), what);
        }
    }
    let mut leaders: BTreeMap<u64, &str> = BTreeMap::new();
    for journal in journals {
        judge_order(journal, &mut findings);
        for epoch in elections(journal, &mut findings) {
            findings.elections += 1;
            let first = *leaders.entry(epoch).or_insert(journal.id);
            if first != journal.id {
                let what = format!("two leaders in epoch {epoch}: {first} and {}", journal.id);
                findings.add(journal.ours || is_ours(first), what);
            }
            let given =
                votes.iter().filter(|((_, of), to)| *of == epoch && to.contains(journal.id));
            let given = given.count();
            if given < majority {
                let what = format!("{} leads epoch {epoch} with {given} votes", journal.id);
                findings.add(journal.ours, what);
            }
        }
    }
    findings
}

fn all_votes(journals: &[Journal]) -> Votes {
    let mut votes = Votes::new();
    for journal in journals {
        for (word, text) in lines(journal.log) {
            let vote = match word {
                "+vote-for-leader" => vote_of(text).map(|vote| (journal.id, vote)),
                peer => text.strip_prefix("voted for ").and_then(vote_of).map(|vote| (peer, vote)),
            };
            if let Some((voter, (leader, epoch))) = vote {
                votes.entry((voter.to_string(), epoch)).or_default().insert(leader);
            }
        }
    }
    votes
}

/// Epochs of one sentinel only grow, over restarts too, and in tilt it does not act.
fn judge_order(journal: &Journal, findings: &mut Findings) {
    let (mut voted, mut epoch, mut tilt) = (0, 0, false);
    let who = journal.sentinel;
    for (word, text) in lines(journal.log) {
        match word {
            // An epoch in which it had not yet voted may not have been saved.
            "oO0OoO0OoO0Oo" => (tilt, epoch) = (false, voted),
            "+tilt" => {
                tilt = true;
                findings.tilts += 1;
            }
            "-tilt" => tilt = false,
            "+promoted-slave" => findings.failovers += 1,
            "+vote-for-leader" => {
                let next = vote_of(text).map_or(0, |vote| vote.1);
                if next <= voted {
                    let what = format!("sentinel {who} votes in epoch {next} after {voted}");
                    findings.add(journal.ours, what);
                }
                voted = next;
            }
            "+new-epoch" => {
                let next = text.parse().unwrap_or(0);
                if next <= epoch {
                    let what = format!("sentinel {who} goes to epoch {next} after {epoch}");
                    findings.add(journal.ours, what);
                }
                epoch = next;
            }
            _ => {}
        }
        let acts = ["+sdown", "+odown", "+try-failover", "+elected-leader", "+selected-slave"];
        if tilt && acts.contains(&word) {
            findings.add(journal.ours, format!("sentinel {who} in tilt: {word} {text}"));
        }
    }
}

/// The epochs of the elections that a sentinel won.
fn elections(journal: &Journal, findings: &mut Findings) -> Vec<u64> {
    let (mut epoch, mut attempt, mut own_votes) = (0, None, BTreeSet::new());
    let mut won = Vec::new();
    for (word, text) in lines(journal.log) {
        match word {
            "oO0OoO0OoO0Oo" => attempt = None,
            "+new-epoch" => epoch = text.parse().unwrap_or(0),
            "+try-failover" => attempt = Some(epoch),
            "+vote-for-leader" => {
                let own = vote_of(text).filter(|vote| vote.0 == journal.id);
                own_votes.extend(own.map(|vote| vote.1));
            }
            "+elected-leader" => match attempt.take() {
                Some(epoch) => {
                    if !own_votes.contains(&epoch) {
                        let what = format!("{} leads epoch {epoch} without its vote", journal.id);
                        findings.add(journal.ours, what);
                    }
                    won.push(epoch);
                }
                None => {
                    let what = format!("{} is elected without an attempt", journal.id);
                    findings.add(journal.ours, what);
                }
            },
            _ => {}
        }
    }
    won
}

/// The state in a config file that only ever grows, and the address of the highest config epoch.
#[derive(Debug, Default, Clone, PartialEq)]
struct FileState {
    id: String,
    current_epoch: u64,
    config_epoch: u64,
    leader_epoch: u64,
    address: String,
}

fn file_state(text: &str) -> FileState {
    let mut state = FileState::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = || words.last().and_then(|word| word.parse().ok()).unwrap_or(0);
        match words.get(1).copied().filter(|_| words[0] == "sentinel") {
            Some("myid") => state.id = words[2].to_string(),
            Some("current-epoch") => state.current_epoch = number(),
            Some("config-epoch") => state.config_epoch = number(),
            Some("leader-epoch") => state.leader_epoch = number(),
            Some("monitor") => state.address = words[3..5].join(":"),
            _ => {}
        }
    }
    state
}

/// Looks through copies of config files: state never goes back, and all files with one config
/// epoch name one address.
pub fn judge_files(copies: &[Copy]) -> Findings {
    let mut findings = Findings::default();
    let mut last: BTreeMap<usize, FileState> = BTreeMap::new();
    let mut addresses: BTreeMap<u64, String> = BTreeMap::new();
    for copy in copies {
        let state = file_state(&copy.text);
        if let Some(old) = last.get(&copy.sentinel) {
            let back = state.current_epoch < old.current_epoch
                || state.config_epoch < old.config_epoch
                || state.leader_epoch < old.leader_epoch
                || (!old.id.is_empty() && state.id != old.id);
            if back {
                let what = format!("the file of {} went from {old:?} to {state:?}", copy.sentinel);
                findings.add(copy.ours, what);
            }
        }
        if state.config_epoch > 0 {
            let first = addresses.entry(state.config_epoch).or_insert(state.address.clone());
            if *first != state.address {
                let epoch = state.config_epoch;
                let what = format!("config epoch {epoch} is for {first} and {}", state.address);
                findings.add(copy.ours, what);
            }
        }
        last.insert(copy.sentinel, state);
    }
    findings
}

/// Whether all votes of a sentinel that was killed, as its log tells them, are in its file.
pub fn judge_death(sentinel: usize, log: &str, file: &str) -> Result<(), String> {
    let votes = lines(log).filter(|(word, _)| *word == "+vote-for-leader");
    let voted = votes.filter_map(|(_, text)| vote_of(text)).map(|vote| vote.1).max().unwrap_or(0);
    let state = file_state(file);
    if voted > state.leader_epoch || voted > state.current_epoch {
        return Err(format!("sentinel {sentinel} voted in epoch {voted}, its file has {state:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn log(texts: &[String]) -> String {
        let line = |text: &String| format!("7:X 22 Nov 2026 07:53:49.401 # {text}\n");
        texts.iter().map(line).collect()
    }

    fn vote(leader: &str, epoch: u64) -> String {
        format!("+vote-for-leader {leader} {epoch}")
    }

    /// Judges the logs of A, B and C.
    fn judge(texts: [&[String]; 3]) -> Findings {
        let logs = texts.map(log);
        let ids = [A, B, C];
        let journal = |index: usize| Journal {
            sentinel: index,
            ours: true,
            id: ids[index],
            log: &logs[index],
        };
        judge_logs(&[0, 1, 2].map(journal), 2)
    }

    /// What a candidate logs that wins an election.
    fn winner(id: &str, epoch: u64) -> Vec<String> {
        let new = format!("+new-epoch {epoch}");
        [&new, "+try-failover master m", &vote(id, epoch), "+elected-leader master m"]
            .map(|text: &str| text.to_string())
            .into()
    }

    #[track_caller]
    fn assert_found(findings: &Findings, part: &str) {
        assert!(findings.problems.iter().any(|found| found.contains(part)), "{findings:?}");
    }

    #[test]
    fn a_clean_election_is_no_problem() {
        let findings = judge([&winner(A, 1), &[vote(A, 1)], &[]]);
        let wanted = Findings { votes: 2, elections: 1, ..Findings::default() };
        assert_eq!(findings, wanted);
    }

    #[test]
    fn two_votes_in_an_epoch_are_found() {
        let findings = judge([&[], &[vote(A, 1), vote(C, 1)], &[]]);
        assert_found(&findings, "voted in epoch 1 for");
        assert_found(&findings, "votes in epoch 1 after 1");
        // Told to another than what its own log says.
        let findings = judge([&[format!("{B} voted for {A} 1")], &[vote(C, 1)], &[]]);
        assert_found(&findings, "voted in epoch 1 for");
    }

    #[test]
    fn two_leaders_and_lone_leaders_are_found() {
        let findings = judge([&winner(A, 1), &[vote(A, 1)], &winner(C, 1)]);
        assert_found(&findings, "two leaders in epoch 1");
        assert_found(&findings, "with 1 votes");
        let mut texts = winner(A, 1);
        texts.remove(2);
        let findings = judge([&texts, &[vote(A, 1)], &[vote(A, 1)]]);
        assert_found(&findings, "without its vote");
    }

    #[test]
    fn steps_back_and_acts_in_tilt_are_found() {
        let texts = ["+new-epoch 3", "+new-epoch 3"].map(String::from);
        assert_found(&judge([&texts, &[], &[]]), "to epoch 3 after 3");
        let texts = [vote(B, 3), "oO0OoO0OoO0Oo sentineld".into(), "+new-epoch 3".into()];
        assert_found(&judge([&texts, &[], &[]]), "to epoch 3 after 3");
        let texts = ["+tilt #tilt mode entered", "+odown master m"].map(String::from);
        assert_found(&judge([&texts, &[], &[]]), "in tilt: +odown");
        let texts = ["+tilt #", "oO0OoO0OoO0Oo sentineld", "+odown master m"].map(String::from);
        assert_eq!(judge([&texts, &[], &[]]).problems, Vec::<String>::new());
    }

    fn file(id: &str, epochs: [u64; 3], address: &str) -> String {
        let [current, config, leader] = epochs;
        format!(
            "sentinel monitor m {address} 2\nsentinel myid {id}\n\
             sentinel current-epoch {current}\nsentinel config-epoch m {config}\n\
             sentinel leader-epoch m {leader}\n"
        )
    }

    #[test]
    fn files_that_go_back_or_disagree_are_found() {
        let copy = |sentinel, text| Copy { sentinel, ours: true, text };
        let (old, new) = (file(A, [2, 1, 2], "h 1"), file(A, [3, 3, 3], "h 2"));
        let forth = [copy(0, old.clone()), copy(0, new.clone()), copy(1, file(B, [3; 3], "h 2"))];
        assert_eq!(judge_files(&forth), Findings::default());
        assert_found(&judge_files(&[copy(0, new.clone()), copy(0, old)]), "went from");
        assert_found(&judge_files(&[copy(0, new), copy(1, file(B, [3; 3], "h 1"))]), "is for");
    }

    #[test]
    fn a_vote_that_was_not_saved_is_found() {
        let log = log(&[vote(B, 4)]);
        assert_eq!(judge_death(0, &log, &file(A, [4, 0, 4], "h 1")), Ok(()));
        assert!(judge_death(0, &log, &file(A, [4, 0, 3], "h 1")).is_err());
    }
}
