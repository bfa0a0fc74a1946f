//! Images that are databases and caches, and names that are clocks.

/// The type of service that an image is, if it is one that Pando knows.
pub(super) fn service_type(image: &str) -> Option<&'static str> {
    match base_name(image) {
        "postgres" | "postgresql" | "postgis" | "pgvector" | "timescaledb" => Some("postgres"),
        "mysql" | "mariadb" | "percona" => Some("mysql"),
        "redis" | "valkey" | "keydb" | "dragonfly" => Some("redis"),
        "memcached" => Some("memcached"),
        "minio" => Some("s3"),
        _ => None,
    }
}

fn base_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// The version that an image's tag says: `15` of `postgres:15.2-alpine`.
pub(super) fn service_version(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let version: String = tag.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_end_matches('.').to_owned();
    (!version.is_empty()).then_some(version)
}

/// Whether a process by that name starts jobs by the clock, so that two of it would start them twice.
pub(super) fn is_clock(name: &str) -> bool {
    name.split(['-', '_']).any(|word| matches!(word, "clock" | "cron" | "scheduler" | "beat"))
}
