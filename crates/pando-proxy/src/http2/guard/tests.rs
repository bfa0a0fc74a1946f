use proptest::prelude::*;

use super::*;

const RATES: Rates = Rates { resets: 10, control: 100 };

fn guard() -> Guard {
    let mut guard = Guard::new(RATES, 1);
    guard.watch(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1).unwrap();
    guard
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn verdict(frames: &[Vec<u8>]) -> Result<(), Reason> {
    guard().watch(&frames.concat(), 1).map_err(|violation| violation.reason)
}

#[test]
fn sizes_have_their_own_code() {
    for (kind, flags, length) in [
        (0, 0, 16_385),
        (1, 4, 16_385),
        (2, 0, 4),
        (3, 0, 5),
        (4, 0, 5),
        (4, 1, 6),
        (6, 0, 7),
        (7, 0, 7),
        (8, 0, 3),
    ] {
        let stream = u32::from(!matches!(kind, 4 | 6 | 7));
        let found = verdict(&[frame(kind, flags, stream, &vec![0; length])]);
        assert_eq!(found, Err(Reason::FRAME_SIZE_ERROR), "{kind} {length}");
    }
    for (kind, length) in [(0, 16_384), (2, 5), (3, 4), (4, 12), (4, 0), (6, 8), (7, 8), (8, 4), (99, 77)] {
        assert_eq!(verdict(&[frame(kind, 0, 1, &vec![0; length])]), Ok(()), "{kind} {length}");
    }
    assert_eq!(verdict(&[frame(5, 4, 1, &[0; 8])]), Err(Reason::PROTOCOL_ERROR));
    // A block is not interrupted, nor does it go on after its end.
    let head = |flags| frame(1, flags, 1, &[0x82]);
    assert_eq!(verdict(&[head(0), frame(0, 0, 1, b"x")]), Err(Reason::PROTOCOL_ERROR));
    assert_eq!(verdict(&[head(1), frame(0, 0, 1, b"x")]), Err(Reason::PROTOCOL_ERROR));
    assert_eq!(verdict(&[head(4), frame(9, 4, 1, &[0x82])]), Err(Reason::PROTOCOL_ERROR));
    let more = [frame(9, 0, 1, &[0x82]), frame(9, 4, 1, &[]), frame(6, 0, 0, &[0; 8])];
    assert_eq!(verdict(&[&[head(0)][..], &more].concat()), Ok(()));
    let settings =
        |value: u32| frame(4, 0, 0, &[&[0, 3, 0, 0, 0, 9, 0, 4][..], &value.to_be_bytes()].concat());
    assert_eq!(verdict(&[settings(MOST_WINDOW)]), Ok(()));
    assert_eq!(verdict(&[settings(MOST_WINDOW + 1)]), Err(Reason::FLOW_CONTROL_ERROR));
}

#[test]
fn nothing_comes_after_the_end_of_a_stream() {
    let head = |stream, flags| frame(1, flags, stream, &[0x82]);
    let data = |stream, flags| frame(0, flags, stream, b"x");
    let closed = Err(Reason::STREAM_CLOSED);
    assert_eq!(verdict(&[head(1, 5), data(1, 0)]), closed);
    assert_eq!(verdict(&[head(1, 4), data(1, 1), data(1, 0)]), closed);
    assert_eq!(verdict(&[head(1, 4), frame(3, 0, 1, &[0; 4]), head(1, 5)]), closed);
    assert_eq!(verdict(&[head(1, 5), head(1, 5)]), closed);
    assert_eq!(verdict(&[head(1, 4), data(1, 0), head(3, 5), data(1, 1), frame(8, 0, 1, &[0; 4])]), Ok(()));
    // Older ones are for others to judge; memory is bounded.
    let mut many: Vec<_> = (0..100).map(|n| head(2 * n + 1, 5)).collect();
    many.push(data(1, 0));
    assert_eq!(verdict(&many), Ok(()));
}

#[test]
fn trailers_have_no_pseudo_headers_however_they_are_cut() {
    let begin = frame(1, 4, 1, &[0x82]);
    let trailers = |frames: &[Vec<u8>]| verdict(&[vec![begin.clone()], frames.to_vec()].concat());
    let bad = Err(Reason::PROTOCOL_ERROR);
    assert_eq!(trailers(&[frame(1, 5, 1, &[0x84])]), bad);
    assert_eq!(trailers(&[frame(1, 1, 1, &[0x00]), frame(9, 4, 1, &[1, b':', 0])]), bad);
    assert_eq!(trailers(&[frame(1, 1, 1, &[0x84]), frame(9, 4, 1, &[])]), bad);
    // Padding and priority are no part of the block, wherever it goes on.
    assert_eq!(trailers(&[frame(1, 5 | 0x28, 1, &[1, 0, 0, 0, 0, 0, 0x84, 0])]), bad);
    assert_eq!(trailers(&[frame(1, 1 | 0x8, 1, &[2, 0x00, 1, 0, 0]), frame(9, 4, 1, &[b':', 0])]), bad);
    assert_eq!(
        trailers(&[frame(1, 5 | 0x8, 1, &[4, 0x00, 1, b'a', 1, b'b', 0x84, 0x84, 0x84, 0x84])]),
        Ok(())
    );
    assert_eq!(trailers(&[frame(1, 5, 1, &[0x00, 1, b'a', 1, b':'])]), Ok(()));
    // The head itself has them.
    assert_eq!(verdict(&[frame(1, 5, 1, &[0x82, 0x84])]), Ok(()));
    let endless: Vec<_> =
        (0..3).map(|n| frame(if n == 0 { 1 } else { 9 }, 1 - n.min(1), 1, &[0xbe; 9000])).collect();
    assert_eq!(trailers(&endless), Err(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn what_comes_too_often_ends_the_connection() {
    let calm = Err(Reason::ENHANCE_YOUR_CALM);
    let pings = |count| vec![frame(6, 0, 0, &[0; 8]); count];
    assert_eq!(verdict(&pings(200)), Ok(()));
    assert_eq!(verdict(&pings(201)), calm);
    for flood in [
        frame(4, 0, 0, &[]),
        frame(2, 0, 1, &[0; 5]),
        frame(0, 0, 1, &[]),
        frame(77, 0, 1, b"?"),
        frame(8, 0, 0, &[0, 0, 0, 1]),
    ] {
        assert_eq!(verdict(&vec![flood; 201]), calm);
    }
    let resets: Vec<_> = (0..21).map(|n| frame(3, 0, 2 * n + 1, &[0; 4])).collect();
    assert_eq!(verdict(&resets[..20]), Ok(()));
    assert_eq!(verdict(&resets), calm);
    // A second later there is room again.
    let mut guard = guard();
    guard.watch(&pings(200).concat(), 1).unwrap();
    guard.watch(&pings(100).concat(), 1001).unwrap();
    assert!(guard.watch(&pings(2).concat(), 1001).is_err());
    // Bodies, and updates for what went out, are never too many.
    let updates = vec![frame(8, 0, 0, &[0, 0, 0, 1]); 1000].concat();
    guard.says(&frame(0, 0, 1, &[0; 512 * 1000]));
    guard.watch(&updates, 1001).unwrap();
    guard.watch(&vec![frame(0, 0, 1, b"x"); 10_000].concat(), 1001).unwrap();
}

/// gRPC's clients send a `PING` and a `WINDOW_UPDATE` or two with each answer that they get, thousands in a second.
#[test]
fn frames_of_answers_earn_pings_and_updates() {
    let answer = [frame(1, 4, 1, b"head"), frame(0, 0, 1, b"small"), frame(1, 5, 1, b"end")].concat();
    let reply =
        [frame(6, 0, 0, &[0; 8]), frame(8, 0, 0, &[0, 0, 0, 9]), frame(8, 0, 1, &[0, 0, 0, 9])].concat();
    let mut guard = guard();
    for n in 0..1000 {
        // However it is cut.
        let (first, rest) = answer.split_at(n % answer.len());
        guard.says(first);
        guard.says(rest);
        guard.watch(&reply, 1).unwrap();
    }
    // What answers a `PING`, or settings, earns none.
    let acks = [frame(6, 1, 0, &[0; 8]), frame(4, 1, 0, &[])].concat();
    let refused = (0..1000).find(|_| {
        guard.says(&acks);
        guard.watch(&frame(6, 0, 0, &[0; 8]), 1).is_err()
    });
    assert!((200..400).contains(&refused.unwrap()), "{refused:?}");
}

#[test]
fn what_does_not_end_is_known() {
    let mut guard = guard();
    assert_eq!(guard.unfinished(), None);
    let head = frame(1, 0, 1, &[0x82]);
    guard.watch(&head[..5], 10).unwrap();
    guard.watch(&head[5..], 20).unwrap();
    assert_eq!(guard.unfinished(), Some(10), "its block goes on");
    guard.watch(&frame(9, 4, 1, &[0x84]), 30).unwrap();
    assert_eq!(guard.unfinished(), None);
    // A body may take its time.
    guard.watch(&frame(0, 0, 1, b"hello")[..11], 40).unwrap();
    assert_eq!(guard.unfinished(), None);
    assert_eq!(Guard::new(RATES, 7).unfinished(), Some(7), "nor does a preface");
}

proptest! {
    /// However the bytes are cut: the same frame is found, and what is let through ends before it.
    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(1usize..60, 0..12), before in 0usize..4) {
        let mut bytes = [frame(1, 4, 1, &[0x82, 0x84]), frame(0, 0, 1, b"some body")].concat();
        bytes.extend(vec![frame(6, 0, 0, &[1; 8]); before].concat());
        let innocent = bytes.len();
        bytes.extend(frame(1, 5, 1, &[0x00, 1, b'a', 1, b'b', 0x84]));
        let (mut guard, mut at, mut passed) = (guard(), 0, 0);
        let mut ends: Vec<usize> = cuts.iter().scan(0, |sum, cut| { *sum += cut; Some((*sum).min(bytes.len())) }).collect();
        ends.push(bytes.len());
        for end in ends {
            match guard.watch(&bytes[at..end], 1) {
                Ok(()) => passed = end,
                Err(violation) => {
                    prop_assert_eq!(violation.reason, Reason::PROTOCOL_ERROR);
                    passed = at + violation.at;
                    break;
                }
            }
            at = end;
        }
        prop_assert!(passed < bytes.len() && passed >= innocent.min(at), "{} of {}", passed, bytes.len());
    }
}
