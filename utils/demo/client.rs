//! A client that knows just enough of the protocol for the demo.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How deep replies may be nested.
const MAX_DEPTH: usize = 8;

/// A reply; texts that are not UTF-8 are shown with replacement characters.
#[derive(Debug)]
pub enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
    Error,
}

impl Reply {
    /// The text of a text, else an empty one.
    pub fn text(&self) -> &str {
        if let Reply::Text(text) = self { text } else { "" }
    }

    /// The elements of a list, else none.
    pub fn list(&self) -> &[Reply] {
        if let Reply::List(list) = self { list } else { &[] }
    }

    /// The value behind `name` in a flat list of names and values.
    pub fn field(&self, name: &str) -> &str {
        let pair = self.list().chunks_exact(2).find(|pair| pair[0].text() == name);
        pair.map_or("", |pair| pair[1].text())
    }
}

/// A connection to a server on this machine.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects; `limit` holds for the connect and for each reply, `None` waits for ever for a
    /// reply.
    pub fn connect(port: u16, limit: Option<Duration>) -> io::Result<Client> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&at, limit.unwrap_or(Duration::from_secs(1)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends a command and reads its reply. After an error the connection is of no use any more.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.read_reply()
    }

    /// Reads the next reply.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        self.read_nested(MAX_DEPTH)
    }

    fn read_nested(&mut self, depth: usize) -> io::Result<Reply> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = line.get(1..).ok_or_else(bad)?.trim_end();
        let count = || rest.parse::<i64>().map_err(|_| bad());
        match line.as_bytes()[0] {
            b'+' => Ok(Reply::Text(rest.to_string())),
            b'-' => Ok(Reply::Error),
            b':' => Ok(Reply::Number(count()?)),
            b'$' | b'*' if count()? < 0 => Ok(Reply::Nothing),
            b'$' => self.read_bulk(count()? as usize),
            b'*' if depth == 0 => Err(bad()),
            b'*' => {
                let items = (0..count()?).map(|_| self.read_nested(depth - 1));
                Ok(Reply::List(items.collect::<io::Result<_>>()?))
            }
            _ => Err(bad()),
        }
    }

    fn read_bulk(&mut self, length: usize) -> io::Result<Reply> {
        let mut text = Vec::new();
        self.stream.by_ref().take(length as u64 + 2).read_to_end(&mut text)?;
        if text.len() != length + 2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Asks one command on a connection of its own; `None` if there is no answer within half a second.
pub fn ask_once(port: u16, words: &[&str]) -> Option<Reply> {
    Client::connect(port, Some(Duration::from_millis(500))).ok()?.ask(words).ok()
}
