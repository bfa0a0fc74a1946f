//! Traffic rules, as clients of both protocols and replicas meet them.

mod answers;
mod authority;
mod bodies;
mod compression;
mod hostile;
mod lifetime;
mod limits;
mod matching;
mod pages;
mod passwords;
mod pause;
mod requests;
mod split;

use crate::support::http2::{Http2, request};
use crate::support::{App, Proxy, Response, TableBuilder};

/// A table with rules and two pools, `web` of one app and `other` of another.
fn table(revision: u64, rules: &[&str], web: &App, other: &App) -> TableBuilder {
    let table = TableBuilder::new(revision).pool("web", [&web.endpoint], |_| {});
    let table = table.pool("other", [&other.endpoint], |_| {});
    rules.iter().fold(table, |table, rule| table.json_rule(rule))
}

/// A proxy with these rules, and what is behind it.
struct Scene {
    proxy: Proxy,
    web: App,
    other: App,
}

impl Scene {
    async fn with(rules: &[&str]) -> Self {
        Self::adjusted(rules, |table| table).await
    }

    async fn adjusted(rules: &[&str], adjust: impl FnOnce(TableBuilder) -> TableBuilder) -> Self {
        let (web, other) = (App::named("web").await, App::named("other").await);
        Self::of(web, other, rules, adjust).await
    }

    async fn of(
        web: App,
        other: App,
        rules: &[&str],
        adjust: impl FnOnce(TableBuilder) -> TableBuilder,
    ) -> Self {
        let proxy = Proxy::start().await;
        proxy.put_ready(&adjust(table(1, rules, &web, &other))).await;
        Self { proxy, web, other }
    }

    /// The same request over HTTP/1.1 and over HTTP/2: one answer each.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> [Response; 2] {
        [self.ask1(method, path, headers).await, self.ask2(method, path, headers).await]
    }

    async fn ask1(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut client = self.proxy.client().await;
        client.request(&format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n")).await
    }

    async fn ask2(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let client = Http2::connect(self.proxy.address).await;
        let mut asked = request(method, path);
        for (name, value) in headers {
            asked
                .headers_mut()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let answer = client.ask(asked).await.unwrap();
        let text = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Response {
            status: answer.status,
            version: "HTTP/2".to_owned(),
            headers,
            body: answer.body,
            ..Response::default()
        }
    }

    /// What metrics say of a line that begins so.
    async fn metric(&self, start: &str) -> u64 {
        let (_, page) = self.proxy.control("GET", "/metrics", "").await;
        let line =
            page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// All values of a header.
fn all<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    response.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}
