//! As much of a Dockerfile as it takes to see which volumes it declares. Paths with variables are left out, and so is what images bring
//! along that it begins with.

/// Each path with its line: of the stage `target`, or of the last one, and of the stages that it is built upon.
pub(super) fn volumes(text: &str, target: Option<&str>) -> Vec<(String, usize)> {
    let stages = stages(text);
    let named = |name: &str| stages.iter().rposition(|stage| stage.name.eq_ignore_ascii_case(name));
    let mut here = target.and_then(named).or_else(|| stages.len().checked_sub(1));
    let mut found = Vec::new();
    while let Some(stage) = here.and_then(|index| stages.get(index)) {
        found.extend(stage.volumes.iter().cloned());
        // A stage is built upon one before it; anything else is an image.
        here = named(&stage.from).filter(|base| here.is_some_and(|here| *base < here));
    }
    found.sort_by_key(|(_, line)| *line);
    found
}

#[derive(Debug, Default)]
struct Stage {
    from: String,
    name: String,
    volumes: Vec<(String, usize)>,
}

fn stages(text: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (line, instruction) in instructions(text) {
        let Some((word, rest)) = instruction.split_once(char::is_whitespace) else { continue };
        if word.eq_ignore_ascii_case("from") {
            stages.push(stage(rest));
        } else if let Some(stage) = stages.last_mut().filter(|_| word.eq_ignore_ascii_case("volume")) {
            stage.volumes.extend(paths(rest).into_iter().map(|path| (path, line)));
        }
    }
    stages
}

/// `[--platform=…] IMAGE [AS NAME]`
fn stage(rest: &str) -> Stage {
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let name = match words[..] {
        [_, like, name, ..] if like.eq_ignore_ascii_case("as") => name,
        _ => "",
    };
    let from = words.first().copied().unwrap_or_default();
    Stage { from: from.to_owned(), name: name.to_owned(), volumes: Vec::new() }
}

/// Of `VOLUME`: a list of JSON, or words.
fn paths(rest: &str) -> Vec<String> {
    let listed = serde_json::from_str::<Vec<String>>(rest.trim());
    let paths = listed.unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect());
    paths.into_iter().filter(|path| path.starts_with('/') && !path.contains('$')).collect()
}

/// Each with the line that it begins in: lines that end in `\` go on in the next, comments in between are left out.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match all.last_mut().filter(|_| goes_on) {
            Some((_, instruction)) => {
                instruction.push(' ');
                instruction.push_str(part);
            }
            None => all.push((index + 1, part.to_owned())),
        }
        goes_on = more;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, target: Option<&str>, expected: &[(&str, usize)]) {
        let found = volumes(text, target);
        let found: Vec<(&str, usize)> = found.iter().map(|(path, line)| (path.as_str(), *line)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn volumes_of_the_stage_that_is_built_are_found() {
        check("FROM a\nVOLUME /data", None, &[("/data", 2)]);
        check("FROM a\nvolume [\"/data\", \"/var/log\"]\n", None, &[("/data", 2), ("/var/log", 2)]);
        check("FROM a\n\n# VOLUME /no\nVOLUME /a \\\n  # so\n  /b\nRUN x", None, &[("/a", 4), ("/b", 4)]);
        let staged = "FROM --platform=linux/amd64 a AS base\nVOLUME /base\nFROM b AS other\nVOLUME /other\nFROM Base\nVOLUME /own\n";
        check(staged, None, &[("/base", 2), ("/own", 6)]);
        check(staged, Some("other"), &[("/other", 4)]);
        check("FROM a AS a\nVOLUME /x\nFROM a AS a\nVOLUME /y", None, &[("/y", 4)]);
        check("ARG P\nFROM a\nVOLUME $P /x/$P data\nVOLUME", None, &[]);
        check("VOLUME /before", None, &[]);
        check("", Some("x"), &[]);
    }
}
