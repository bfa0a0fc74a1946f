use std::task::Poll;

use tokio::sync::oneshot;

use super::*;

fn streams() -> Streams {
    Streams::new(Bell::new())
}

#[test]
fn a_panic_ends_one_stream_and_no_other() {
    let mut streams = streams();
    streams.push(Box::pin(std::future::pending()));
    streams.push(Box::pin(async { panic!("of one stream") }));
    streams.poll();
    assert!(!streams.have_ended() && !streams.is_empty());
    assert_eq!(streams.free, [1]);
}

#[test]
fn who_is_woken_goes_on() {
    let mut streams = streams();
    let (tell, told) = oneshot::channel::<()>();
    streams.push(Box::pin(async { drop(told.await) }));
    streams.push(Box::pin(std::future::pending()));
    assert!(streams.are_called());
    streams.poll();
    assert!(!streams.are_called() && streams.free.is_empty());
    tell.send(()).unwrap();
    assert!(streams.are_called());
    streams.poll();
    assert_eq!(streams.free, [0]);
}

#[test]
fn a_stream_that_wakes_itself_goes_on_at_the_next_look() {
    let mut streams = streams();
    streams.push(Box::pin(async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }));
    for _ in 0..3 {
        assert!(streams.are_called());
        streams.poll();
        assert!(!streams.have_ended());
    }
    streams.poll();
    assert!(streams.have_ended() && !streams.have_ended());
}

/// Its place is somebody else's by then, or nobody's.
#[test]
fn a_late_waker_does_no_harm() {
    let mut streams = streams();
    let (keep, kept) = oneshot::channel();
    let mut keep = Some(keep);
    streams.push(Box::pin(std::future::poll_fn(move |cx| {
        let Some(keep) = keep.take() else { return Poll::Pending };
        keep.send(cx.waker().clone()).unwrap();
        Poll::Ready(())
    })));
    streams.poll();
    let late: Waker = kept.blocking_recv().unwrap();
    assert!(streams.have_ended() && !streams.are_called());
    late.wake_by_ref();
    streams.poll();
    streams.push(Box::pin(std::future::pending()));
    late.wake_by_ref();
    streams.poll();
    assert!(!streams.is_empty());
    streams.clear();
    late.wake_by_ref();
    streams.poll();
    assert!(streams.is_empty());
    streams.push(Box::pin(async {}));
    late.wake();
    streams.poll();
    assert!(streams.have_ended());
}
