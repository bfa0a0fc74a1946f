//! Speaking to the control socket.

use pando_routing::{Acknowledgement, EndpointId, PoolId, PoolStats, ProxyStats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Proxy, TableBuilder, within};

impl Proxy {
    pub(crate) async fn try_control(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.directory.path().join("control.sock")).await?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        within("an answer of the control socket", self.try_control(method, path, body)).await.unwrap()
    }

    /// Puts a table, which must be taken.
    pub(crate) async fn put(&self, table: &TableBuilder) -> Acknowledgement {
        let (status, body) = self.control("PUT", "/v1/table", &table.json()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Puts a table and waits until everything in it is in rotation.
    pub(crate) async fn put_ready(&self, table: &TableBuilder) {
        if self.put(table).await.not_in_rotation.is_empty() {
            return;
        }
        self.wait_for_stats("everybody is in rotation", |stats| stats.not_in_rotation.is_empty()).await;
    }

    pub(crate) async fn stats(&self) -> ProxyStats {
        self.poll_stats("").await
    }

    pub(crate) async fn poll_stats(&self, query: &str) -> ProxyStats {
        let (status, body) = self.control("GET", &format!("/v1/stats{query}"), "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A long poll that is on its way when this returns a handle to wait for.
    pub(crate) fn poll_stats_owned(
        &self,
        after: u64,
        wait_millis: u64,
    ) -> impl Future<Output = ProxyStats> + use<> {
        let socket = self.directory.path().join("control.sock");
        let request = format!(
            "GET /v1/stats?after={after}&wait_millis={wait_millis} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n"
        );
        let polling = tokio::spawn(async move {
            let mut stream = UnixStream::connect(socket).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        });
        async { polling.await.unwrap() }
    }

    /// Long-polls until `condition` holds. Counters alone don't wake a poll, so it doesn't wait for long.
    pub(crate) async fn wait_for_stats(
        &self,
        what: &str,
        condition: impl Fn(&ProxyStats) -> bool,
    ) -> ProxyStats {
        let waiting = async {
            let mut stats = self.stats().await;
            while !condition(&stats) {
                stats = self.poll_stats(&format!("?after={}&wait_millis=20", stats.sequence)).await;
            }
            stats
        };
        within(what, waiting).await
    }

    pub(crate) async fn wait_idle(&self, id: EndpointId) {
        self.wait_for_stats("the endpoint is idle", |stats| !stats.in_flight.contains_key(&id)).await;
    }

    pub(crate) async fn pool(&self, name: &str) -> PoolStats {
        self.stats().await.pools.get(&PoolId(name.to_owned())).cloned().unwrap_or_default()
    }

    /// The pool's counts once `condition` holds: a request is counted when its last byte is out, which a client may see first.
    pub(crate) async fn wait_for_pool(
        &self,
        name: &str,
        condition: impl Fn(&PoolStats) -> bool,
    ) -> PoolStats {
        let id = PoolId(name.to_owned());
        let of = |stats: &ProxyStats| stats.pools.get(&id).cloned().unwrap_or_default();
        of(&self.wait_for_stats("the pool's counts", |stats| condition(&of(stats))).await)
    }

    pub(crate) async fn metrics(&self) -> String {
        let (status, body) = self.control("GET", "/metrics", "").await;
        assert_eq!(status, 200);
        body
    }
}
