//! What logging in is made of; the users themselves are in [`super::acl`].
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
}
