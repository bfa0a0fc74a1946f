//! Heads and chunks, written.

use crate::field::{Field, Fields};
use crate::trailers::Trailers;

/// Ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The fields that are not dropped, each as it came. `clean`: every line of `head` ends with CR and LF, as in any that
/// [`crate::HeadScan::strictly`] found whole; then whole runs of lines are copied.
pub fn fields(out: &mut Vec<u8>, head: &[u8], fields: &Fields, clean: bool) {
    if !clean {
        return fields.iter().filter(|one| !one.dropped).for_each(|one| {
            field(out, one.name.bytes(head), one.value.bytes(head));
        });
    }
    let all = &fields.all;
    let start_of =
        |n: usize| all.get(n).map_or(head.len().saturating_sub(2), |one: &Field| one.name.start as usize);
    let mut n = 0;
    while n < all.len() {
        let first = n;
        while n < all.len() && !all[n].dropped {
            n += 1;
        }
        out.extend_from_slice(head.get(start_of(first)..start_of(n)).unwrap_or_default());
        n += 1;
    }
}

/// One field line. Whoever calls sees to it that neither part has a line end in it.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `HTTP/1.1 200 OK` and the line's end. Without a reason the space before it stays, as the grammar has it.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// A decimal number.
pub fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + digit(number);
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// The last decimal digit.
fn digit(number: u64) -> u8 {
    (number % 10).to_le_bytes()[0]
}

/// What stands before a chunk's data. `length` must not be 0: that would end the body.
pub fn chunk_head(out: &mut Vec<u8>, length: usize) {
    debug_assert!(length > 0);
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let nibble = (length >> (4 * place)) & 0xf;
        out.push(b"0123456789abcdef"[nibble]);
    }
    out.extend_from_slice(b"\r\n");
}

/// A whole chunk.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    chunk_head(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body, trailers included.
pub fn end(out: &mut Vec<u8>, trailers: Option<&Trailers>) {
    let Some(trailers) = trailers else { return out.extend_from_slice(LAST_CHUNK) };
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers.lines());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Known;
    use crate::{Limits, RequestHead};

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_decimal_and_sizes_hexadecimal() {
        for (n, text) in [(0, "0"), (7, "7"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            assert_eq!(written(|out| number(out, n)), text);
        }
        for (n, text) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabcde, "abcde\r\n")] {
            assert_eq!(written(|out| chunk_head(out, n)), text);
        }
        assert_eq!(written(|out| status_line(out, 204, b"No Content")), "HTTP/1.1 204 No Content\r\n");
    }

    #[test]
    fn kept_fields_pass_as_they_came_and_dropped_ones_do_not() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX:  1 \r\nAccept: b\r\nTE: y\r\n\r\n";
        let mut head = RequestHead::default();
        head.read(text, &Limits::default()).unwrap();
        assert_eq!(written(|out| fields(out, text, &head.fields, true)), "Host: a\r\nAccept: b\r\n");
        head.fields.drop_if(|field| field.known == Known::Host);
        assert_eq!(written(|out| fields(out, text, &head.fields, true)), "Accept: b\r\n");
        assert_eq!(written(|out| fields(out, text, &head.fields, false)), "Accept: b\r\n");
        head.fields.drop_if(|_| true);
        assert_eq!(written(|out| fields(out, text, &head.fields, true)), "");
    }
}
