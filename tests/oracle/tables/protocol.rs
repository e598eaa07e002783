//! Bytes that are no requests, or only just.

use crate::twins::Twins;

pub fn run(t: &mut Twins) {
    t.pass(crate::twins::Proto::Resp2);
    t.run(RAW);
    t.raw("an inline request of 60000 bytes", &[&b"PING "[..], &[b'x'; 60_000], b"\r\n"].concat());
    // Lines that do not end: the limit counts what was read so far.
    t.raw_alone("an inline line of 70000 bytes", &[b'x'; 70_000]);
    t.raw_alone("a count of 70000 digits", &[&b"*"[..], &[b'1'; 70_000]].concat());
    t.raw_alone("a length of 70000 digits", &[&b"*1\r\n$"[..], &[b'1'; 70_000]].concat());
    let bulk = [&b"*2\r\n$4\r\nPING\r\n$100000\r\n"[..], &[b'y'; 100_000], b"\r\n"].concat();
    t.raw("a bulk of 100000 bytes", &bulk);
}

const RAW: &str = r#"
raw> *1\r\n$4\r\nPING\r\n
raw> *1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n
raw> PING\r\n
raw> PING\n
raw> PING\r\nPING\nPING\r\n
raw> \r\n
raw> \n
raw>    \r\n
raw>  PING \r\n
raw> PING\thello\r\n
raw> *0\r\n
raw> *-1\r\n
raw> *-100\r\n
raw> *0\r\nPING\r\n
raw> *x\r\n
raw> *\r\n
raw> * 1\r\n
raw> *1 \r\n
raw> *+1\r\n
raw> *01\r\n
raw> *1x\r\n
raw> *2147483647x\r\n
raw> *2147483648\r\n
raw> *99999999999999999999\r\n
raw> *-99999999999999999999\r\n
raw> *1\r\nPING\r\n
raw> *1\r\n:1\r\n
raw> *1\r\n\r\n
raw> *1\r\n+PING\r\n
raw> *1\r\n\x01\r\n
raw> *1\r\n$x\r\n
raw> *1\r\n$\r\n
raw> *1\r\n$-1\r\n
raw> *1\r\n$ 4\r\nPING\r\n
raw> *1\r\n$04\r\nPING\r\n
raw> *1\r\n$536870913\r\n
raw> *1\r\n$99999999999999999999\r\n
raw> *1\r\n$0\r\n\r\n
raw> *2\r\n$4\r\nPING\r\n$0\r\n\r\n
raw> *2\r\n$4\r\nPING\r\n*1\r\n
raw> *1\r\n$4\r\nPINGxx
raw> *1\n$4\nPING\n
raw> "PING\r\n
raw> PING "a\r\n
raw> PING 'a\r\n
raw> PING "a"b\r\n
raw> PING 'a'b\r\n
raw> PING a"b"\r\n
raw> PING a'b'\r\n
raw> PING "\\x41\\n\\t\\"\\q"\r\n
raw> PING '\\'\\n'\r\n
raw> PING ""\r\n
raw> "" a\r\n
raw> foo 'a b' "c"\r\n
raw> POST / HTTP/1.1\r\n
raw> post\r\n
raw> Host: localhost\r\n
raw> PING\r\nHost: localhost\r\n
raw> GET / HTTP/1.1\r\n
raw> *1\r\n$4\r\nPOST\r\n
raw> *2\r\n$5\r\nhost:\r\n$1\r\nx\r\n
raw> PING \xff\xfe\r\n
raw> %1\r\n
raw> $4\r\nPING\r\n
"#;
