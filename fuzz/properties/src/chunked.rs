//! Chunked bodies.

use pando_http::{Decoder, Framing, Malformed, write};

/// A body is the same however it is cut; written anew, it is read as the same again.
pub fn chunked(data: &[u8]) {
    let (step, data) = data.split_first().map_or((1, data), |(step, rest)| (usize::from(*step).max(1), rest));
    let at_once = decode(data, data.len().max(1));
    let in_pieces = decode(data, step);
    assert_eq!(at_once, in_pieces, "a body depends on how it arrives");
    let Ok(Some((body, _))) = at_once else { return };
    let mut again = Vec::new();
    body.chunks(step).for_each(|piece| write::chunk(&mut again, piece));
    write::end(&mut again, None);
    assert_eq!(decode(&again, again.len()), Ok(Some((body, again.len()))));
}

/// The body and how many bytes it took; `None`: it goes on.
fn decode(data: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut decoder = Decoder::from(Framing::Chunked);
    let (mut body, mut taken, mut here) = (Vec::new(), 0, 0);
    while !decoder.is_done() {
        let piece = decoder.decode(&data[taken..here])?;
        body.extend_from_slice(&data[taken..here][piece.data]);
        taken += piece.consumed;
        if piece.consumed == 0 && !decoder.is_done() {
            if here == data.len() {
                return Ok(None);
            }
            here = (here + step).min(data.len());
        }
    }
    Ok(Some((body, taken)))
}
