//! CLIENT TRACKING as a state without effect: a sentinel holds no keys, but clients that switch
//! client-side caching on by habit get the answers they expect.
#![forbid(unsafe_code)]

/// Most prefixes a client may name.
const PREFIXES_MAX: usize = 128;
/// Longest prefix.
const PREFIX_MAX_BYTES: usize = 1024;

/// When keys are tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Always,
    OptIn,
    OptOut,
}

/// What a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    on: bool,
    bcast: bool,
    noloop: bool,
    mode: Mode,
    /// CLIENT CACHING was given for the next command.
    caching: bool,
    /// Client id; 0 = none.
    redirect: u64,
    prefixes: Vec<Vec<u8>>,
}

impl Tracking {
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// What CLIENT GETREDIR and the list show: -1 = off, 0 = none.
    pub fn redirect_shown(&self) -> i64 {
        if self.on { self.redirect as i64 } else { -1 }
    }

    /// The words of CLIENT TRACKINGINFO.
    pub fn flag_words(&self) -> Vec<&'static str> {
        if !self.on {
            return vec!["off"];
        }
        let caching = match self.mode {
            _ if !self.caching => None,
            Mode::Always => None,
            Mode::OptIn => Some("caching-yes"),
            Mode::OptOut => Some("caching-no"),
        };
        let words = [
            Some("on"),
            self.bcast.then_some("bcast"),
            (self.mode == Mode::OptIn).then_some("optin"),
            (self.mode == Mode::OptOut).then_some("optout"),
            caching,
            self.noloop.then_some("noloop"),
        ];
        words.into_iter().flatten().collect()
    }

    pub fn prefixes(&self) -> &[Vec<u8>] {
        &self.prefixes
    }

    /// Bytes that it takes in memory, roughly.
    pub fn memory(&self) -> usize {
        self.prefixes.iter().map(|prefix| prefix.len() + size_of::<Vec<u8>>() + 16).sum()
    }

    /// CLIENT CACHING yes|no, `None` being any other word; the error text otherwise.
    pub fn set_caching(&mut self, yes: Option<bool>) -> Result<(), &'static [u8]> {
        match (self.on, self.mode, yes) {
            (false, ..) => Err(b"ERR CLIENT CACHING can be called only \
                when the client is in tracking mode with OPTIN or OPTOUT mode enabled"),
            (_, _, None) => Err(super::call::text::SYNTAX),
            (_, Mode::Always | Mode::OptOut, Some(true)) => {
                Err(b"ERR CLIENT CACHING YES is only valid when tracking is \
                enabled in OPTIN mode.")
            }
            (_, Mode::Always | Mode::OptIn, Some(false)) => {
                Err(b"ERR CLIENT CACHING NO is only valid when tracking is \
                enabled in OPTOUT mode.")
            }
            _ => {
                self.caching = true;
                Ok(())
            }
        }
    }

    /// CLIENT TRACKING with `words` behind TRACKING; `exists` knows client ids.
    pub fn set(&mut self, words: &[Vec<u8>], exists: impl Fn(u64) -> bool) -> Result<(), Refusal> {
        let mut wanted = Tracking { prefixes: self.prefixes.clone(), ..Tracking::default() };
        let (first, options) = words.split_first().ok_or(Refusal::Syntax)?;
        let (mut optin, mut optout) = (false, false);
        let mut prefixes = Vec::new();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            match option.to_ascii_lowercase().as_slice() {
                b"bcast" => wanted.bcast = true,
                b"optin" => optin = true,
                b"optout" => optout = true,
                b"noloop" => wanted.noloop = true,
                b"redirect" => {
                    let id = rest.next().ok_or(Refusal::Syntax)?;
                    let id = crate::util::num::parse_u64(id).ok_or(Refusal::NoNumber)?;
                    if wanted.redirect != 0 {
                        return Err(Refusal::Text(
                            b"ERR A client can only redirect to a single \
                            other client",
                        ));
                    }
                    if !exists(id) {
                        return Err(Refusal::Text(
                            b"ERR The client ID you want redirect to does \
                            not exist",
                        ));
                    }
                    wanted.redirect = id;
                }
                b"prefix" => prefixes.push(rest.next().ok_or(Refusal::Syntax)?),
                _ => return Err(Refusal::Syntax),
            }
        }
        match first.to_ascii_lowercase().as_slice() {
            b"off" => {
                *self = Tracking::default();
                return Ok(());
            }
            b"on" => wanted.on = true,
            _ => return Err(Refusal::Syntax),
        }
        wanted.mode = match (optin, optout) {
            (true, true) => {
                return Err(Refusal::Text(
                    b"ERR You can't specify both OPTIN mode and OPTOUT mode",
                ));
            }
            (true, false) => Mode::OptIn,
            (false, true) => Mode::OptOut,
            (false, false) => Mode::Always,
        };
        self.check_change(&wanted, !prefixes.is_empty())?;
        if prefixes.iter().any(|prefix| prefix.len() > PREFIX_MAX_BYTES) {
            return Err(Refusal::Text(b"ERR Prefixes cannot be longer than 1024 bytes."));
        }
        if self.prefixes.len() + prefixes.len() > PREFIXES_MAX {
            return Err(Refusal::Text(b"ERR A client cannot have more than 128 prefixes."));
        }
        if any_overlap(self.prefixes.iter().chain(prefixes.iter().copied())) {
            for (n, prefix) in prefixes.iter().enumerate() {
                check_overlap(prefix, self.prefixes.iter(), "an existing")?;
                let later = prefixes[n + 1..].iter().copied();
                check_overlap(prefix, later, "another provided")?;
            }
        }
        wanted.prefixes.extend(prefixes.into_iter().cloned());
        *self = wanted;
        Ok(())
    }

    fn check_change(&self, wanted: &Tracking, prefixes: bool) -> Result<(), Refusal> {
        if !wanted.bcast && prefixes {
            return Err(Refusal::Text(b"ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if self.on && self.bcast != wanted.bcast {
            return Err(Refusal::Text(
                b"ERR You can't switch BCAST mode on/off before disabling \
                tracking for this client, and then re-enabling it with a different mode.",
            ));
        }
        if wanted.bcast && wanted.mode != Mode::Always {
            return Err(Refusal::Text(b"ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        let opposite = [self.mode, wanted.mode];
        if self.on && [[Mode::OptIn, Mode::OptOut], [Mode::OptOut, Mode::OptIn]].contains(&opposite)
        {
            return Err(Refusal::Text(
                b"ERR You can't switch OPTIN/OPTOUT mode before disabling \
                tracking for this client, and then re-enabling it with a different mode.",
            ));
        }
        Ok(())
    }
}

/// Whether one begins with another: then it also begins with the one sorted just before it, or that
/// one with the one before.
fn any_overlap<'a>(prefixes: impl Iterator<Item = &'a Vec<u8>>) -> bool {
    let mut sorted: Vec<_> = prefixes.collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[1].starts_with(pair[0]))
}

/// Prefixes of one client must not begin with one another.
fn check_overlap<'a>(
    prefix: &[u8],
    mut others: impl Iterator<Item = &'a Vec<u8>>,
    called: &str,
) -> Result<(), Refusal> {
    let overlaps = |other: &&Vec<u8>| other.starts_with(prefix) || prefix.starts_with(other);
    let Some(other) = others.find(overlaps) else { return Ok(()) };
    let middle = format!("' overlaps with {called} prefix '");
    let end = b"'. Prefixes for a single client must not overlap.";
    let text = [b"ERR Prefix '", prefix, middle.as_bytes(), &other[..], end].concat();
    Err(Refusal::Overlap(text))
}

/// Why CLIENT TRACKING was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    Syntax,
    NoNumber,
    /// The whole error text.
    Text(&'static [u8]),
    /// The whole error text, with words of the request.
    Overlap(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tracking: &mut Tracking, line: &str) -> Result<(), Refusal> {
        let words: Vec<_> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        tracking.set(&words, |id| id == 7)
    }

    #[test]
    fn modes_show_in_the_flags() {
        let mut t = Tracking::default();
        assert_eq!((t.flag_words(), t.redirect_shown()), (vec!["off"], -1));
        assert_eq!(set(&mut t, "ON bcast PREFIX a prefix b redirect 7 noloop"), Ok(()));
        assert_eq!(t.flag_words(), ["on", "bcast", "noloop"]);
        assert_eq!((t.prefixes().len(), t.redirect_shown()), (2, 7));
        assert!(matches!(set(&mut t, "on bcast prefix ab"), Err(Refusal::Overlap(_))));
        assert!(matches!(set(&mut t, "on bcast prefix xy prefix x"), Err(Refusal::Overlap(_))));
        assert!(matches!(set(&mut t, "on optin"), Err(Refusal::Text(_))));
        assert_eq!(set(&mut t, "off"), Ok(()));
        assert_eq!(set(&mut t, "on optin"), Ok(()));
        assert!(t.set_caching(Some(false)).is_err());
        assert_eq!(t.set_caching(Some(true)), Ok(()));
        assert_eq!(t.flag_words(), ["on", "optin", "caching-yes"]);
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut t = Tracking::default();
        for line in ["foo", "on redirect", "on prefix", "on foo"] {
            assert_eq!(set(&mut t, line), Err(Refusal::Syntax), "{line}");
        }
        assert_eq!(set(&mut t, "on redirect x"), Err(Refusal::NoNumber));
        for line in ["on redirect 8", "on prefix a", "on optin optout", "on bcast optin"] {
            assert!(matches!(set(&mut t, line), Err(Refusal::Text(_))), "{line}");
        }
        assert!(!t.is_on());
    }

    #[test]
    fn prefixes_are_few_and_short() {
        let mut t = Tracking::default();
        let line = |names: std::ops::Range<usize>| {
            let prefixes: String = names.map(|n| format!(" prefix {n:03}")).collect();
            format!("on bcast{prefixes}")
        };
        let too_many = Err(Refusal::Text(b"ERR A client cannot have more than 128 prefixes."));
        assert_eq!(set(&mut t, &line(0..129)), too_many);
        assert_eq!(set(&mut t, &line(0..128)), Ok(()));
        assert_eq!(set(&mut t, &line(128..129)), too_many);
        assert_eq!(t.prefixes().len(), 128);
        let mut t = Tracking::default();
        let long = |n: usize| format!("on bcast prefix {}", "x".repeat(n));
        let too_long = Err(Refusal::Text(b"ERR Prefixes cannot be longer than 1024 bytes."));
        assert_eq!(set(&mut t, &long(1025)), too_long);
        assert_eq!(set(&mut t, &long(1024)), Ok(()));
        assert!(t.memory() > 1024);
    }
}
