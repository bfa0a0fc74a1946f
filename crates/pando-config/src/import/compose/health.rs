//! `healthcheck`, with what an engine takes for granted where it says nothing.

use super::Process;
use super::keys::Keys;
use crate::decode::Leaf;
use crate::import::draft::Draft;
use crate::import::shell;
use crate::import::write::Out;
use crate::tree::{Node, Scalar};
use crate::value::{Count, Duration, UrlPath};

type Interval = Duration<100, 3_600_000>;
type CheckTimeout = Duration<10, 600_000>;
type Length = Duration<0, 86_400_000>;

const TIMES: [&str; 4] = ["interval", "timeout", "retries", "start_period"];

/// As Docker has them.
const INTERVAL: u64 = 30_000;
const RETRIES: u64 = 3;
/// Pando's own `start_timeout`.
const START_TIMEOUT: u64 = 60_000;

pub(super) fn carry_over(node: &Node, process: &mut Process, draft: &mut Draft) {
    let port = process.keys.iter().find_map(|(key, value)| match value {
        Out::Raw(port) if key == "port" => port.parse().ok(),
        _ => None,
    });
    let mut keys = Keys::of_map(node, "healthcheck", &process.service, draft);
    let test = keys.take("test");
    let off = keys.flag("disable") == Some(true);
    let health = match test.filter(|_| !off) {
        _ if off => vec![none()],
        None => times(&mut keys, false, process, draft),
        Some(test) => match question(test, port) {
            None => vec![none()],
            Some(mut health) => {
                health.extend(times(&mut keys, true, process, draft));
                health
            }
        },
    };
    tell_others(&mut keys, health == [none()], &process.service, draft);
    if !health.is_empty() {
        process.keys.push(("health".to_owned(), Out::Map(health)));
    }
}

/// Names what is not carried over. `is_none`: nothing is asked, and how often that is says nothing.
fn tell_others(keys: &mut Keys<'_>, is_none: bool, of: &str, draft: &mut Draft) {
    if is_none {
        for key in TIMES {
            keys.take(key);
        }
    }
    if keys.take("start_interval").is_some() && !is_none {
        let why = "a new replica is asked every 100 ms until it passes";
        draft.left_out("healthcheck.start_interval", of, why);
    }
    keys.name_others("healthcheck", of, "Compose has no such key", draft);
}

fn none() -> (String, Out) {
    ("type".to_owned(), Out::text("none"))
}

/// What is asked. `None`: nothing is.
fn question(test: &Node, port: Option<u16>) -> Option<Vec<(String, Out)>> {
    let line = test_line(test)?;
    let path = path_of(&line, port).filter(|path| UrlPath::parse(&Scalar::text(path.clone())).is_ok());
    Some(match path {
        Some(path) => vec![("path".to_owned(), Out::text(path))],
        None => vec![("type".to_owned(), Out::text("command")), ("command".to_owned(), Out::text(line))],
    })
}

/// `["CMD", …]` and `["CMD-SHELL", line]` as a line, text as it is; `NONE` is none.
fn test_line(node: &Node) -> Option<String> {
    let Some(items) = node.items() else { return shell::command_line(node) };
    let (first, rest) = items.split_first()?;
    match first.scalar()?.text.as_str() {
        "CMD-SHELL" => shell::command_line(rest.first()?),
        "CMD" => {
            let value = crate::tree::Value::List(rest.to_vec());
            shell::command_line(&Node { span: node.span, value })
        }
        _ => None,
    }
}

/// How often is asked and how long is waited. `whole`: what is not said is as Docker has it, and not as the image says.
fn times(keys: &mut Keys<'_>, whole: bool, process: &Process, draft: &mut Draft) -> Vec<(String, Out)> {
    let at = |key: &str| format!("services.{}.healthcheck.{key}", process.service);
    let [interval, timeout, retries, start_period] = TIMES.map(|key| keys.take(key));
    let mut found = Vec::new();
    let mut push = |key: &str, value: Option<Out>, default: Option<Out>| {
        found.extend(value.or(default.filter(|_| whole)).map(|value| (key.to_owned(), value)));
    };
    let every = interval.and_then(|node| draft.checked::<Interval>(&at("interval"), node));
    push("interval", every, Some(Out::text("30s")));
    let timeout = timeout.and_then(|node| draft.checked::<CheckTimeout>(&at("timeout"), node));
    push("timeout", timeout, Some(Out::text("30s")));
    let unhealthy = retries.and_then(|node| draft.checked::<Count<1, 100>>(&at("retries"), node));
    push("unhealthy", unhealthy, None);
    if let Some(node) = start_period {
        draft.checked::<Length>(&at("start_period"), node);
    }
    push("start_timeout", start_timeout(interval, retries, start_period), None);
    found
}

/// A container is called unhealthy after its start period and as many checks as it has retries: so long it may take. No less than
/// the default: nothing was stopped for being slow.
fn start_timeout(
    interval: Option<&Node>,
    retries: Option<&Node>,
    start_period: Option<&Node>,
) -> Option<Out> {
    let length = |node: Option<&Node>| Length::parse(node?.scalar()?).ok().map(|length| length.0.0);
    let retries = retries.and_then(Node::scalar).and_then(Scalar::as_integer);
    let retries = retries.and_then(|retries| u64::try_from(retries).ok()).filter(|retries| *retries > 0);
    let checks = length(interval).unwrap_or(INTERVAL).saturating_mul(retries.unwrap_or(RETRIES));
    let whole = length(start_period).unwrap_or(0).saturating_add(checks).min(86_400_000);
    (whole > START_TIMEOUT).then(|| Out::text(crate::value::typed_duration(whole)))
}

/// Options of `curl` and `wget` that change nothing about what is asked; the second ones are followed by a value.
const HARMLESS: [&str; 18] = [
    "-f",
    "--fail",
    "-s",
    "-S",
    "-sS",
    "-fs",
    "-fsS",
    "-sf",
    "-sSf",
    "-fSs",
    "--silent",
    "--show-error",
    "-q",
    "--quiet",
    "-nv",
    "--no-verbose",
    "-qO-",
    "-O-",
];
const WITH_VALUE: [&str; 9] =
    ["-o", "--output", "-O", "-m", "--max-time", "-t", "-T", "--connect-timeout", "--retry"];

/// The path, where a check does what `type: http` does: `curl -f http://localhost:3000/up`, at the port that requests come to.
fn path_of(line: &str, port: Option<u16>) -> Option<String> {
    let line = line.split_once("||").map_or(line, |(line, end)| if is_failure(end) { line } else { "|" });
    if line.contains(['|', '&', ';', '>', '<', '$', '`', '(', '\\']) {
        return None;
    }
    let mut words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let tool = words.next()?.rsplit('/').next()?;
    let (mut url, mut fails) = (None, tool == "wget");
    while let Some(word) = words.next() {
        let glued = ["--tries=", "--timeout=", "--output-document=", "--max-time="];
        match word {
            "--spider" if tool == "wget" => {}
            _ if HARMLESS.contains(&word) => {
                fails |= word == "--fail" || (!word.starts_with("--") && word.contains('f'));
            }
            _ if WITH_VALUE.contains(&word) => drop(words.next()?),
            _ if glued.iter().any(|option| word.starts_with(option)) => {}
            _ if url.is_none() && !word.starts_with('-') => url = Some(word),
            _ => return None,
        }
    }
    own_path(url.filter(|_| fails && matches!(tool, "curl" | "wget"))?, port?)
}

fn is_failure(end: &str) -> bool {
    matches!(end.trim(), "exit 1" | "false" | "exit -1" | "(exit 1)")
}

/// The path of `url` if that is of the container itself, at its port.
fn own_path(url: &str, port: u16) -> Option<String> {
    let rest = if url.contains("://") { url.strip_prefix("http://")? } else { url };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, asked) = match authority.rsplit_once(':') {
        Some((host, asked)) if !asked.ends_with(']') => (host, asked.parse().ok()?),
        _ => (authority, 80),
    };
    let own = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"].contains(&host);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (own && asked == port).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_the_own_port_is_a_path() {
        for (line, port, path) in [
            ("curl -f http://localhost:3000/up", 3000, "/up"),
            ("curl -fsS -o /dev/null http://127.0.0.1/health?a=b || exit 1", 80, "/health?a=b"),
            ("/usr/bin/wget -q --spider --tries=1 'http://localhost:8080'", 8080, "/"),
            ("wget --quiet -O - http://0.0.0.0:80/ || exit 1", 80, "/"),
            ("curl --fail localhost:3000/up", 3000, "/up"),
        ] {
            assert_eq!(path_of(line, Some(port)).as_deref(), Some(path), "{line}");
        }
    }

    #[test]
    fn every_other_check_stays_a_command() {
        for line in [
            "curl -f http://localhost:9090/up",
            "curl -f https://localhost:3000/up",
            "curl -f http://api:3000/up",
            "curl http://localhost:3000/up",
            "curl -f -H 'X-A: b' http://localhost:3000/up",
            "curl -f http://localhost:3000/up | grep ok",
            "curl -f http://localhost:3000/up && test -f /ok",
            "curl -f http://localhost:3000/up || curl -f http://localhost:3000/",
            "curl -fX POST http://localhost:3000/up",
            "curl -f http://localhost:$PORT/up",
            "node check.js http://localhost:3000/up",
            "curl -f http://localhost.example:3000/",
            "pg_isready",
        ] {
            assert_eq!(path_of(line, Some(3000)), None, "{line}");
        }
        assert_eq!(path_of("curl -f http://localhost:3000/up", None), None);
    }
}
