use proptest::prelude::*;

use super::*;

/// The body's bytes, how much of the input was framing and body, and the decoder as it is then.
fn decode(
    mut decoder: Decoder,
    input: &[u8],
    cuts: &[usize],
) -> Result<(Vec<u8>, usize, Decoder), Malformed> {
    let (mut body, mut at) = (Vec::new(), 0usize);
    for cut in cuts.iter().chain([&usize::MAX]) {
        let end = at.saturating_add(*cut).min(input.len());
        loop {
            let piece = decoder.decode(&input[at..end])?;
            body.extend_from_slice(&input[at..end][piece.data.clone()]);
            at += piece.consumed;
            if piece.consumed == 0 {
                break;
            }
        }
    }
    Ok((body, at, decoder))
}

fn chunked(input: &str) -> Result<(String, usize, bool), Malformed> {
    let (body, at, decoder) = decode(Decoder::from(Framing::Chunked), input.as_bytes(), &[])?;
    Ok((String::from_utf8(body).unwrap(), at, decoder.is_done()))
}

#[test]
fn lengths_are_kept_to_the_byte() {
    let (body, at, mut decoder) = decode(Decoder::from(Framing::Length(3)), b"abcdef", &[1]).unwrap();
    assert_eq!((&body[..], at, decoder.is_done()), (&b"abc"[..], 3, true));
    assert_eq!(decoder.close(), Ok(()));
    let (_, _, mut short) = decode(Decoder::from(Framing::Length(3)), b"ab", &[]).unwrap();
    assert_eq!((short.remaining(), short.close()), (Some(1), Err(Malformed::BrokenOff)));
    assert!(Decoder::from(Framing::Empty).is_done());
    let (body, _, mut open) = decode(Decoder::from(ResponseFraming::UntilClose), b"abc", &[]).unwrap();
    assert_eq!((&body[..], open.is_done(), open.close(), open.is_done()), (&b"abc"[..], false, Ok(()), true));
}

#[test]
fn chunks_are_put_together() {
    let found = |body: &str, at| Ok((body.to_owned(), at, true));
    assert_eq!(chunked("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nrest"), found("abcde", 24));
    assert_eq!(chunked("0\r\n\r\n"), found("", 5));
    assert_eq!(chunked("00000000000000A\r\n0123456789\r\n000\r\n\r\n"), found("0123456789", 36));
    assert_eq!(chunked("1 ;q\r\na\r\n0\t\r\n\r\n"), found("a", 15));
    assert_eq!(chunked("3\r\nab"), Ok(("ab".to_owned(), 5, false)));
}

#[test]
fn broken_chunks_are_refused() {
    use Malformed::{ChunkEnd, ChunkExtension, ChunkSize, Trailers};
    let long = format!("1;{}\r\n", "x".repeat(300));
    for (input, error) in [
        ("\r\n", ChunkSize),
        (";x\r\n", ChunkSize),
        ("x\r\n", ChunkSize),
        ("-1\r\n", ChunkSize),
        ("0x1\r\n", ChunkSize),
        (" 1\r\n", ChunkSize),
        ("00000000000000001\r\n", ChunkSize),
        ("1\n", ChunkSize),
        ("1\rx", ChunkSize),
        ("1;x\n", ChunkExtension),
        ("1;\0\r\n", ChunkExtension),
        (long.as_str(), ChunkExtension),
        ("1\r\nab\r\n", ChunkEnd),
        ("1\r\na\n", ChunkEnd),
        ("1\r\na\rb", ChunkEnd),
        ("0\r\nx\r\n\r\n", Trailers),
        ("0\r\nx: y\n\r\n", Trailers),
        ("0\r\ncontent-length: 1\r\n\r\n", Trailers),
        ("0\r\nTransfer-Encoding: x\r\n\r\n", Trailers),
        ("0\r\nhost: x\r\n\r\n", Trailers),
        ("0\r\nx : y\r\n\r\n", Trailers),
    ] {
        assert_eq!(chunked(input), Err(error), "{input:?}");
    }
    let endless = format!("0\r\nx: {}", "y".repeat(17 << 10));
    assert_eq!(chunked(&endless), Err(Trailers));
}

#[test]
fn trailers_are_read() {
    let input = b"1\r\na\r\n0\r\nGrpc-Status: 0\r\nx: y\r\n\r\nnext";
    let (_, at, decoder) = decode(Decoder::from(Framing::Chunked), input, &[4, 5, 9]).unwrap();
    let trailers = decoder.trailers().unwrap();
    assert_eq!((at, trailers.lines()), (input.len() - 4, &b"Grpc-Status: 0\r\nx: y\r\n"[..]));
    let all: Vec<_> = trailers.iter().collect();
    assert_eq!(all, [(&b"Grpc-Status"[..], &b"0"[..]), (&b"x"[..], &b"y"[..])]);
}

proptest! {
    /// Whatever was cut into chunks, and however these arrive, comes out as it was, and no byte beyond is taken.
    #[test]
    fn what_went_in_comes_out(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        cuts in prop::collection::vec(0usize..200, 0..40),
    ) {
        let mut input = Vec::new();
        for piece in &pieces {
            crate::write::chunk(&mut input, piece);
        }
        input.extend_from_slice(crate::write::LAST_CHUNK);
        let end = input.len();
        input.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let (body, at, decoder) = decode(Decoder::from(Framing::Chunked), &input, &cuts).unwrap();
        prop_assert_eq!(body, pieces.concat());
        prop_assert!(decoder.is_done());
        prop_assert_eq!(at, end);
    }

    /// Nothing makes it panic, take more than there is, or go on after an error's bytes.
    #[test]
    fn garbage_is_an_error_or_a_body(input in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), any::<u8>()], 0..80)) {
        let mut decoder = Decoder::from(Framing::Chunked);
        let mut at = 0;
        while let Ok(piece) = decoder.decode(&input[at..]) {
            prop_assert!(piece.data.end <= piece.consumed && at + piece.consumed <= input.len());
            at += piece.consumed;
            if piece.consumed == 0 {
                break;
            }
        }
    }
}
