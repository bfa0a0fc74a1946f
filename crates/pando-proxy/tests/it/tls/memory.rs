//! What an idle connection costs.

use crate::support::{App, Caller, Issued, TableBuilder, TlsProxy};

const CONNECTIONS: usize = 1000;

/// Pages of this process in memory, as bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The client's part is given back after each handshake, and used again by the next one: what grows is the proxy's.
#[tokio::test]
async fn idle_connections_are_counted_and_what_they_cost_is_told() {
    let app = App::named("app").await;
    let issued = Issued::for_hosts(&["a.example"]);
    let TlsProxy { proxy, secure } = TlsProxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint]).certificate(&issued, &["a.example"])).await;
    let caller = Caller::trusting(&[&issued]);
    let mut open = Vec::with_capacity(CONNECTIONS + 50);
    let mut before = 0;
    for n in 0..CONNECTIONS + 50 {
        if n == 50 {
            before = resident();
        }
        let mut client = caller.call(secure, "a.example").await;
        assert_eq!(client.get("/").await.text(), "app");
        open.push(client.stream.into_inner().into_inner().0);
    }
    let each = resident().saturating_sub(before) / CONNECTIONS;
    println!("{CONNECTIONS} idle TLS connections: {each} bytes of memory each");
    let metrics = proxy.metrics().await;
    assert!(metrics.contains(&format!("pando_proxy_connections {}\n", open.len())), "{metrics}");
}
