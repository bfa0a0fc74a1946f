//! Heads of requests and responses.

use pando_http::{
    Field, Fields, HeadScan, Limits, Method, RequestHead, ResponseFraming, ResponseHead, Scanned, write,
};

/// A head is found alike however it is cut. What was read of it is passed on in a form that is read as the same message: whatever
/// a replica makes of that form, it is not another request than the one that was routed.
pub fn head(data: &[u8]) {
    let strict = whole(data, HeadScan::strictly);
    let lenient = whole(data, HeadScan::leniently);
    assert_eq!(strict, cut(data, HeadScan::strictly), "a request's head depends on how it arrives");
    assert_eq!(lenient, cut(data, HeadScan::leniently), "a response's head depends on how it arrives");
    at_once(data, strict, lenient);
    if let Scanned::Whole { len, .. } = strict {
        request(&data[..len]);
    }
    if let Scanned::Whole { len, bare } = lenient {
        for method in [Method::Get, Method::Head, Method::Connect] {
            response(&data[..len], !bare, method);
        }
    }
}

/// What is read without looking for its end first is what is read otherwise, and nothing else is.
fn at_once(data: &[u8], strict: Scanned, lenient: Scanned) {
    let (limits, mut first, mut second) = (Limits::default(), RequestHead::default(), RequestHead::default());
    let good = match strict {
        Scanned::Whole { len, .. } if !data.starts_with(b"\r\n") => {
            second.read(&data[..len], &limits).ok().map(|()| len)
        }
        _ => None,
    };
    let len = first.read_at_once(data, &limits);
    assert_eq!(len, good, "a request's head depends on how it is read");
    if len.is_some() {
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
    let (mut first, mut second) = (ResponseHead::default(), ResponseHead::default());
    let good = match lenient {
        Scanned::Whole { len, bare: false } => {
            second.read(&data[..len], Method::Get, &limits).ok().map(|()| len)
        }
        _ => None,
    };
    let len = first.read_at_once(data, Method::Get, &limits);
    assert_eq!(len, good, "a response's head depends on how it is read");
    if len.is_some() {
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
}

type Look = fn(&mut HeadScan, &[u8]) -> Scanned;

fn whole(data: &[u8], look: Look) -> Scanned {
    look(&mut HeadScan::default(), data)
}

/// Byte by byte.
fn cut(data: &[u8], look: Look) -> Scanned {
    let mut scan = HeadScan::default();
    let mut last = Scanned::Partial;
    for end in 0..=data.len() {
        last = look(&mut scan, &data[..end]);
        if last != Scanned::Partial {
            break;
        }
    }
    last
}

fn request(bytes: &[u8]) {
    let (mut read, mut again) = (RequestHead::default(), RequestHead::default());
    if read.read(bytes, &Limits::default()).is_err() || read.method == Method::Connect {
        return;
    }
    let mut passed = read.method_text.bytes(bytes).to_vec();
    passed.push(b' ');
    if !read.origin.bytes(bytes).starts_with(b"/") && read.origin.bytes(bytes) != b"*" {
        passed.push(b'/');
    }
    passed.extend_from_slice(read.origin.bytes(bytes));
    passed.extend_from_slice(b" HTTP/1.1\r\n");
    if !read.fields.has(pando_http::Known::Host)
        || read.fields.first(pando_http::Known::Host).is_some_and(|f| f.value.is_empty())
    {
        let host = match read.host.bytes(bytes) {
            b"" => b"fallback",
            host => host,
        };
        write::field(&mut passed, b"host", host);
    }
    write::fields(&mut passed, bytes, &read.fields, true);
    if read.framing == pando_http::Framing::Chunked {
        write::field(&mut passed, b"transfer-encoding", b"chunked");
    }
    passed.extend_from_slice(b"\r\n");
    assert_eq!(whole(&passed, HeadScan::strictly), Scanned::Whole { len: passed.len(), bare: false });
    let limits = Limits { head_bytes: usize::MAX, target_bytes: usize::MAX, fields: pando_http::MOST_FIELDS };
    again.read(&passed, &limits).expect("what is passed on can be read");
    assert_eq!((read.method, read.framing), (again.method, again.framing));
    assert_eq!(read.method_text.bytes(bytes), again.method_text.bytes(&passed));
    assert_eq!(kept(&read.fields, bytes), kept(&again.fields, &passed));
}

fn response(bytes: &[u8], clean: bool, method: Method) {
    let (mut read, mut again) = (ResponseHead::default(), ResponseHead::default());
    if read.read(bytes, method, &Limits::default()).is_err() {
        return;
    }
    let mut passed = Vec::new();
    write::status_line(&mut passed, read.status, read.reason.bytes(bytes));
    write::fields(&mut passed, bytes, &read.fields, clean);
    if read.framing == ResponseFraming::Chunked {
        write::field(&mut passed, b"transfer-encoding", b"chunked");
    }
    passed.extend_from_slice(b"\r\n");
    assert_eq!(whole(&passed, HeadScan::strictly), Scanned::Whole { len: passed.len(), bare: false });
    let limits = Limits { head_bytes: usize::MAX, fields: pando_http::MOST_FIELDS, ..Limits::default() };
    again.read(&passed, method, &limits).expect("what is passed on can be read");
    assert_eq!((read.status, read.framing), (again.status, again.framing));
    assert_eq!(kept(&read.fields, bytes), kept(&again.fields, &passed));
}

/// The fields that are passed on, by name and value, without those that framing is told anew with.
fn kept<'a>(fields: &Fields, bytes: &'a [u8]) -> Vec<(&'a [u8], &'a [u8])> {
    let stays = |field: &&Field| {
        !field.dropped
            && !matches!(field.known, pando_http::Known::TransferEncoding | pando_http::Known::Host)
    };
    fields.iter().filter(stays).map(|field| (field.name.bytes(bytes), field.value.bytes(bytes))).collect()
}
