//! Small facts and services of the operating system that the rest of the shell asks for.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::node::CpuTimes;

/// The system's text for an error, without the number that std adds to it.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_string(),
        None => {
            let text = error.to_string();
            let prefix = "failed to lookup address information: ";
            text.strip_prefix(prefix).map(str::to_string).unwrap_or(text)
        }
    }
}

/// Fills `into` with randomness of the operating system, fit for secrets.
pub fn random_bytes(into: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        let rest = &mut into[filled..];
        // SAFETY: the pointer and the length describe `rest`, which the kernel fills. nix has no
        // call for it, and /dev/urandom may be missing in a chroot.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => filled += n,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Has the poll tell of input of a socket only when so many bytes of it are there (SO_RCVLOWAT).
/// Only a matter of efficiency, so failing changes nothing.
pub fn set_receive_low_water(socket: &impl AsRawFd, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let len = std::mem::size_of_val(&bytes) as libc::socklen_t;
    let level = libc::SOL_SOCKET;
    // SAFETY: the pointer and the length describe `bytes`, which the kernel only reads. nix has no
    // call for it.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            len,
        );
    }
}

/// Whether the kernel holds output of a socket that the other side did not acknowledge. False if
/// it cannot be asked.
pub fn has_unacknowledged(socket: &impl AsRawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ of a socket) writes one int to the pointer. nix has no call for
    // it.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    asked == 0 && bytes > 0
}

/// Whether an error says that a file system, or what a user may take of it, is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// What is left of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub bytes: u64,
    pub inodes: u64,
}

/// What a file system has left for us. One without a number of inodes has enough.
pub fn space_of(dir: &Path) -> Option<Space> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    let bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
    let inodes = if stat.files() == 0 { u64::MAX } else { stat.files_available() };
    Some(Space { bytes, inodes })
}

/// Lets two files change places, in one step.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let (one, other) = (path(one)?, path(other)?);
    // SAFETY: both pointers are those of strings that live until the call is over, and the kernel
    // only reads them. nix has the call for glibc only.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).collect()
}

/// `sysname release machine`, as INFO shows it.
pub fn os_name() -> String {
    match nix::sys::utsname::uname() {
        Ok(uts) => [uts.sysname(), uts.release(), uts.machine()]
            .map(|part| part.to_string_lossy().into_owned())
            .join(" "),
        Err(_) => "Linux".to_string(),
    }
}

/// CPU time used so far by this process and its children that were waited for.
pub fn cpu_times() -> CpuTimes {
    let us = |time: TimeVal| (time.tv_sec() as u64) * 1_000_000 + time.tv_usec() as u64;
    let of = |who| getrusage(who).map_or((0, 0), |u| (us(u.system_time()), us(u.user_time())));
    let (sys_us, user_us) = of(UsageWho::RUSAGE_SELF);
    let (sys_children_us, user_children_us) = of(UsageWho::RUSAGE_CHILDREN);
    CpuTimes { sys_us, user_us, sys_children_us, user_children_us }
}

/// Lets all threads share one heap arena: the disk and DNS threads allocate little and seldom, and
/// an arena of their own for each would cost more memory than all the rest of an idle process.
pub fn use_one_heap_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` sets a number inside the allocator; it is called before any thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        random_bytes(&mut a).unwrap();
        random_bytes(&mut b).unwrap();
        assert_ne!(a, b);
        assert_eq!(hex(&[0, 0x1f, 0xff]), b"001fff");
    }

    #[test]
    fn reasons_carry_no_number() {
        let error = std::fs::read("/no/such/file").unwrap_err();
        assert_eq!(reason(&error), "No such file or directory");
    }

    #[test]
    fn input_below_the_mark_waits_until_there_is_more_or_the_mark_falls() {
        use std::io::{Read, Write};
        use std::time::Duration;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut receiver = mio::net::TcpStream::from_std(receiver);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut receiver, mio::Token(1), mio::Interest::READABLE).unwrap();
        let mut told = |ms| {
            let mut events = mio::Events::with_capacity(8);
            poll.poll(&mut events, Some(Duration::from_millis(ms))).unwrap();
            events.iter().any(mio::event::Event::is_readable)
        };
        let arrived = |receiver: &mio::net::TcpStream, wanted: usize| {
            crate::shell::testing::wait_until("the bytes are there", || {
                receiver.peek(&mut [0; 300]).is_ok_and(|n| n == wanted)
            });
        };
        set_receive_low_water(&receiver, 100);
        sender.write_all(&[1; 60]).unwrap();
        arrived(&receiver, 60);
        assert!(!told(0));
        sender.write_all(&[1; 60]).unwrap();
        assert!(told(5_000));
        assert_eq!(receiver.read(&mut [0; 300]).unwrap(), 120);
        sender.write_all(&[1; 60]).unwrap();
        arrived(&receiver, 60);
        assert!(!told(0));
        set_receive_low_water(&receiver, 1);
        assert!(told(5_000));
    }

    #[test]
    fn facts() {
        assert!(os_name().starts_with("Linux "));
        let times = cpu_times();
        assert!(times.user_us + times.sys_us > 0);
    }
}
