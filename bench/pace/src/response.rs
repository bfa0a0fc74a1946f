//! Where one response ends: the head, then as many bytes as it announced.

use std::io;

/// Larger heads are not what the origin sends.
const HEAD_LIMIT: usize = 64 * 1024;

/// A response as it arrives. Only status 200 with a `Content-Length` is taken; everything else is an error.
#[derive(Default)]
pub(crate) struct Response {
    head: Vec<u8>,
    /// Bytes of the body still to come, once the head is whole.
    left: Option<usize>,
}

impl Response {
    pub(crate) fn is_whole(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes the next bytes. Bytes after the end are an error: nothing more was asked for.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let body = match self.left {
            Some(left) => Some((left, bytes.len())),
            None => self.take_head(bytes)?,
        };
        if let Some((length, arrived)) = body {
            self.left = Some(length.checked_sub(arrived).ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(())
    }

    /// The body's length, and how many bytes of it are here, once the head is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.head.len() > HEAD_LIMIT {
                Err(io::ErrorKind::InvalidData.into())
            } else {
                Ok(None)
            };
        };
        let length = content_length(&self.head[..end]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((length, self.head.len() - end - 4)))
    }
}

/// The announced length of a good answer.
fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    lines.next()?.strip_prefix("HTTP/1.1 200")?;
    let named = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    })?;
    named.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Response;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 4\r\n\r\nwell";

    #[test]
    fn a_response_is_whole_at_its_last_byte_however_it_is_cut() {
        for cut in 0..WHOLE.len() {
            let mut response = Response::default();
            response.take(&WHOLE[..cut]).unwrap();
            assert!(!response.is_whole(), "after {cut} bytes");
            response.take(&WHOLE[cut..]).unwrap();
            assert!(response.is_whole(), "cut at {cut}");
        }
    }

    #[test]
    fn whatever_is_no_good_answer_is_an_error() {
        let bad: [&[u8]; 3] = [
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ];
        for each in bad {
            assert!(Response::default().take(each).is_err(), "{}", String::from_utf8_lossy(each));
        }
    }
}
