//! The fields of a head: where they lie, which of them are known, which stay behind.

use crate::span::Span;

/// One field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    /// Without the white space around it.
    pub value: Span,
    pub known: Known,
    /// Ends here: it is not passed on.
    pub dropped: bool,
}

/// Names that a proxy has to do with. Every other is [`Known::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Other,
    Accept,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Origin,
    Proxy,
    ProxyConnection,
    Referer,
    RetryAfter,
    Server,
    SetCookie,
    Te,
    Traceparent,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Vary,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XForwardedScheme,
    XForwardedSsl,
    XRealIp,
    XRequestId,
}

/// By length, then by name: at most four comparisons.
#[rustfmt::skip]
const NAMES: [(&str, Known); 36] = [
    ("te", Known::Te),
    ("date", Known::Date), ("host", Known::Host), ("vary", Known::Vary),
    ("proxy", Known::Proxy),
    ("accept", Known::Accept), ("cookie", Known::Cookie), ("expect", Known::Expect), ("origin", Known::Origin), ("server", Known::Server),
    ("referer", Known::Referer), ("trailer", Known::Trailer), ("upgrade", Known::Upgrade),
    ("forwarded", Known::Forwarded), ("x-real-ip", Known::XRealIp),
    ("connection", Known::Connection), ("keep-alive", Known::KeepAlive), ("set-cookie", Known::SetCookie), ("user-agent", Known::UserAgent),
    ("retry-after", Known::RetryAfter), ("traceparent", Known::Traceparent),
    ("content-type", Known::ContentType), ("x-request-id", Known::XRequestId),
    ("authorization", Known::Authorization),
    ("content-length", Known::ContentLength), ("http2-settings", Known::Http2Settings),
    ("accept-encoding", Known::AcceptEncoding), ("x-forwarded-for", Known::XForwardedFor), ("x-forwarded-ssl", Known::XForwardedSsl),
    ("content-encoding", Known::ContentEncoding), ("proxy-connection", Known::ProxyConnection), ("x-forwarded-host", Known::XForwardedHost),
    ("x-forwarded-port", Known::XForwardedPort),
    ("transfer-encoding", Known::TransferEncoding), ("x-forwarded-proto", Known::XForwardedProto),
    ("x-forwarded-scheme", Known::XForwardedScheme),
];

/// Where in [`NAMES`] names of a length begin; one more than the longest, so that the next entry is their end.
const STARTS: [u8; 20] = starts();

const fn starts() -> [u8; 20] {
    let mut starts = [0; 20];
    let mut length = 0;
    while length < 20 {
        let mut before = 0;
        while before < NAMES.len() && NAMES[before].0.len() < length {
            before += 1;
        }
        // There are 36.
        starts[length] = before.to_le_bytes()[0];
        length += 1;
    }
    starts
}

impl Known {
    /// Case does not matter.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let (Some(start), Some(end)) = (STARTS.get(name.len()), STARTS.get(name.len() + 1)) else {
            return Self::Other;
        };
        let words = words(name);
        let known = &NAMES[usize::from(*start)..usize::from(*end)];
        let same = WORDS[usize::from(*start)..usize::from(*end)].iter().position(|known| *known == words);
        match same.map(|at| known[at]) {
            // The words leave something out of names longer than they are.
            Some((known, _)) if name.len() > 16 && !name.eq_ignore_ascii_case(known.as_bytes()) => {
                Self::Other
            }
            Some((_, known)) => known,
            None => Self::Other,
        }
    }

    /// One of 64 places.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    pub(crate) const fn bits<const N: usize>(all: [Self; N]) -> u64 {
        let (mut bits, mut n) = (0, 0);
        while n < N {
            bits |= all[n].bit();
            n += 1;
        }
        bits
    }
}

/// [`NAMES`] as they are compared.
const WORDS: [[u64; 2]; 36] = {
    let (mut all, mut n) = ([[0; 2]; 36], 0);
    while n < all.len() {
        all[n] = words(NAMES[n].0.as_bytes());
        n += 1;
    }
    all
};

/// A name's first and last characters in lower case, eight each or as many as it has: together all of it, up to 16.
const fn words(name: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        [lower(u64::from_le_bytes(*first)), lower(u64::from_le_bytes(*last))]
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        [lower(u32::from_le_bytes(*first) as u64), lower(u32::from_le_bytes(*last) as u64)]
    } else if let (Some(first), Some(last)) = (name.first_chunk::<2>(), name.last_chunk::<2>()) {
        [lower(u16::from_le_bytes(*first) as u64), lower(u16::from_le_bytes(*last) as u64)]
    } else {
        [0; 2]
    }
}

/// Each byte of A to Z in lower case, all eight at once.
const fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let low_bits = word & !HIGH;
    let from_a = low_bits + (0x80 - b'A' as u64) * ONES;
    let beyond_z = low_bits + (0x7f - b'Z' as u64) * ONES;
    let upper = (from_a & !beyond_z) & !word & HIGH;
    word | (upper >> 2)
}

impl Known {
    /// Whether it says where a request comes from, which is for proxies to say and not for clients.
    #[must_use]
    pub fn is_about_client(self) -> bool {
        use Known::{
            Forwarded, XForwardedFor, XForwardedHost, XForwardedPort, XForwardedProto, XForwardedScheme,
            XForwardedSsl, XRealIp,
        };
        matches!(
            self,
            Forwarded
                | XForwardedFor
                | XForwardedHost
                | XForwardedPort
                | XForwardedProto
                | XForwardedScheme
                | XForwardedSsl
                | XRealIp
        )
    }
}

/// The fields of one head, in its order. Meant to be kept and filled again.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub(crate) all: Vec<Field>,
    /// A bit for each [`Known`] that is among them, dropped or not: most of what is asked for is not there.
    present: u64,
}

impl Fields {
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.all.iter()
    }

    /// Whether there is one of that name.
    #[must_use]
    pub fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Whether there is one of those names, which [`Known::bits`] has made.
    pub(crate) fn has_any(&self, bits: u64) -> bool {
        self.present & bits != 0
    }

    /// The first of that name.
    #[must_use]
    pub fn first(&self, known: Known) -> Option<&Field> {
        self.all(known).next()
    }

    /// The only one of that name; `None` when there are several, too.
    #[must_use]
    pub fn only(&self, known: Known) -> Option<&Field> {
        let mut all = self.all(known);
        all.next().filter(|_| all.next().is_none())
    }

    pub fn all(&self, known: Known) -> impl Iterator<Item = &Field> {
        let some = if self.has(known) { &self.all[..] } else { &[] };
        some.iter().filter(move |field| field.known == known)
    }

    /// Leaves behind what `ends` says of.
    pub fn drop_if(&mut self, mut ends: impl FnMut(&Field) -> bool) {
        self.all.iter_mut().for_each(|field| field.dropped |= ends(field));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether each line of `head`, which they were read from, ends with CR and LF.
    pub(crate) fn are_clean(&self, head: &[u8]) -> bool {
        let follows_cr =
            |field: &Field| (field.name.start as usize).checked_sub(2).is_some_and(|at| head[at] == b'\r');
        head.ends_with(b"\r\n\r\n") && self.all.iter().all(follows_cr)
    }

    pub(crate) fn fill(&mut self, headers: &[httparse::Header<'_>], head: &[u8]) {
        self.all.clear();
        self.present = 0;
        for header in headers {
            let known = Known::of(header.name.as_bytes());
            self.present |= known.bit();
            self.all.push(Field {
                name: Span::of(header.name.as_bytes(), head),
                value: Span::of(header.value, head),
                known,
                dropped: false,
            });
        }
    }
}

/// The elements of a list such as `a, b`, without empty ones.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_other() {
        for (name, known) in NAMES {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(Known::of(format!("{name}x").as_bytes()), Known::Other);
        }
        assert!(NAMES.is_sorted_by_key(|(name, _)| name.len()));
        for other in
            ["", "x", "hos", "hast", "h\u{4f}st\0", "x-forwarded-four", "a-name-that-is-longer-than-all"]
        {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
    }

    #[test]
    fn no_other_byte_makes_the_same_name() {
        for (name, known) in NAMES {
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.as_bytes().to_vec();
                    other[at] = byte;
                    let same = other.eq_ignore_ascii_case(name.as_bytes());
                    assert_eq!(Known::of(&other) == known, same, "{name} with {byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn lists_have_no_empty_elements() {
        let found: Vec<&[u8]> = tokens(b" a,, b ,\tc").collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }
}
