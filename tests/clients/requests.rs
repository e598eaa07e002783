//! Requests out of a stream of bytes: arrays of bulk strings, and inline commands.

/// What was read of a request so far.
#[derive(Debug, Default)]
pub struct Requests {
    buffer: Vec<u8>,
}

impl Requests {
    /// Takes bytes and gives each request that is complete to `each`.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[Vec<u8>])) {
        self.buffer.extend_from_slice(bytes);
        while let Some((words, used)) = parse(&self.buffer) {
            each(&words);
            self.buffer.drain(..used);
        }
    }
}

/// One request and how many bytes it takes; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (line, mut at) = line(bytes, 0)?;
    if !line.starts_with(b"*") {
        let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        return Some((words.map(<[u8]>::to_vec).collect(), at));
    }
    let mut words = Vec::new();
    for _ in 0..number(line) {
        let (header, start) = self::line(bytes, at)?;
        let end = start + number(header);
        words.push(bytes.get(start..end)?.to_vec());
        at = end + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// The line at a position, without its end, and the position behind it.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + end + 1))
}

/// The number behind the first byte of a line; 0 if there is none.
fn number(line: &[u8]) -> usize {
    let digits = line.get(1..).unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
