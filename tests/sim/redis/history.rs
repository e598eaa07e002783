//! The history of a data set: how far it went, and under which names.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

/// What a replica may have missed and still catch up with.
const BACKLOG_BYTES: u64 = 1024 * 1024;

/// 40 digits: of a process, or of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id([u8; 40]);

impl Id {
    pub const ZERO: Id = Id([b'0'; 40]);

    pub fn random(rng: &mut Rng) -> Id {
        let mut digits = [0; 40];
        for part in digits.chunks_mut(16) {
            let mut bits = rng.next_u64();
            for digit in part {
                *digit = b"0123456789abcdef"[(bits & 15) as usize];
                bits >>= 4;
            }
        }
        Id(digits)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `master_replid` and what belongs to it.
#[derive(Clone, Debug)]
pub struct History {
    pub replid: Id,
    /// The name it had up to before `second_offset`; zeros and `None`: none.
    pub replid2: Id,
    pub second_offset: Option<u64>,
    pub offset: u64,
    /// The first byte that is kept for replicas; `None`: nothing is kept, for there were none.
    pub first_kept: Option<u64>,
    /// The stream's next command names its database.
    pub selects: bool,
}

impl History {
    pub fn new(replid: Id) -> History {
        History {
            replid,
            replid2: Id::ZERO,
            second_offset: None,
            offset: 0,
            first_kept: None,
            selects: true,
        }
    }

    /// From now on bytes are kept for replicas. What went before nobody has: a new name.
    pub fn keep(&mut self, rng: &mut Rng) {
        if self.first_kept.is_none() {
            *self = History { offset: self.offset, ..History::new(Id::random(rng)) };
            self.first_kept = Some(self.offset + 1);
        }
    }

    /// How many bytes are kept.
    pub fn kept_bytes(&self) -> u64 {
        self.first_kept.map_or(0, |first| self.offset + 1 - first)
    }

    /// Further bytes of the stream, if anybody may want them.
    pub fn grow(&mut self, bytes: u64) {
        if let Some(first) = &mut self.first_kept {
            self.offset += bytes;
            *first = (*first).max((self.offset + 1).saturating_sub(BACKLOG_BYTES));
        }
    }

    /// A command of that many words and bytes in them goes into the stream.
    pub fn command(&mut self, words: &[&[u8]]) {
        if self.first_kept.is_none() {
            return;
        }
        // *2 $6 SELECT $1 0
        let select = if std::mem::take(&mut self.selects) { 23 } else { 0 };
        self.grow(select + words_len(words));
    }

    /// Whether a replica that has a history up to an offset can go on from there.
    pub fn continues(&self, replid: Id, offset: u64) -> bool {
        let next = offset + 1;
        let same = replid == self.replid;
        let before = replid == self.replid2 && self.second_offset.is_some_and(|end| next <= end);
        let kept = self.first_kept.is_some_and(|first| next >= first && next <= self.offset + 1);
        (same || before) && kept
    }

    /// A new name, for what is written from here on.
    pub fn rename(&mut self, replid: Id) {
        self.replid2 = self.replid;
        self.second_offset = Some(self.offset + 1);
        self.replid = replid;
    }
}

/// The length of a command as it travels.
fn words_len(words: &[&[u8]]) -> u64 {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let word = |word: &&[u8]| 1 + digits(word.len()) + 2 + word.len() + 2;
    (1 + digits(words.len()) + 2 + words.iter().map(word).sum::<usize>()) as u64
}

#[test]
fn lengths_are_those_of_the_wire() {
    for words in [&[b"PING".as_slice()][..], &[b"PUBLISH", b"ch", &[b'x'; 120]], &[b"", b""]] {
        assert_eq!(words_len(words), crate::wire::request(words).len() as u64);
    }
    assert_eq!(words_len(&[b"SELECT", b"0"]), 23);
}
