//! Bytes in pieces for a parser, as a connection brings them.
#![forbid(unsafe_code)]

/// Hands the chunks to a parser one after the other, again and again what it has not used yet.
/// Gives what it made of them, and the error that ended it if there is one.
pub fn feed<T, E>(
    chunks: &[&[u8]],
    mut next: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, E>,
) -> (Vec<T>, Option<E>) {
    let (mut buffer, mut made) = (Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match next(&buffer) {
                Ok(None) => break,
                Ok(Some((piece, used))) => {
                    assert!(used > 0 && used <= buffer.len(), "{used} of {}", buffer.len());
                    made.push(piece);
                    buffer.drain(..used);
                }
                Err(error) => return (made, Some(error)),
            }
        }
    }
    (made, None)
}
