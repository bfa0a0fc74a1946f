//! Command lines: from lists of words, and what they say of ports.

use crate::tree::{Node, Value};

/// A command as one line for the shell: text as it is, a list of words quoted where they need it.
pub(crate) fn command_line(node: &Node) -> Option<String> {
    let line = match &node.value {
        Value::Scalar(scalar) => scalar.text.trim().to_owned(),
        Value::List(_) => line(&words(node)?),
        Value::Map(_) => return None,
    };
    (!line.is_empty() && !line.contains('\0')).then_some(line)
}

/// The words of a command that no shell reads: a list as it is, text as Compose takes it apart.
pub(super) fn words(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Scalar(scalar) => split(&scalar.text),
        Value::List(items) => items.iter().map(|item| Some(item.scalar()?.text.clone())).collect(),
        Value::Map(_) => None,
    }
}

/// The words as a line that a shell reads as these words.
pub(super) fn line(words: &[String]) -> String {
    words.iter().map(|text| word(text)).collect::<Vec<_>>().join(" ")
}

fn word(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    // Where a quote is in it, the other kind is easier to read, if it means no more.
    let fits_double = text.contains('\'') && !text.contains(['"', '$', '`', '\\', '!']);
    if fits_double { format!("\"{text}\"") } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// By quotes and backslashes alone, as a shell would without variables and operators. `None`: a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_taken_apart_without_a_shell() {
        for (text, expected) in [
            ("bin/web  -p 80", "bin/web -p 80"),
            ("sh -c \"echo $FOO && exit\"", "sh -c 'echo $FOO && exit'"),
            ("bin/web -p $PORT", "bin/web -p '$PORT'"),
            ("a && b", "a '&&' b"),
            ("say it\\ all ''", "say 'it all' ''"),
            ("puma -C \"a 'b'\"", "puma -C \"a 'b'\""),
            ("say \"it's $1\"", r"say 'it'\''s $1'"),
        ] {
            let words = split(text).unwrap();
            assert_eq!(line(&words), expected);
            assert_eq!(split(expected).unwrap(), words, "{text}");
        }
        assert_eq!(split("say 'it"), None);
    }
}
