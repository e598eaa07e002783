//! Writers: replies in the dialect of a client, and commands for links. All append to a `Vec<u8>`.
#![forbid(unsafe_code)]

/// The protocol version a client has chosen with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    #[default]
    Resp2,
    Resp3,
}

/// `+text`; CR and LF become blanks.
pub fn simple(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'+', text);
}

/// `-text`, where text begins with its code (`ERR …`); CR and LF become blanks.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'-', text);
}

/// `:n`.
pub fn int(out: &mut Vec<u8>, n: i64) {
    out.push(b':');
    out.extend_from_slice(Decimal::signed(n).text());
    out.extend_from_slice(b"\r\n");
}

/// `$` with any bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A bulk holding a decimal number.
pub fn bulk_int(out: &mut Vec<u8>, n: i64) {
    bulk(out, Decimal::signed(n).text());
}

/// A bulk holding an IPv4 address.
pub fn bulk_ipv4(out: &mut Vec<u8>, octets: [u8; 4]) {
    let (mut text, mut len) = ([0; 15], 0);
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            text[len] = b'.';
            len += 1;
        }
        for (least, digit) in [(100, octet / 100), (10, octet / 10 % 10), (0, octet % 10)] {
            if octet >= least {
                text[len] = b'0' + digit;
                len += 1;
            }
        }
    }
    bulk(out, &text[..len]);
}

/// RESP2 `$-1`, RESP3 `_`.
pub fn null(out: &mut Vec<u8>, dialect: Dialect) {
    out.extend_from_slice(choose(dialect, b"$-1\r\n", b"_\r\n"));
}

/// RESP2 `*-1`, RESP3 `_`.
pub fn null_array(out: &mut Vec<u8>, dialect: Dialect) {
    out.extend_from_slice(choose(dialect, b"*-1\r\n", b"_\r\n"));
}

/// The head of an array; its `len` elements follow.
pub fn array(out: &mut Vec<u8>, len: usize) {
    header(out, b'*', len);
}

/// `pairs` key-value pairs: RESP2 a flat array, RESP3 a map.
pub fn map(out: &mut Vec<u8>, pairs: usize, dialect: Dialect) {
    match dialect {
        Dialect::Resp2 => header(out, b'*', 2 * pairs),
        Dialect::Resp3 => header(out, b'%', pairs),
    }
}

/// RESP2 an array, RESP3 a set.
pub fn set(out: &mut Vec<u8>, len: usize, dialect: Dialect) {
    header(out, choose(dialect, b'*', b'~'), len);
}

/// RESP2 an array, RESP3 a push.
pub fn push(out: &mut Vec<u8>, len: usize, dialect: Dialect) {
    header(out, choose(dialect, b'*', b'>'), len);
}

/// RESP2 a bulk of `text`, RESP3 a verbatim string with format `txt`.
pub fn verbatim(out: &mut Vec<u8>, text: &[u8], dialect: Dialect) {
    match dialect {
        Dialect::Resp2 => bulk(out, text),
        Dialect::Resp3 => {
            header(out, b'=', text.len() + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A number with a fraction: RESP2 a bulk, RESP3 a double.
pub fn double(out: &mut Vec<u8>, n: f64, dialect: Dialect) {
    let text = n.to_string();
    match dialect {
        Dialect::Resp2 => bulk(out, text.as_bytes()),
        Dialect::Resp3 => line(out, b',', text.as_bytes()),
    }
}

/// A command: an array of bulks.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    array(out, words.len());
    for word in words {
        bulk(out, word);
    }
}

fn choose<T>(dialect: Dialect, resp2: T, resp3: T) -> T {
    match dialect {
        Dialect::Resp2 => resp2,
        Dialect::Resp3 => resp3,
    }
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    if len < 10 {
        return out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
    }
    out.push(kind);
    out.extend_from_slice(Decimal::unsigned(len as u64).text());
    out.extend_from_slice(b"\r\n");
}

/// A number's text on the stack; the end of `digits` is in use.
struct Decimal {
    digits: [u8; Decimal::MAX_LEN],
    start: usize,
}

impl Decimal {
    /// 20 digits of the largest `u64`; as long as the least `i64` with its sign.
    const MAX_LEN: usize = 20;

    fn unsigned(mut n: u64) -> Decimal {
        let mut digits = [0; Decimal::MAX_LEN];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                return Decimal { digits, start };
            }
        }
    }

    fn signed(n: i64) -> Decimal {
        let mut decimal = Decimal::unsigned(n.unsigned_abs());
        if n < 0 {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'-';
        }
        decimal
    }

    fn text(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect::{Resp2, Resp3};
    use super::*;

    /// What `write` appends to bytes that are there already.
    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"<".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("the texts here are ASCII").split_off(1)
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(written(|out| simple(out, b"OK")), "+OK\r\n");
        assert_eq!(written(|out| simple(out, b"")), "+\r\n");
        assert_eq!(written(|out| simple(out, b"a\r\nb\nc")), "+a  b c\r\n");
        assert_eq!(written(|out| error(out, b"ERR x\r\n+OK")), "-ERR x  +OK\r\n");
    }

    #[test]
    fn numbers_of_every_length() {
        let mut numbers = vec![0, i64::MIN, i64::MAX];
        let mut power = 1i64;
        while power < i64::MAX / 10 {
            power *= 10;
            numbers.extend([power, power - 1, -power, 1 - power]);
        }
        for n in numbers {
            let text = n.to_string();
            assert_eq!(written(|out| int(out, n)), format!(":{text}\r\n"));
            let expected = format!("${}\r\n{text}\r\n", text.len());
            assert_eq!(written(|out| bulk_int(out, n)), expected);
        }
        assert_eq!(Decimal::unsigned(u64::MAX).text(), u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn addresses_as_text() {
        for octets in [[0; 4], [255; 4], [127, 0, 0, 1], [10, 99, 100, 9], [1, 110, 101, 200]] {
            let text = std::net::Ipv4Addr::from(octets).to_string();
            let expected = format!("${}\r\n{text}\r\n", text.len());
            assert_eq!(written(|out| bulk_ipv4(out, octets)), expected);
        }
    }

    #[test]
    fn bulks_hold_any_bytes() {
        assert_eq!(written(|out| bulk(out, b"")), "$0\r\n\r\n");
        assert_eq!(written(|out| bulk(out, b"a\r\n\0b")), "$5\r\na\r\n\0b\r\n");
    }

    #[test]
    fn each_dialect_has_its_types() {
        assert_eq!(written(|out| null(out, Resp2)), "$-1\r\n");
        assert_eq!(written(|out| null(out, Resp3)), "_\r\n");
        assert_eq!(written(|out| null_array(out, Resp2)), "*-1\r\n");
        assert_eq!(written(|out| null_array(out, Resp3)), "_\r\n");
        assert_eq!(written(|out| array(out, 0)), "*0\r\n");
        assert_eq!(written(|out| map(out, 12, Resp2)), "*24\r\n");
        assert_eq!(written(|out| map(out, 12, Resp3)), "%12\r\n");
        assert_eq!(written(|out| set(out, 3, Resp2)), "*3\r\n");
        assert_eq!(written(|out| set(out, 3, Resp3)), "~3\r\n");
        assert_eq!(written(|out| push(out, 3, Resp2)), "*3\r\n");
        assert_eq!(written(|out| push(out, 3, Resp3)), ">3\r\n");
        assert_eq!(written(|out| verbatim(out, b"a=1\n", Resp2)), "$4\r\na=1\n\r\n");
        assert_eq!(written(|out| verbatim(out, b"a=1\n", Resp3)), "=8\r\ntxt:a=1\n\r\n");
    }

    #[test]
    fn commands_are_arrays_of_bulks() {
        let text = written(|out| command(out, &[b"SENTINEL", b"", b"a b"]));
        assert_eq!(text, "*3\r\n$8\r\nSENTINEL\r\n$0\r\n\r\n$3\r\na b\r\n");
    }
}
