//! What images are, by their names, and names that are clocks.

/// The type of service that an image is, if it is one that Pando knows.
pub(super) fn service_type(image: &str) -> Option<&'static str> {
    match base_name(image) {
        "postgres" | "postgresql" | "postgis" | "pgvector" | "timescaledb" | "timescaledb-ha" => {
            Some("postgres")
        }
        "mysql" | "mariadb" | "percona" | "mysql-server" => Some("mysql"),
        "redis" | "valkey" | "keydb" | "dragonfly" | "redis-stack" | "redis-stack-server" => Some("redis"),
        "memcached" => Some("memcached"),
        "minio" => Some("s3"),
        _ => None,
    }
}

/// The role that the server of such a service has unless the file names another.
pub(super) fn usual_role(kind: &str) -> &'static str {
    if matches!(kind, "redis" | "memcached") { "cache" } else { "db" }
}

/// What an image is to the app when it is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// It brings requests to the app, as Pando's load balancer does.
    Proxy,
    /// It does so, or serves files, which may be all that there is.
    WebServer,
    /// It keeps something for the app, and is of no type of service that Pando knows.
    Store,
    /// It is for those who develop or watch the app.
    Tool,
}

/// What an image is beside an app; `None`: it may be one.
pub(super) fn beside(image: &str) -> Option<Beside> {
    if image.contains("mssql/server") {
        return Some(Beside::Store);
    }
    match base_name(image) {
        "nginx" | "nginx-unprivileged" | "httpd" | "caddy" => Some(Beside::WebServer),
        "traefik"
        | "nginx-proxy"
        | "caddy-docker-proxy"
        | "haproxy"
        | "acme-companion"
        | "swag"
        | "letsencrypt-nginx-proxy-companion"
        | "nginx-proxy-manager"
        | "cloudflared"
        | "certbot"
        | "envoy"
        | "https-portal" => Some(Beside::Proxy),
        "mongo" | "mongodb" | "rabbitmq" | "elasticsearch" | "opensearch" | "kafka" | "cp-kafka"
        | "zookeeper" | "cp-zookeeper" | "meilisearch" | "clickhouse" | "clickhouse-server" | "nats"
        | "cassandra" | "influxdb" | "neo4j" | "solr" | "etcd" | "vault" | "typesense" | "qdrant"
        | "localstack" | "couchdb" | "activemq" | "redpanda" | "scylla" | "cockroach" | "arangodb"
        | "surrealdb" | "chroma" | "weaviate" | "beanstalkd" | "temporal" | "consul" => Some(Beside::Store),
        "adminer"
        | "phpmyadmin"
        | "pgadmin4"
        | "mailhog"
        | "mailpit"
        | "mailcatcher"
        | "maildev"
        | "redis-commander"
        | "mongo-express"
        | "watchtower"
        | "portainer"
        | "portainer-ce"
        | "dozzle"
        | "autoheal"
        | "standalone-chrome"
        | "standalone-firefox"
        | "standalone-chromium"
        | "cadvisor"
        | "node-exporter"
        | "prometheus"
        | "grafana"
        | "jaeger"
        | "kibana"
        | "logstash"
        | "redisinsight"
        | "docker-socket-proxy"
        | "whoami"
        | "mc"
        | "kafka-ui"
        | "opensearch-dashboards"
        | "loki"
        | "promtail"
        | "wait-for-it" => Some(Beside::Tool),
        _ => None,
    }
}

fn base_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// The version that an image's tag says: `15.2` of `postgres:15.2-alpine`.
pub(super) fn service_version(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let tag = tag.split('@').next().unwrap_or(tag);
    let version: String = tag.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_end_matches('.').to_owned();
    (!version.is_empty()).then_some(version)
}

/// Whether a process by that name starts jobs by the clock, so that two of it would start them twice.
pub(super) fn is_clock(name: &str) -> bool {
    name.split(['-', '_']).any(|word| matches!(word, "clock" | "cron" | "scheduler" | "beat"))
}

/// Where such a service listens unless it is told otherwise.
pub(super) fn usual_port(kind: &str) -> u16 {
    match kind {
        "postgres" => 5432,
        "mysql" => 3306,
        "redis" => 6379,
        "memcached" => 11211,
        _ => 9000,
    }
}
