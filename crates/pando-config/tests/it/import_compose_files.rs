//! Compose files that are made of several: merging tags, `include`, and the files that others name.

use std::path::{Path, PathBuf};

use pando_config::import::{self, Imported, Request};
use pando_config::{Disk, Files, MemoryFiles, Problems, load};

use crate::Whole;
use crate::import_compose::case_with;

fn of_files(named: &[&str], files: &dyn Files) -> Result<Imported, Problems> {
    let paths: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
    let request = Request { files: &paths, kind: None, app: "shop", service: None, base: Path::new("") };
    import::from_files(&request, files)
}

fn memory(files: &[(&str, &str)]) -> MemoryFiles {
    files.iter().fold(MemoryFiles::default(), |all, (name, text)| all.with(*name, *text))
}

/// What is written of these, the first of which are named; it is a valid file.
fn written(named: &[&str], files: &[(&str, &str)]) -> Imported {
    let imported = of_files(named, &memory(files)).unwrap_or_else(|problems| panic!("{problems}"));
    load(Path::new("pando.yaml"), None, &Whole(imported.yaml.clone()))
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.yaml));
    imported
}

fn refused(named: &[&str], files: &[(&str, &str)]) -> String {
    of_files(named, &memory(files)).expect_err("it is not taken").to_string()
}

fn has(imported: &Imported, parts: &[&str]) {
    for part in parts {
        assert!(imported.yaml.contains(part), "no {part} in\n{}", imported.yaml);
    }
}

fn has_none(imported: &Imported, parts: &[&str]) {
    for part in parts {
        assert!(!imported.yaml.contains(part), "{part} is in\n{}", imported.yaml);
    }
}

fn notes(imported: &Imported, words: &[&str]) {
    let found = imported.notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
    assert!(found, "no note with {words:?} in:\n{}", imported.notes.join("\n"));
}

#[test]
fn reset_takes_away_and_override_replaces() {
    let base = "services:\n  web:\n    image: a/b\n    command: run\n    ports: ['80:3000']\n    environment: {A: '1', B: '2'}\n    \
                volumes: ['v:/v']\n    healthcheck: {test: [CMD, ok], interval: 5s}\n  job: {image: a/b, command: job}\n";
    let over = "services:\n  web:\n    command: !reset null\n    ports: !override ['81:4000']\n    environment: {A: !reset null, C: '3'}\n    \
                volumes: !reset []\n    healthcheck: !override {test: [CMD, other]}\n  job: !reset null\n";
    let merged = written(&["a.yaml", "b.yaml"], &[("a.yaml", base), ("b.yaml", over)]);
    has(&merged, &["port: 4000", "name: B", "name: C", "command: other"]);
    has_none(&merged, &["3000", "name: A", "command: run", "v:/v", "job", "5s"]);
    let third = "services: {web: {command: later, environment: !override {D: '4'}}}\n";
    let merged =
        written(&["a.yaml", "b.yaml", "c.yaml"], &[("a.yaml", base), ("b.yaml", over), ("c.yaml", third)]);
    has(&merged, &["command: later", "name: D"]);
    has_none(&merged, &["name: B", "name: C"]);
}

#[test]
fn tags_of_merging_hold_for_what_is_extended_and_in_lists() {
    let yaml = "services:\n  base: {image: a/b, command: base, environment: {A: '1'}, ports: ['80:3000']}\n  \
                web: {extends: base, ports: !override ['80:4000'], environment: !reset null, command: !reset null}\n";
    let imported = written(&["compose.yaml"], &[("compose.yaml", yaml)]);
    let web = &imported.yaml[imported.yaml.find("web:").unwrap()..];
    assert!(web.contains("port: 4000"), "{web}");
    has_none(&imported, &["name: A\n        value: \"1\"\n  web"]);
    let alone =
        "services: {web: {image: a/b, ports: ['80', !reset '81'], command: !override run, user: !reset x}}\n";
    let imported = written(&["compose.yaml"], &[("compose.yaml", alone)]);
    has(&imported, &["command: run", "port: 80"]);
    has_none(&imported, &["user", "81"]);
    let kept = "x-e: &e {A: '1', B: '2'}\nservices: {web: {image: a/b, ports: ['80'], environment: {<<: *e, B: !reset null}}}\n";
    has(&written(&["compose.yaml"], &[("compose.yaml", kept)]), &["name: B"]);
}

#[test]
fn a_tag_of_merging_means_nothing_to_others() {
    let haloy = "name: a\nimage: {repository: a/b}\nserver: x\nport: !reset 80\n";
    assert!(refused(&["haloy.yaml"], &[("haloy.yaml", haloy)]).contains("`!reset` means nothing here"));
    let other = "%TAG ! tag:example.com,2024:\n---\nservices: {web: !reset {image: a}}\n";
    assert!(refused(&["compose.yaml"], &[("compose.yaml", other)]).contains("means nothing here"));
    let odd = "services: {web: {image: !wrong a}}";
    assert!(refused(&["compose.yaml"], &[("compose.yaml", odd)]).contains("`!wrong` means nothing here"));
}

#[test]
fn a_path_is_what_it_says_and_not_what_is_on_the_disk() {
    let files = [
        (
            "compose.yaml",
            "services: {web: {extends: {file: no/../x.yaml, service: base}, ports: ['80'], env_file: ./no/../e.env}}",
        ),
        (
            "x.yaml",
            "services: {base: {extends: {file: ./no/../x.yaml, service: deep}}, deep: {image: a/b, command: deep}}",
        ),
        ("e.env", "A=1\n"),
    ];
    has(&written(&["compose.yaml"], &files), &["image: a/b", "command: deep", "name: A"]);
}

#[test]
fn later_files_extend_before_they_are_merged() {
    let files = [
        ("a.yaml", "services: {web: {image: a/b, command: first, ports: ['80']}}"),
        ("b.yaml", "services: {web: {extends: common}, common: {image: a/b, command: common}}"),
    ];
    let merged = written(&["a.yaml", "b.yaml"], &files);
    has_none(&merged, &["command: first"]);
}

#[test]
fn includes_are_read_where_they_lie() {
    let files = [
        (
            "compose.yaml",
            "include:\n  - shop/compose.yaml\n  - {path: [more/a.yaml, more/b.yaml], project_directory: more/here, env_file: my.env}\n\
                          services:\n  api: {image: other/x}\n",
        ),
        (".env", "TAG=outer\n"),
        (
            "shop/compose.yaml",
            "services:\n  web:\n    build: {context: ., args: {T: '${TAG}', O: '${ONLY}', D: '$$x'}}\n    env_file: web.env\n    ports: ['80']\n    \
                               environment: {FROM: '${ONLY}', PASSED: , AUTH: '${PLAIN}'}\n",
        ),
        ("shop/.env", "TAG=inner\nONLY=shop\nPASSED=on\nPLAIN=hunter\n"),
        ("shop/web.env", "OF_FILE=1\n"),
        ("more/a.yaml", "services: {db: {image: 'postgres:${V}'}}\nvolumes: {d: {}}\nmodels: {m: {}}\n"),
        ("more/b.yaml", "services: {db: {environment: {A: '1'}}}\n"),
        ("my.env", "V=16\n"),
    ];
    let imported = written(&["compose.yaml"], &files);
    has(
        &imported,
        &[
            "context: shop",
            "T: outer",
            "O: shop",
            "D: \"$x\"",
            "name: OF_FILE",
            "value: shop",
            "type: postgres",
            "version: \"16\"",
        ],
    );
    has(&imported, &["name: PASSED\n", "# - name: AUTH"]);
    has_none(&imported, &["hunter"]);
    notes(&imported, &["`include` (more/b.yaml:1)", "models"]);
}

#[test]
fn includes_that_can_not_be_are_errors_that_name_their_place() {
    let ring = [
        ("compose.yaml", "include: [a.yaml]\nservices: {web: {image: a/b}}\n"),
        ("a.yaml", "include: [./sub/../b.yaml]\n"),
        ("b.yaml", "services: {}\ninclude: [compose.yaml]\n"),
    ];
    let problems = refused(&["compose.yaml"], &ring);
    for part in ["b.yaml:2", "`compose.yaml` includes `a.yaml` includes `b.yaml` includes `compose.yaml`"] {
        assert!(problems.contains(part), "{problems}");
    }
    let conflict = [
        ("compose.yaml", "include: [a.yaml]\nservices: {web: {image: a/b}}\n"),
        ("a.yaml", "services:\n  web: {image: c/d}\n"),
    ];
    let problems = refused(&["compose.yaml"], &conflict);
    for part in ["compose.yaml:1", "`services.web`", "(a.yaml:2)", "in compose.yaml:2"] {
        assert!(problems.contains(part), "{problems}");
    }
    let missing = refused(
        &["compose.yaml"],
        &[("compose.yaml", "include: [none.yaml]\nservices: {web: {image: a}}\n")],
    );
    assert!(
        missing.contains("compose.yaml:1:11") && missing.contains("`none.yaml` can't be read"),
        "{missing}"
    );
    let nothing =
        refused(&["compose.yaml"], &[("compose.yaml", "include: [~]\nservices: {web: {image: a}}\n")]);
    assert!(nothing.contains("does not say which file"), "{nothing}");
    let unknown = refused(
        &["compose.yaml"],
        &[("compose.yaml", "services: {web: {image: a}}\ninclude:\n- ${WHERE}/x.yaml\n")],
    );
    assert!(unknown.contains("compose.yaml:3") && unknown.contains("WHERE"), "{unknown}");
    let shape =
        refused(&["compose.yaml"], &[("compose.yaml", "services: {web: {image: a}}\ninclude: x.yaml\n")]);
    assert!(shape.contains("is a list of files"), "{shape}");
}

#[test]
fn includes_are_not_endlessly_deep_nor_fetched() {
    let names: Vec<(String, String)> = (0..30)
        .map(|at| (format!("{at}.yaml"), format!("services: {{}}\ninclude: [{}.yaml]\n", at + 1)))
        .collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert!(refused(&["0.yaml"], &files).contains("more than 16 files deep"));
    let same = [
        (
            "compose.yaml",
            "include: [a.yaml, b.yaml, 'https://example.com/x.git']\nservices: {web: {image: a/b, ports: ['80']}}\n",
        ),
        ("a.yaml", "include: [c.yaml]\n"),
        ("b.yaml", "include: [c.yaml]\n"),
        ("c.yaml", "services: {worker: {image: a/b, command: work}}\n"),
    ];
    let imported = written(&["compose.yaml"], &same);
    has(&imported, &["command: work"]);
    notes(&imported, &["`include` (compose.yaml:1)", "https://example.com/x.git", "was not read"]);
}

#[test]
fn odd_lines_of_files_of_variables_are_named() {
    let yaml = "services: {web: {image: 'a:$TAG', ports: ['80'], env_file: [web.env]}}\n";
    let env = "export A=1\nB\nC=\"one\ntwo\"\nMY KEY=hunter2\n-----BEGIN KEY\nD=${NONE}x\nE='open\nF=6\n";
    let case = case_with(yaml, &[("web.env", env), (".env", "TAG=1\nno good!\n")], None, "");
    assert_eq!(
        (case.value("A").as_str(), case.value("C").as_str(), case.value("F").as_str()),
        ("1", "one\ntwo", "6")
    );
    case.notes(&["web.env:5: `MY KEY`", "no spaces"]);
    case.notes(&["web.env:6: a line"]);
    case.notes(&["web.env:8: `E`", "not closed"]);
    case.notes(&[".env:2: a line"]);
    case.notes(&["web.env: `D`", "NONE"]);
    case.notes(&["`env`: `B`", "taken from an environment"]);
    assert!(!case.imported.yaml.contains("hunter2") && !case.imported.yaml.contains("BEGIN"));
}

#[test]
fn what_is_made_of_a_secret_is_one() {
    let yaml =
        "services: {web: {image: 'a:1', ports: ['80'], env_file: web.env, environment: {D: '${C}'}}}\n";
    let case = case_with(
        yaml,
        &[
            ("web.env", "API_TOKEN=hunter2\nA=x-${API_TOKEN}\n"),
            (".env", "API_TOKEN=hunter2\nC=$API_TOKEN\n"),
        ],
        None,
        "",
    );
    assert!(case.told("web", "A").is_none() && case.told("web", "D").is_none());
    assert!(
        !case.imported.yaml.contains("hunter2") && !case.imported.yaml.contains("x-$"),
        "{}",
        case.imported.yaml
    );
}

/// A directory of its own on the disk.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("pando-import-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn of_disk(folder: &Path) -> Result<Imported, Problems> {
    of_files(&[&folder.join("compose.yaml").display().to_string()], &Disk)
}

#[test]
fn only_regular_files_of_a_bounded_size_are_read() {
    let folder = folder("odd");
    let fifo = std::process::Command::new("mkfifo").arg(folder.join("fifo.env")).status().unwrap();
    assert!(fifo.success());
    std::os::unix::fs::symlink("/proc/self/environ", folder.join("link.env")).unwrap();
    std::fs::File::create(folder.join("big.env")).unwrap().set_len(10 << 30).unwrap();
    let names = ["/proc/self/environ", "link.env", "/dev/zero", "fifo.env", "/tmp", "big.env", "/proc/kmsg"];
    let yaml = format!(
        "services:\n  web:\n    image: a/b\n    ports: ['80']\n    env_file:\n{}",
        names.map(|name| format!("    - {name}\n")).concat()
    );
    std::fs::write(folder.join("compose.yaml"), yaml).unwrap();
    let imported = of_disk(&folder).unwrap();
    for (at, name) in names.iter().enumerate() {
        notes(&imported, &[&format!("env_file: {name}"), &format!("compose.yaml:{}", at + 6)]);
    }
    notes(&imported, &["big.env", "larger than 1 MiB"]);
    notes(&imported, &["fifo.env", "not a regular file"]);
    notes(&imported, &["link.env", "of the kernel's"]);
    has_none(&imported, &["PATH", "name:  "]);
    for include in ["include: [fifo.env]", "include: [/proc/self/environ]", "include: [/dev/zero]"] {
        let yaml = format!("{include}\nservices: {{web: {{image: a/b}}}}\n");
        std::fs::write(folder.join("compose.yaml"), yaml).unwrap();
        assert!(of_disk(&folder).unwrap_err().to_string().contains("compose.yaml:1:11"), "{include}");
    }
    let extends = "services: {web: {image: a/b, ports: ['80'], extends: {file: fifo.env, service: x}}}\n";
    std::fs::write(folder.join("compose.yaml"), extends).unwrap();
    notes(&of_disk(&folder).unwrap(), &["`extends`", "fifo.env", "not a regular file", "compose.yaml:1"]);
    let build = "services: {web: {build: {context: ., dockerfile: fifo.env}, ports: ['80']}}\n";
    std::fs::write(folder.join("compose.yaml"), build).unwrap();
    notes(&of_disk(&folder).unwrap(), &["`build.dockerfile`", "compose.yaml:1", "not a regular file"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_lies_outside_of_the_project_is_said_to_be_read_from_there() {
    let outer = folder("outside");
    let folder = outer.join("project");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(outer.join("shared.env"), "A=1\n").unwrap();
    std::fs::write(folder.join("own.env"), "B=1\n").unwrap();
    std::fs::write(outer.join("x.yaml"), "services: {base: {image: a/b}}\n").unwrap();
    std::fs::write(outer.join("y.yaml"), "services: {job: {image: a/b, command: job}}\n").unwrap();
    let own = folder.join("own.env").display().to_string();
    let yaml = format!(
        "include: [../y.yaml]\nservices:\n  web: {{extends: {{file: ../x.yaml, service: base}}, ports: ['80'], env_file: [../shared.env, '{own}']}}\n"
    );
    std::fs::write(folder.join("compose.yaml"), yaml).unwrap();
    let imported = of_disk(&folder).unwrap();
    for (key, file) in [("`env_file`", "shared.env"), ("`extends.file`", "x.yaml"), ("`include`", "y.yaml")] {
        notes(&imported, &[key, "compose.yaml:", file, "outside of the project's directory"]);
    }
    assert!(!imported.notes.iter().any(|note| note.contains("own.env` lies outside")));
    has(&imported, &["name: A", "name: B"]);
    std::fs::remove_dir_all(&outer).unwrap();
}

#[test]
fn files_that_are_too_much_end_quickly() {
    let start = std::time::Instant::now();
    let keys: String = (0..100_000).map(|at| format!("k{at}: 1\n")).collect();
    let keys = format!("services: {{web: {{image: a}}}}\n{keys}");
    assert!(refused(&["compose.yaml"], &[("compose.yaml", &keys)]).contains("more than 50000 values"));
    let junk = "\u{1}x".repeat(5 << 20);
    assert!(refused(&["compose.yaml"], &[("compose.yaml", &junk)]).contains("larger than 1 MiB"));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..12 {
        laughs += &format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(", "));
    }
    assert!(
        refused(&["compose.yaml"], &[("compose.yaml", &format!("services: {{}}\n{laughs}"))])
            .contains("aliases add up")
    );
    let unknown: String = (0..40_000).map(|at| format!("k{at}: 1\n")).collect();
    let many = written(
        &["compose.yaml"],
        &[("compose.yaml", &format!("services: {{web: {{image: a, ports: ['80']}}}}\n{unknown}"))],
    );
    notes(&many, &["`k49`", "and 39950 more", "no such key of the file"]);
    let extended: String = (0..1000).map(|at| format!("  s{at}: {{extends: base}}\n")).collect();
    let environment: String = (0..1000).map(|at| format!("      V{at}: x\n")).collect();
    let yaml = format!("services:\n  base:\n    image: a\n    environment:\n{environment}{extended}");
    assert!(refused(&["compose.yaml"], &[("compose.yaml", &yaml)]).contains("more than 50000 values"));
    let filled: String = (0..1000).map(|at| format!("      V{at}: $LONG\n")).collect();
    let yaml = format!("services:\n  web:\n    image: a\n    labels:\n{filled}");
    let long = format!("LONG={}\n", "x ".repeat(50_000));
    assert!(
        refused(&["compose.yaml"], &[("compose.yaml", &yaml), (".env", &long)]).contains("more than 16 MiB")
    );
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
