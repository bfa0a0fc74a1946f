//! Every route with every kind of token: who gets in, and who does not.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pando_api::auth::{Bearer, Scope};
use pando_control::http::routes;
use pando_model::id::ServerId;
use pando_model::time::Millis;

use crate::cluster::{Cluster, app, id, spec};

/// Who may use a route, written down apart from the code's own table.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("GET", "/healthz", "all"),
    ("GET", "/v1/version", "all"),
    ("GET", "/v1/openapi.json", "all"),
    ("GET", "/v1/status", "read admin"),
    ("GET", "/v1/apps", "read admin"),
    ("GET", "/v1/apps/{app}", "read deploy admin"),
    ("DELETE", "/v1/apps/{app}", "deploy admin"),
    ("GET", "/v1/apps/{app}/releases", "read deploy admin"),
    ("GET", "/v1/apps/{app}/deployments", "read deploy admin"),
    ("POST", "/v1/apps/{app}/deployments", "deploy admin"),
    ("GET", "/v1/apps/{app}/deployments/{deployment}", "read deploy admin"),
    ("POST", "/v1/apps/{app}/scale", "deploy admin"),
    ("POST", "/v1/apps/{app}/stop", "deploy admin"),
    ("POST", "/v1/apps/{app}/start", "deploy admin"),
    ("POST", "/v1/apps/{app}/maintenance", "deploy admin"),
    ("DELETE", "/v1/apps/{app}/maintenance", "deploy admin"),
    ("POST", "/v1/apps/{app}/pause", "deploy admin"),
    ("DELETE", "/v1/apps/{app}/pause", "deploy admin"),
    ("GET", "/v1/apps/{app}/logs", "read deploy admin"),
    ("POST", "/v1/apps/{app}/exec", "deploy admin"),
    ("GET", "/v1/events", "read admin"),
    ("GET", "/v1/traffic", "read admin"),
    ("GET", "/v1/traffic/endpoints", "read admin"),
    ("GET", "/v1/servers", "read admin"),
    ("GET", "/v1/servers/{server}", "read admin"),
    ("DELETE", "/v1/servers/{server}", "admin"),
    ("POST", "/v1/servers/{server}/roles", "admin"),
    ("POST", "/v1/servers/{server}/labels", "admin"),
    ("POST", "/v1/servers/{server}/drain", "admin"),
    ("POST", "/v1/servers/{server}/undrain", "admin"),
    ("GET", "/v1/settings", "read admin"),
    ("PATCH", "/v1/settings", "admin"),
    ("GET", "/v1/balancers", "read admin"),
    ("POST", "/v1/balancers/lockdown", "admin"),
    ("POST", "/v1/balancers/unlock", "admin"),
    ("GET", "/v1/certificates", "read admin"),
    ("POST", "/v1/certificates", "admin"),
    ("DELETE", "/v1/certificates/{certificate}", "admin"),
    ("GET", "/v1/registries", "read admin"),
    ("PUT", "/v1/registries/{registry}", "admin"),
    ("DELETE", "/v1/registries/{registry}", "admin"),
    ("GET", "/v1/prune", "read admin"),
    ("POST", "/v1/prune", "admin"),
    ("GET", "/v1/firewall", "read admin"),
    ("HEAD", "/v1/artifacts/{digest}", "deploy deploy-other admin"),
    ("PUT", "/v1/artifacts/{digest}", "deploy deploy-other admin"),
    ("GET", "/v1/artifacts/{digest}", "admin agent agent-other"),
    ("POST", "/v1/apps/{app}/image", "deploy admin"),
    ("GET", "/v1/layers/{layer}", "deploy deploy-other admin"),
    ("PUT", "/v1/layers/{layer}", "deploy deploy-other admin"),
    ("PUT", "/v1/images/{digest}", "deploy deploy-other admin"),
    ("POST", "/v1/cluster/join-tokens", "admin"),
    ("POST", "/v1/join", "join"),
    ("POST", "/v1/agents/{server}/certificate", "agent"),
    ("GET", "/v1/tokens", "admin"),
    ("POST", "/v1/tokens", "admin"),
    ("DELETE", "/v1/tokens/{token}", "admin"),
    ("GET", "/v1/agents/{server}/target", "agent"),
    ("POST", "/v1/agents/{server}/reports", "agent"),
    ("GET", "/v1/agents/{server}/registries/{registry}", "agent"),
];

const SCOPES: &[&str] = &["read", "deploy", "deploy-other", "admin", "agent", "agent-other", "join"];

struct Prober {
    http: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    base: String,
}

impl Prober {
    fn new(cluster: &Cluster) -> Self {
        Self { http: Client::builder(TokioExecutor::new()).build_http(), base: cluster.url() }
    }

    async fn status(&self, method: &Method, path: &str, authorization: Option<&str>) -> u16 {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let response = self.http.request(request.body(Full::default()).unwrap()).await.unwrap();
        response.status().as_u16()
    }
}

fn concrete(path: &str, cluster: &Cluster) -> String {
    path.replace("{app}", "hits")
        .replace("{deployment}", &id(9).to_string())
        .replace("{digest}", &"0".repeat(64))
        .replace("{token}", "0123456789abcdef")
        .replace("{certificate}", "a.example")
        .replace("{registry}", "registry.example.com:5000")
        .replace("{server}", &cluster.server.to_string())
}

async fn tokens(cluster: &Cluster) -> Vec<(&'static str, Bearer)> {
    let deploy = |name: &str| Scope::Deploy { apps: vec![app(name)] };
    let other = ServerId::from_uuid(id(2));
    let scopes = [
        ("read", Scope::Read),
        ("deploy", deploy("hits")),
        ("deploy-other", deploy("shop")),
        ("admin", Scope::Admin),
        ("agent", Scope::Agent { server: cluster.server }),
        ("agent-other", Scope::Agent { server: other }),
        ("join", Scope::Join),
    ];
    let mut tokens = Vec::new();
    for (name, scope) in scopes {
        tokens.push((name, cluster.token(scope, None).await));
    }
    tokens
}

#[test]
fn every_route_is_expected() {
    let table: BTreeSet<_> = routes().iter().map(|r| (r.method.to_string(), r.path.to_owned())).collect();
    let expected = EXPECTED.iter().map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(table, expected);
}

#[tokio::test]
async fn every_scope_on_every_route() {
    let cluster = Cluster::in_memory().await;
    let prober = Prober::new(&cluster);
    let tokens = tokens(&cluster).await;
    for (method, path, allowed) in EXPECTED {
        let method: Method = method.parse().unwrap();
        let allowed: Vec<&str> =
            if *allowed == "all" { SCOPES.to_vec() } else { allowed.split(' ').collect() };
        // Deleting an app or sending a wrong artifact changes nothing for those that come after.
        for (name, bearer) in &tokens {
            let header = format!("Bearer {}", bearer.reveal());
            let status = prober.status(&method, &concrete(path, &cluster), Some(&header)).await;
            let let_in = !matches!(status, 401 | 403);
            assert_eq!(let_in, allowed.contains(name), "{method} {path} with {name}: {status}");
        }
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let cluster = Cluster::in_memory().await;
    let prober = Prober::new(&cluster);
    let expired = cluster.token(Scope::Admin, Some(Millis(1))).await;
    let good = cluster.token(Scope::Admin, None).await;
    let issued = cluster.now();
    while cluster.now().since(issued) < Millis(2) {
        tokio::task::yield_now().await;
    }
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer pando_{}", "0".repeat(64))),
        Some(format!("Bearer {}", expired.reveal())),
        Some(format!("Bearer {}x", good.reveal())),
        Some(format!("Bearer {}", &good.reveal()[..good.reveal().len() - 1])),
        Some(format!("Bearer {}", good.reveal().to_uppercase())),
        Some(format!("Basic {}", good.reveal())),
        Some(good.reveal().to_owned()),
    ];
    for (method, path, allowed) in EXPECTED {
        let method: Method = method.parse().unwrap();
        for header in &wrong {
            let status = prober.status(&method, &concrete(path, &cluster), header.as_deref()).await;
            assert_eq!(status == 401, *allowed != "all", "{method} {path} with {header:?}: {status}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_table_is_not_reachable() {
    let cluster = Cluster::in_memory().await;
    let prober = Prober::new(&cluster);
    let header = format!("Bearer {}", cluster.token(Scope::Admin, None).await.reveal());
    let header = Some(header.as_str());
    for path in ["/", "/v1", "/v2/apps", "/v1/apps/", "/v1/apps/hits/", "/v1/apps/hits/secrets", "//v1/apps"]
    {
        assert_eq!(prober.status(&Method::GET, path, header).await, 404, "{path}");
    }
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]
        .map(|m| m.parse().unwrap());
    for (_, path, _) in EXPECTED {
        for method in &methods {
            let listed = EXPECTED.iter().any(|(m, p, _)| p == path && *m == Method::as_str(method));
            let status = prober.status(method, &concrete(path, &cluster), header).await;
            if !listed {
                assert!(matches!(status, 400 | 405), "{method} {path}: {status}");
            }
        }
    }
}

/// Lists that a deploy token may see when it asks for its own app alone.
#[tokio::test]
async fn a_deploy_token_sees_events_and_traffic_of_its_apps() {
    let cluster = Cluster::in_memory().await;
    cluster.deploy(spec("hits")).await;
    let prober = Prober::new(&cluster);
    let bearer = cluster.token(Scope::Deploy { apps: vec![app("hits")] }, None).await;
    let header = format!("Bearer {}", bearer.reveal());
    for (query, status) in [
        ("", 403),
        ("?app=shop", 403),
        ("?app=hits", 200),
        ("?app=hits&app=shop", 403),
        ("?app=shop&app=hits", 403),
        ("?app=hits&app=hits", 403),
        ("?%61pp=hits&app=shop", 403),
        ("?app=", 400),
        ("?app=HITS", 400),
    ] {
        for path in ["/v1/events", "/v1/traffic"] {
            let got = prober.status(&Method::GET, &format!("{path}{query}"), Some(&header)).await;
            assert_eq!(got, status, "{path}{query}");
        }
    }
}
