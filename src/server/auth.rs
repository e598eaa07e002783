//! Who may log in: for now the default user alone, with the password of `requirepass`.
#![forbid(unsafe_code)]

/// Compares without telling by its duration how much was right: the time depends on the length of
/// `given` alone.
pub fn same_secret(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = secret.len() ^ given.len();
    for (at, byte) in given.iter().enumerate() {
        let wanted = secret.get(at).copied().unwrap_or(0);
        difference = std::hint::black_box(difference | usize::from(byte ^ wanted));
    }
    difference == 0
}

/// The user every connection begins as.
pub const DEFAULT_USER: &[u8] = b"default";

/// The users and their passwords.
#[derive(Debug)]
pub struct Users {
    /// `None`: the default user takes any password.
    default_password: Option<Vec<u8>>,
}

impl Users {
    /// The users that the configuration names.
    pub fn new(requirepass: Option<&[u8]>) -> Users {
        Users { default_password: requirepass.map(<[u8]>::to_vec) }
    }

    /// Whether the default user needs no password, so that connections begin authenticated.
    pub fn default_is_open(&self) -> bool {
        self.default_password.is_none()
    }

    /// Whether `user` may log in with `password`.
    pub fn check(&self, user: &[u8], password: &[u8]) -> bool {
        let wanted = self.default_password.as_deref();
        user == DEFAULT_USER && wanted.is_none_or(|wanted| same_secret(wanted, password))
    }

    /// Whether a user of that name exists.
    pub fn exists(&self, user: &[u8]) -> bool {
        user == DEFAULT_USER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_compare_as_bytes() {
        for (secret, given, same) in [
            (&b"secret"[..], &b"secret"[..], true),
            (b"secret", b"secre", false),
            (b"secret", b"secrets", false),
            (b"secret", b"secret\0", false),
            (b"secret", b"Secret", false),
            (b"secret", b"", false),
            (b"", b"", true),
        ] {
            assert_eq!(same_secret(secret, given), same);
        }
    }

    #[test]
    fn only_the_default_user_logs_in() {
        let open = Users::new(None);
        assert!(open.check(b"default", b"anything") && open.default_is_open());
        let closed = Users::new(Some(b"x"));
        assert!(closed.check(b"default", b"x") && !closed.default_is_open());
        assert!(!closed.check(b"default", b"y"));
        assert!(!closed.check(b"Default", b"x"));
    }
}
