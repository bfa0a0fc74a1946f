//! `traceparent`: which trace a request belongs to, and whose doing it is.

use super::ids::{SpanId, TraceId};

/// What a well-formed field says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Whoever sent it may have recorded it.
    pub(super) sampled: bool,
}

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

impl Parent {
    /// `None`: malformed. Of versions to come only what this one has is read; what else they say begins with another `-`.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let [version] = digits(value.get(..2)?)?;
        let known = match version {
            0 => value.len() == LENGTH,
            0xff => false,
            _ => value.len() == LENGTH || value.get(LENGTH) == Some(&b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
        if !known || !dashes {
            return None;
        }
        let trace: [u8; 16] = digits(value.get(3..35)?)?;
        let span: [u8; 8] = digits(value.get(36..52)?)?;
        let [flags] = digits(value.get(53..LENGTH)?)?;
        let made = trace != [0; 16] && span != [0; 8];
        made.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1 })
    }
}

/// Small letters alone.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(value: &str) -> Option<Parent> {
        Parent::read(value.as_bytes())
    }

    #[test]
    fn what_is_well_formed_is_read() {
        let parent = read(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(parent.trace.hex().to_string(), TRACE);
        assert_eq!(parent.span.hex().to_string(), SPAN);
        assert!(parent.sampled);
        assert!(!read(&format!("00-{TRACE}-{SPAN}-fe")).unwrap().sampled, "other flags mean nothing");
        assert!(read(&format!("00-{TRACE}-{SPAN}-ff")).unwrap().sampled);
        // Versions to come.
        for later in ["", "-", "-what-the-future-will-be-like"] {
            assert!(read(&format!("cc-{TRACE}-{SPAN}-01{later}")).unwrap().sampled, "{later}");
        }
    }

    #[test]
    fn what_is_malformed_is_not() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for value in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("cc-{TRACE}-{SPAN}-01."),
            format!("cc-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("0-{TRACE}-{SPAN}-011"),
            format!(".0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
    }
}
