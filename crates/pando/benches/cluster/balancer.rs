//! What a load balancer says of itself, over its control socket.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

/// The replicas of its table that it sends nothing to.
pub(crate) fn not_in_rotation(socket: &Path) -> BTreeSet<String> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let question = "GET /v1/stats?after=0&wait_millis=0 HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n";
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let stats: Value = serde_json::from_str(body).unwrap();
    let ids = stats["not_in_rotation"].as_array().into_iter().flatten();
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}
