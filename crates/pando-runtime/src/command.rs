//! A command line as the user wrote it, made ready for `/bin/sh -c`.

/// The script for `/bin/sh -c`. A line that is one plain program gets an `exec`, so that the program itself, and not a shell
/// before it, has the run's pid and receives its signals. Anything that might be more is left to the shell as it is.
pub(crate) fn script(command: &str) -> String {
    if is_plain(command) { format!("exec {command}") } else { command.to_owned() }
}

/// The same for a container. Plain words are the program and its arguments, since an image need not have a shell; everything else
/// is for the image's `/bin/sh`. None for an empty line.
pub(crate) fn words(command: &str) -> Vec<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \t_-./:=,+@%".contains(c);
    if is_plain(command) && command.chars().all(plain) {
        return command.split_whitespace().map(str::to_owned).collect();
    }
    match command.trim() {
        "" => Vec::new(),
        _ => ["/bin/sh", "-c", &script(command)].map(str::to_owned).to_vec(),
    }
}

/// Quotes and `$VARIABLE` are the shell's business with or without `exec`; what makes lists, pipes, groups, comments and
/// substitutions is not looked into further.
fn is_plain(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    let made_of_one = !command.contains(['\n', ';', '&', '|', '<', '>', '(', ')', '`', '{', '}', '#', '!']);
    let is_program = !first.is_empty() && !first.contains(['=', '$', '"', '\'', '\\', '*', '?', '[', '~']);
    made_of_one && is_program && !SHELL_WORDS.contains(&first)
}

/// What a POSIX shell runs itself, and its reserved words.
const SHELL_WORDS: [&str; 48] = [
    ".", ":", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else",
    "esac", "eval", "exec", "exit", "export", "fc", "fg", "fi", "for", "function", "getopts", "hash", "if",
    "in", "jobs", "local", "read", "readonly", "return", "select", "set", "shift", "source", "then", "time",
    "times", "trap", "type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_a_shell_only_for_what_a_shell_does() {
        assert_eq!(words("bin/web  -p 80 --at=a:b"), ["bin/web", "-p", "80", "--at=a:b"]);
        assert!(words("  ").is_empty());
        for (line, script) in
            [("bin/web -p $PORT", "exec bin/web -p $PORT"), ("a && b", "a && b"), ("cd app", "cd app")]
        {
            assert_eq!(words(line), ["/bin/sh", "-c", script]);
        }
    }

    #[test]
    fn only_plain_programs_are_executed_directly() {
        for plain in
            ["bin/web", "node server.js -p $PORT", "ruby -e 'puts 1'", "env A=b bin/web", "echo \"a b\""]
        {
            assert_eq!(script(plain), format!("exec {plain}"));
        }
        for other in [
            "",
            "  ",
            "cd app",
            "exec bin/web",
            "A=b bin/web",
            "bin/a && bin/b",
            "bin/a; bin/b",
            "bin/a | bin/b",
            "bin/a > log",
            "$CMD",
            "(bin/a)",
            "if true\nthen bin/a\nfi",
            "echo $(date)",
            "while true",
            "! false",
        ] {
            assert_eq!(script(other), other);
        }
    }
}
