//! Bodies that come in chunks (RFC 9112, 7.1). Only whole bodies are read; trailers are dropped.

use std::io;

use super::invalid;

/// The body and how much of `bytes` it took; `None` while its end is not there.
pub(super) fn decode(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match httparse::parse_chunk_size(rest).map_err(|_| invalid("the size of a chunk is no number"))? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete((line, 0)) => {
                let trailers = rest.get(line..).unwrap_or_default();
                let end = if trailers.starts_with(b"\r\n") {
                    Some(2)
                } else {
                    trailers.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
                };
                return Ok(end.map(|end| (body, at + line + end)));
            }
            httparse::Status::Complete((line, size)) => {
                let size = usize::try_from(size).map_err(|_| invalid("a chunk is too large"))?;
                let first = at + line;
                let Some(chunk) = first.checked_add(size).and_then(|last| bytes.get(first..last)) else {
                    return Ok(None);
                };
                body.extend_from_slice(chunk);
                at = first + size + 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_what_follows_stays() {
        let bytes = b"3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\nGET";
        let whole = bytes.len() - 3;
        for cut in 0..whole {
            assert!(decode(&bytes[..cut]).unwrap().is_none(), "{cut}");
        }
        assert_eq!(decode(bytes).unwrap(), Some((b"abcde".to_vec(), whole)));
        assert_eq!(decode(b"0\r\na: b\r\n\r\n").unwrap(), Some((Vec::new(), 11)));
        assert!(decode(b"x\r\n").is_err());
    }
}
