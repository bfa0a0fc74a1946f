//! Answers made smaller: whether one may be, in which coding, and the coding itself.

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::write::GzEncoder;
use pando_http::{Known, RequestHead, ResponseFraming, Version, field::tokens};
use pando_routing::rule::answers::{Compression, Encoding};
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::asked::Paper;
use crate::front::{Answer, AnswerBody, Passed};

/// What is compressed unless a rule says otherwise.
const TYPES: [&str; 12] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/manifest+json",
    "application/wasm",
    "application/problem+json",
    "image/svg+xml",
    "font/ttf",
];

/// How far back a coder looks, as a power of two: what a stream costs in memory.
const WINDOW: u8 = 18;

/// What the client would have of the codings that a rule offers. `None`: nothing.
pub(super) fn agree(compression: &Compression, paper: &Paper) -> Option<Encoding> {
    let (head, bytes) = (&paper.head, paper.bytes.bytes());
    // Without chunks only closing the connection could tell where the answer ends.
    if head.version == Version::Http10 {
        return None;
    }
    let mut best = None;
    for encoding in &compression.encodings {
        let weight = weight(head, bytes, encoding.as_str());
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, *encoding));
        }
    }
    best.filter(|(weight, _)| *weight >= identity(head, bytes)).map(|(_, encoding)| encoding)
}

/// What the client gives for a coding, in thousandths.
fn weight(head: &RequestHead, bytes: &[u8], name: &str) -> u32 {
    named(head, bytes, name).or_else(|| named(head, bytes, "*")).unwrap_or(0)
}

/// What it gives for an answer as it is: unless it says so, less than for anything that it names.
fn identity(head: &RequestHead, bytes: &[u8]) -> u32 {
    named(head, bytes, "identity").unwrap_or(1)
}

fn named(head: &RequestHead, bytes: &[u8], name: &str) -> Option<u32> {
    let fields = head.fields.all(Known::AcceptEncoding);
    let mut items = fields.flat_map(|field| tokens(field.value.bytes(bytes)));
    items.find_map(|item| {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next()?;
        let is_it = coding.eq_ignore_ascii_case(name.as_bytes())
            || (name == "gzip" && coding.eq_ignore_ascii_case(b"x-gzip"));
        is_it.then(|| parts.find_map(quality).unwrap_or(1000))
    })
}

/// `q=0.5`; what is no number counts as nothing.
fn quality(part: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(part).ok()?;
    let value = text.strip_prefix("q=").or_else(|| text.strip_prefix("Q="))?;
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    let fits =
        matches!(whole, "0" | "1") && rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse().unwrap_or(0);
    Some(if !fits {
        0
    } else if whole == "1" {
        1000
    } else {
        thousandths
    })
}

/// Whether an answer may come compressed, for whoever reads that.
pub(super) fn may(compression: &Compression, answer: &Answer<'_>, passed: &Passed<'_>) -> bool {
    let is_bodiless = answer.status < 200 || answer.body == AnswerBody::None;
    !is_bodiless && !is_partial(answer, passed) && varies(compression, answer, passed)
}

/// Whether what the answer is of comes compressed to some and not to others, which caches are to know of parts, of answers to HEAD and
/// of what has not changed too (RFC 9110, 15.3.7 and 15.4.5). What has not changed doesn't say of what type it is.
pub(super) fn varies(compression: &Compression, answer: &Answer<'_>, passed: &Passed<'_>) -> bool {
    if answer.status < 200 || has(passed, b"content-encoding") || must_stay(passed) {
        return false;
    }
    let is_short = is_short(compression, passed) && !is_partial(answer, passed);
    answer.status == 304 || (!is_short && is_of_type(compression, passed))
}

fn has(passed: &Passed<'_>, name: &[u8]) -> bool {
    let mut fields = passed.head.fields.iter();
    fields.any(|field| field.name.bytes(passed.bytes).eq_ignore_ascii_case(name))
}

fn is_partial(answer: &Answer<'_>, passed: &Passed<'_>) -> bool {
    answer.status == 206 || has(passed, b"content-range")
}

/// An answer to HEAD is as long as it says that it would be.
fn is_short(compression: &Compression, passed: &Passed<'_>) -> bool {
    let length = match passed.head.framing {
        ResponseFraming::Length(length) => Some(length),
        ResponseFraming::Empty => {
            let told = passed.head.fields.first(Known::ContentLength);
            told.and_then(|field| field.value.text(passed.bytes).trim().parse().ok())
        }
        ResponseFraming::Chunked | ResponseFraming::UntilClose => None,
    };
    length.is_some_and(|length| length < compression.min_bytes)
}

fn must_stay(passed: &Passed<'_>) -> bool {
    let bytes = passed.bytes;
    let control = passed.head.fields.iter();
    let mut control = control.filter(|field| field.name.bytes(bytes).eq_ignore_ascii_case(b"cache-control"));
    control.any(|field| {
        tokens(field.value.bytes(bytes)).any(|token| token.eq_ignore_ascii_case(b"no-transform"))
    })
}

fn is_of_type(compression: &Compression, passed: &Passed<'_>) -> bool {
    let Some(field) = passed.head.fields.first(Known::ContentType) else { return false };
    let kind =
        field.value.text(passed.bytes).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "text/event-stream" {
        return compression.event_streams;
    }
    let covers = |wanted: &str| match wanted.strip_suffix('*') {
        Some(start) => kind.starts_with(&start.to_ascii_lowercase()),
        None => kind.eq_ignore_ascii_case(wanted),
    };
    match &compression.types {
        Some(types) => types.iter().any(|wanted| covers(wanted)),
        None => TYPES.iter().any(|wanted| covers(wanted)),
    }
}

/// Fields that are no longer true of a compressed answer.
pub(super) fn is_untrue(name: &[u8]) -> bool {
    const UNTRUE: [&str; 7] =
        ["content-length", "accept-ranges", "etag", "content-md5", "digest", "content-digest", "repr-digest"];
    UNTRUE.iter().any(|untrue| untrue.as_bytes().eq_ignore_ascii_case(name))
}

/// The entity tag of a compressed answer: the bytes are others, what they say is the same.
pub(super) fn weak(tag: &[u8]) -> Vec<u8> {
    if tag.starts_with(b"W/") { tag.to_vec() } else { [b"W/", tag].concat() }
}

/// A coder.
pub(super) enum Squeezer {
    Gzip(GzEncoder<Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Squeezer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Squeezer")
    }
}

impl Squeezer {
    /// Levels that cost a fraction of what the best do, for nearly what they save.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(4))),
            Encoding::Br => Self::Br(Box::new(CompressorWriter::new(Vec::new(), 4096, 4, u32::from(WINDOW)))),
            Encoding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), 3)?;
                encoder.window_log(u32::from(WINDOW))?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes all of `data`; what comes of it, if anything does yet, is appended to `out`.
    pub(super) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.writer().write_all(data)?;
        self.give(out);
        Ok(())
    }

    /// Whatever was taken can be read by the client once `out` is there.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.writer().flush()?;
        self.give(out);
        Ok(())
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Br(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Br(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn give(&mut self, out: &mut Vec<u8>) {
        let made = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        out.append(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(accept: &str) -> Option<Encoding> {
        let mut asked = crate::asked::Asked::blank();
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: {accept}\r\n\r\n");
        asked.bytes = crate::inbox::Inbox::holding(text.as_bytes());
        let paper = &mut *asked;
        paper.head.read(paper.bytes.bytes(), &pando_http::Limits::default()).unwrap();
        agree(&Compression::default(), &asked)
    }

    #[test]
    fn the_clients_preference_decides_and_then_the_tables() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip, br;q=0.9", Some(Encoding::Gzip)),
            ("br, gzip", Some(Encoding::Br)),
            ("*", Some(Encoding::Zstd)),
            ("zstd;q=0, *;q=0.5", Some(Encoding::Br)),
            ("GZIP;q=0.001", Some(Encoding::Gzip)),
            ("gzip;q=0.3, identity;q=0.7", None),
            ("gzip;q=0", None),
            ("gzip;q=oops", None),
            ("gzip;q=2", None),
            ("deflate, compress", None),
            ("identity", None),
            ("", None),
        ] {
            assert_eq!(agreed(accept), expected, "{accept}");
        }
    }

    #[test]
    fn tags_become_weak_once() {
        assert_eq!(weak(b"\"a\""), b"W/\"a\"");
        assert_eq!(weak(b"W/\"a\""), b"W/\"a\"");
    }
}
