//! Command lines: from lists of words, and what they say of ports and health.

use crate::tree::{Node, Value};

/// A command as one line for the shell: text as it is, a list of words quoted where they need it.
pub(super) fn command_line(node: &Node) -> Option<String> {
    let line = match &node.value {
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::List(items) => {
            let words: Option<Vec<String>> =
                items.iter().map(|item| Some(word(&item.scalar()?.text))).collect();
            words?.join(" ")
        }
        Value::Map(_) => return None,
    };
    (!line.trim().is_empty() && !line.contains('\0')).then(|| line.trim().to_owned())
}

fn word(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,$".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The port that a command names outright, such as `-p 3000`, instead of taking it from `PORT`.
pub(super) fn fixed_port(command: &str) -> Option<&str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let number = |text: &'_ str| text.parse::<u16>().is_ok_and(|port| port >= 80);
    let after_flag = words.windows(2).find_map(|pair| {
        let value = pair[1].rsplit(':').next().unwrap_or(pair[1]);
        let flag = matches!(pair[0], "-p" | "--port" | "-b" | "--bind" | "--listen" | "-l" | "--addr");
        (flag && number(value)).then_some(value)
    });
    let joined = || {
        words.iter().find_map(|word| {
            let value =
                word.strip_prefix("--port=").or_else(|| word.strip_prefix("--bind=")?.rsplit(':').next())?;
            number(value).then_some(value)
        })
    };
    after_flag.or_else(joined)
}

/// The path that a check such as `curl -f http://localhost:3000/up` asks for.
pub(super) fn checked_path(command: &str) -> Option<String> {
    let asks =
        ["curl", "wget"].iter().any(|tool| command.split_whitespace().any(|word| word.ends_with(tool)));
    let url = command.split([' ', '\'', '"']).find(|word| word.starts_with("http://")).filter(|_| asks)?;
    let (host, path) = url.strip_prefix("http://")?.split_once('/').unwrap_or((url, ""));
    let own = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"]
        .iter()
        .any(|name| host.starts_with(name) || url.contains(name));
    own.then(|| format!("/{path}"))
}
