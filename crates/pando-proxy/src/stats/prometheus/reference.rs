//! The page of the reference that lists every family.

use std::fmt::Write;

use super::families::ALL;

const HEAD: &str = "# Metrics of the load balancer

<!-- Written by `cargo run -p xtask -- docs` from the families that the program has. -->

`pando proxy --metrics ADDRESS:PORT` answers `GET /metrics`, and so does the control socket, in Prometheus' text format. Counters begin at 0 with the process;
an upgrade is a new process. Sums and bounds of histograms are in seconds, the bounds from 0.25 ms to 134 s, each twice the one before.

A `pool` is called as in the table (`app/process` in a cluster), a `route` by the name of its rule. Rules with a name have figures, and so have those that do more than lead to a pool (called by host and
path where they have none): the first thousand of the table each their own, the rest together as `(other)`. `endpoint` is an id that lasts from table to table, `name` is for people. Figures of TLS, PROXY headers,
spans and the access log are there where those are in use.

| metric | kind | labels | |
|---|---|---|---|
";

/// The reference, as Markdown.
#[must_use]
pub fn metrics_markdown() -> String {
    let mut text = HEAD.to_owned();
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (family.name, family.kind.name(), labels.join(", "));
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", family.help);
    }
    text
}
