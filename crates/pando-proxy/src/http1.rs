//! A client's connection over HTTP/1: one request after the other, from accept to close, tunnel included.

mod closing;
mod front;
mod next;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pando_http::Refusal;
use pando_rt::shutdown::Shutdown;

use crate::client::Client;
use crate::forward::{End, forward};
use crate::http2;
use crate::plane::Plane;
use crate::wire::Wire;
use crate::worker::Presence;
use front::Http1;
use next::{Next, Patience};

/// Serves one connection until it ends. When `stop` begins it ends gracefully.
pub(crate) async fn serve(wire: Wire, client: Client, plane: Arc<Plane>, presence: Presence, stop: Shutdown) {
    let mut connection = Http1::new(wire);
    // A proxy that another one succeeds is in no hurry: idle clients learn of it by their next answer.
    let stopping = pin!(plane.end.wait());
    let mut patience = Patience::new(stopping, &presence);
    let mut is_first = true;
    loop {
        let asked = match connection.next(&plane.limits, &mut patience).await {
            Next::Asked(asked) => asked,
            Next::Preface if is_first => {
                let (wire, first) = connection.into_parts();
                let serving =
                    http2::serve(wire, first, client, Arc::clone(&plane), presence.clone(), stop.clone());
                return Box::pin(serving).await;
            }
            Next::Preface => return refuse(connection, Refusal::Version, &plane).await,
            Next::Refused(refusal) => return refuse(connection, refusal, &plane).await,
            Next::TooSlow => {
                plane.gauges.refused_heads.fetch_add(1, Relaxed);
                return connection.too_slow();
            }
            Next::Over => return,
        };
        is_first = false;
        connection.begin(&asked.head);
        match forward(&mut connection, asked, &client, &plane).await {
            End::Next => {}
            End::Close => return connection.close(plane.limits.client_stall).await,
            End::Cut => return connection.cut(),
            End::Tunnel(tunnel) => {
                let (wire, first) = connection.into_parts();
                return tunnel.run(wire, first, &plane).await;
            }
        }
    }
}

/// There is no request that the access log could tell of; so it is counted.
async fn refuse(connection: Http1, refusal: Refusal, plane: &Plane) {
    plane.gauges.refused_heads.fetch_add(1, Relaxed);
    connection.refuse(refusal, &plane.limits).await;
}
