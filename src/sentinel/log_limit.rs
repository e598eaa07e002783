//! Limits on log lines that others can cause: clients, data nodes, peers, a full disk.
//!
//! Each kind of line has a window of time in which so many are written; those above are held back
//! and counted, and the end of the window tells how many there were. So a flood costs a bounded
//! number of bytes, and nobody who reads the log is left to believe that it ended. Events are never
//! held back: programs follow them in the log.
#![forbid(unsafe_code)]

use super::action::{Action, Cx, LogLevel};
use crate::util::time::Mono;

/// Kinds of lines that somebody else can cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    Saved,
    SaveFailed,
    VoteNotSaved,
    AclFileNotSaved,
    UnresolvedHost,
    PeerVote,
    FailoverDelay,
    ForcedFailover,
    FailureSimulation,
    SameInstance,
    AddressTaken,
    LinkRefused,
    LinkAccepted,
    LinkDetail,
    Loading,
    EpochRefused,
    OwnAddress,
    TwoAddresses,
    ScriptNotStarted,
    HttpRequest,
    QueryTooLong,
    OutputTooLong,
    AcceptFailed,
    Accepted,
    ClientClosed,
    ClientIdle,
    ClientEvicted,
    ProtocolError,
}

/// What a kind of line may use.
struct Allowance {
    level: LogLevel,
    /// How the lines begin: what the count of those held back speaks of.
    name: &'static str,
    lines: u64,
    window_ms: u64,
}

const WINDOW_MS: u64 = 10_000;
/// Of lines that nobody needs twice.
const FEW: u64 = 20;
/// Of lines that hundreds of masters may have reason for at the same time.
const MANY: u64 = 200;
/// Of lines about single clients, for operators who asked for each: a bound all the same.
const VERBOSE: u64 = 5_000;

impl LineKind {
    /// Every kind, in the order of their discriminants.
    const ALL: [LineKind; 28] = {
        use LineKind::*;
        [
            Saved,
            SaveFailed,
            VoteNotSaved,
            AclFileNotSaved,
            UnresolvedHost,
            PeerVote,
            FailoverDelay,
            ForcedFailover,
            FailureSimulation,
            SameInstance,
            AddressTaken,
            LinkRefused,
            LinkAccepted,
            LinkDetail,
            Loading,
            EpochRefused,
            OwnAddress,
            TwoAddresses,
            ScriptNotStarted,
            HttpRequest,
            QueryTooLong,
            OutputTooLong,
            AcceptFailed,
            Accepted,
            ClientClosed,
            ClientIdle,
            ClientEvicted,
            ProtocolError,
        ]
    };

    fn allowance(self) -> Allowance {
        use LogLevel::{Notice, Verbose, Warning};
        let (level, lines, name) = match self {
            LineKind::Saved => (Notice, MANY, "Sentinel new configuration saved on disk"),
            LineKind::SaveFailed => {
                (Warning, FEW, "Sentinel was not able to save the configuration")
            }
            LineKind::VoteNotSaved => (Warning, FEW, "Votes that could not be saved"),
            LineKind::AclFileNotSaved => (Warning, FEW, "The ACL file could not be saved"),
            LineKind::UnresolvedHost => (Warning, FEW, "Failed to resolve hostname"),
            LineKind::PeerVote => (Notice, MANY, "Votes of other Sentinels"),
            LineKind::FailoverDelay => (Notice, MANY, "Next failover delay"),
            LineKind::ForcedFailover => (Notice, MANY, "Executing user requested FAILOVER"),
            LineKind::FailureSimulation => (Warning, FEW, "Failure simulation"),
            LineKind::SameInstance => (Notice, FEW, "Two entries for one instance"),
            LineKind::AddressTaken => (Warning, FEW, "Host names that lead to another instance"),
            LineKind::LinkRefused => (Warning, MANY, "Commands refused by instances"),
            LineKind::LinkAccepted => (Notice, MANY, "Commands no longer refused by instances"),
            LineKind::LinkDetail => (Verbose, VERBOSE, "Less needed commands refused by instances"),
            LineKind::Loading => (Notice, MANY, "Instances that load their data"),
            LineKind::EpochRefused => (Warning, 1, "Epochs that are not accepted"),
            LineKind::OwnAddress => (Warning, 1, "Hellos with this sentinel's own address"),
            LineKind::TwoAddresses => (Warning, MANY, "Config epochs with two addresses"),
            LineKind::ScriptNotStarted => (Warning, FEW, "Can't fork for a script"),
            LineKind::HttpRequest => (Warning, 1, "Possible SECURITY ATTACK"),
            LineKind::QueryTooLong => (Warning, FEW, "Clients over the query buffer limit"),
            LineKind::OutputTooLong => (Warning, FEW, "Clients over the output buffer limit"),
            LineKind::AcceptFailed => (Warning, 3, "Accepting client connection"),
            LineKind::Accepted => (Verbose, VERBOSE, "Accepted"),
            LineKind::ClientClosed => (Verbose, VERBOSE, "Client closed connection"),
            LineKind::ClientIdle => (Verbose, VERBOSE, "Closing idle client"),
            LineKind::ClientEvicted => (Notice, FEW, "Evicting client"),
            LineKind::ProtocolError => (Verbose, VERBOSE, "Protocol error"),
        };
        let window_ms = match self {
            LineKind::HttpRequest | LineKind::EpochRefused | LineKind::OwnAddress => 6 * WINDOW_MS,
            _ => WINDOW_MS,
        };
        Allowance { level, name, lines, window_ms }
    }
}

/// A kind's present window; it begins with the first line after the last one.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<Mono>,
    written: u64,
    held_back: u64,
}

/// The windows of all kinds.
#[derive(Clone, Debug, Default)]
pub struct LogLimits {
    windows: [Window; LineKind::ALL.len()],
}

impl LogLimits {
    /// Whether a line of this kind may be written now; if not, it is counted.
    pub fn admit(&mut self, now: Mono, kind: LineKind) -> bool {
        let (window, allowance) = (&mut self.windows[kind as usize], kind.allowance());
        let since = *window.since.get_or_insert(now);
        if window.held_back == 0 && now.since(since) >= allowance.window_ms {
            *window = Window { since: Some(now), ..Window::default() };
        }
        let admitted = window.written < allowance.lines;
        window.written += u64::from(admitted);
        window.held_back += u64::from(!admitted);
        admitted
    }

    /// Ends the windows whose time is over: a line for each that held something back.
    pub fn take_due(&mut self, now: Mono) -> Vec<(LogLevel, String)> {
        self.take(now, |kind, since| now.since(since) >= kind.allowance().window_ms)
    }

    /// Ends all windows, before the process does.
    pub fn take_all(&mut self, now: Mono) -> Vec<(LogLevel, String)> {
        self.take(now, |_, _| true)
    }

    fn take(
        &mut self,
        now: Mono,
        is_over: impl Fn(LineKind, Mono) -> bool,
    ) -> Vec<(LogLevel, String)> {
        let mut lines = Vec::new();
        for (kind, window) in LineKind::ALL.into_iter().zip(&mut self.windows) {
            let Some(since) = window.since.filter(|since| is_over(kind, *since)) else { continue };
            let Window { held_back, .. } = std::mem::take(window);
            if held_back > 0 {
                let Allowance { level, name, .. } = kind.allowance();
                let lines_were = if held_back == 1 { "line was" } else { "lines were" };
                let span_s = (now.since(since) + 500) / 1000;
                let text = format!(
                    "{name}: {held_back} similar {lines_were} held back in the last {span_s} s"
                );
                lines.push((level, text));
            }
        }
        lines
    }
}

impl Cx<'_> {
    /// Appends a log line that somebody else can cause, unless there were too many of its kind.
    pub fn log_limited<T: Into<Vec<u8>>>(&mut self, kind: LineKind, text: impl FnOnce() -> T) {
        if self.log_limits.admit(self.now, kind) {
            self.log(kind.allowance().level, text());
        }
    }

    /// Appends what there is to say of lines held back; to be called again and again.
    pub fn log_held_back(&mut self) {
        for (level, text) in self.log_limits.take_due(self.now) {
            self.log(level, text);
        }
    }

    /// Ends the process when all that was asked for so far is done.
    pub fn exit(&mut self, code: i32, clean: bool) {
        for (level, text) in self.log_limits.take_all(self.now) {
            self.log(level, text);
        }
        self.act(Action::Exit { code, clean });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers so many lines at a moment; gives how many were admitted.
    fn offer(limits: &mut LogLimits, now: u64, kind: LineKind, count: u64) -> u64 {
        (0..count).filter(|_| limits.admit(Mono(now), kind)).count() as u64
    }

    fn due(limits: &mut LogLimits, now: u64) -> Vec<String> {
        limits.take_due(Mono(now)).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn kinds_stand_where_their_numbers_say() {
        for (place, kind) in LineKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{kind:?}");
            let Allowance { level, lines, .. } = kind.allowance();
            // What is written by default has narrow bounds.
            assert!(lines <= if level == LogLevel::Verbose { VERBOSE } else { MANY }, "{kind:?}");
        }
    }

    #[test]
    fn floods_are_held_back_and_counted() {
        let mut limits = LogLimits::default();
        let kind = LineKind::UnresolvedHost;
        assert_eq!(offer(&mut limits, 1_000, kind, 15), 15);
        assert_eq!(offer(&mut limits, 4_000, kind, 1_000), 5);
        // Each kind for itself.
        assert_eq!(offer(&mut limits, 4_000, LineKind::SaveFailed, 21), 20);
        assert_eq!(due(&mut limits, 10_999), [""; 0]);
        let text = "Failed to resolve hostname: 995 similar lines were held back in the last 10 s";
        assert_eq!(due(&mut limits, 11_000), [text]);
        // The flood goes on in a window of its own, which ends although no further line comes.
        assert_eq!(offer(&mut limits, 12_000, kind, 100), 20);
        let text = "Sentinel was not able to save the configuration: \
                    1 similar line was held back in the last 10 s";
        assert_eq!(due(&mut limits, 14_100), [text]);
        let text = "Failed to resolve hostname: 80 similar lines were held back in the last 60 s";
        assert_eq!(due(&mut limits, 72_000), [text]);
    }

    #[test]
    fn quiet_windows_end_without_a_word() {
        let mut limits = LogLimits::default();
        for second in 0..1_000 {
            assert_eq!(offer(&mut limits, second * 1_000, LineKind::UnresolvedHost, 2), 2);
            assert_eq!(due(&mut limits, second * 1_000 + 500), [""; 0]);
        }
    }

    #[test]
    fn the_end_of_the_process_tells_all() {
        let mut limits = LogLimits::default();
        offer(&mut limits, 0, LineKind::HttpRequest, 3);
        offer(&mut limits, 0, LineKind::Accepted, VERBOSE + 1);
        let all = limits.take_all(Mono(1_500));
        let http = "Possible SECURITY ATTACK: 2 similar lines were held back in the last 2 s";
        let accepted = "Accepted: 1 similar line was held back in the last 2 s";
        let wanted = [(LogLevel::Warning, http), (LogLevel::Verbose, accepted)];
        assert_eq!(all, wanted.map(|(level, text)| (level, text.to_string())));
        assert_eq!(limits.take_all(Mono(1_500)), []);
    }
}
