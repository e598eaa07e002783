//! A small blocking RESP client with a deadline on every read and write.

use super::value::Value;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a reply may take before the client gives up.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// Host and port.
    Tcp(String, u16),
    /// Path of a unix socket.
    Unix(PathBuf),
}

/// What both kinds of stream can do.
trait Stream: Read + Write + Send {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
    fn closer(&self) -> io::Result<Closer>;
}

/// Ends a connection from outside, also while another thread reads from it.
pub struct Closer(Box<dyn FnOnce() + Send>);

impl Closer {
    /// Closes it.
    pub fn close(self) {
        (self.0)();
    }
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(timeout))?;
                self.set_write_timeout(Some(timeout))
            }

            fn closer(&self) -> io::Result<Closer> {
                let stream = self.try_clone()?;
                Ok(Closer(Box::new(move || {
                    let _ = stream.shutdown(Shutdown::Both);
                })))
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// One connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    /// Connects. Errors: those of the system, after at most [`REPLY_TIMEOUT`].
    pub fn connect(to: &Endpoint) -> io::Result<Client> {
        let stream: Box<dyn Stream> = match to {
            Endpoint::Tcp(host, port) => {
                let address = (host.as_str(), *port)
                    .to_socket_addrs()?
                    .next()
                    .ok_or(io::ErrorKind::AddrNotAvailable)?;
                let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path)?),
        };
        stream.set_timeout(REPLY_TIMEOUT)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sets how long reads and writes may take from now on.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_timeout(timeout)
    }

    /// A handle that can end this connection.
    pub fn closer(&self) -> io::Result<Closer> {
        self.stream.get_ref().closer()
    }

    /// Sends a command and reads its reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask_bytes(&bytes)
    }

    /// As [`Client::ask`], for words that are no UTF-8.
    pub fn ask_bytes(&mut self, words: &[&[u8]]) -> io::Result<Value> {
        self.send(words)?;
        self.read()
    }

    /// Sends a command without waiting for the reply.
    pub fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.send_raw(&request)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the next reply or message.
    pub fn read(&mut self) -> io::Result<Value> {
        Value::read(&mut self.stream)
    }

    /// Reads whatever comes until the other side closes.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
