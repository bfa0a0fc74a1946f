//! Files of other tools become files of ours, and every one of them is valid.

use std::path::Path;

use pando_config::import::{self, Imported, Kind};
use pando_config::{Loaded, MemoryFiles, load};
use pando_model::ProcessName;
use proptest::prelude::*;

use crate::{Whole, files_in, fixtures};

/// The result as a user of it would load it.
fn loaded(imported: &Imported) -> Loaded {
    let files = Whole(imported.yaml.clone());
    let loaded = load(Path::new("pando.yaml"), None, &files)
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.yaml));
    for target in loaded.targets.iter().chain(&loaded.base) {
        // `pando check` refuses it otherwise.
        assert!(!target.unsupported.has_errors(), "{}\n{}", target.unsupported, imported.yaml);
    }
    loaded
}

fn imported(name: &str) -> Imported {
    let content = std::fs::read(fixtures("import").join(name)).unwrap();
    let files = MemoryFiles::default().with(name, content);
    import::from_file(Path::new(name), "my-app", &files).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn each_kind_of_file_is_carried_over() {
    for name in ["Procfile", "haloy.yaml", "compose.yaml", "deploy.yml"] {
        let imported = imported(name);
        let spec = &loaded(&imported).targets[0].spec;
        assert!(spec.processes.contains_key(&ProcessName::web()), "{name}");
        insta::assert_snapshot!(name, imported.yaml);
    }
}

#[test]
fn every_note_is_in_the_file_too() {
    let imported = imported("deploy.yml");
    let comments: String =
        imported.yaml.lines().map(|line| line.trim_start_matches("# ").trim()).collect::<Vec<_>>().join(" ");
    for note in &imported.notes {
        assert!(comments.contains(note.as_str()), "{note}");
    }
}

#[test]
fn haloys_own_examples_come_to_the_same_specification() {
    for (name, content) in files_in("haloy") {
        let files = MemoryFiles::default().with("haloy.yaml", content.clone());
        let imported = import::from_file(Path::new("haloy.yaml"), "my-app", &files).unwrap();
        let specs = |loaded: Loaded| -> Vec<_> {
            loaded.targets.into_iter().map(|target| (target.name, target.server, target.spec)).collect()
        };
        let as_it_stands = load(Path::new("haloy.yaml"), None, &files).unwrap();
        assert_eq!(specs(loaded(&imported)), specs(as_it_stands), "{name}\n{}", imported.yaml);
    }
}

#[test]
fn a_file_is_known_by_its_name() {
    for (name, kind) in [
        ("Procfile", Some(Kind::Procfile)),
        ("app/haloy.toml", Some(Kind::Haloy)),
        ("docker-compose.yml", Some(Kind::Compose)),
        ("docker-compose.prod.yml", Some(Kind::Compose)),
        ("config/deploy.staging.yml", Some(Kind::Kamal)),
        ("Procfile.production", Some(Kind::Procfile)),
        ("config/deploy.yml", Some(Kind::Kamal)),
        ("pando.yaml", None),
        ("compose.json", None),
    ] {
        assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
    }
    let files = MemoryFiles::default().with("a/compose.yaml", "").with("a/config/deploy.yml", "");
    assert_eq!(import::find(Path::new("a"), &files).as_deref(), Some(Path::new("a/config/deploy.yml")));
    assert_eq!(import::find(Path::new("b"), &files), None);
}

#[test]
fn what_is_not_a_file_of_its_kind_is_refused() {
    for (name, content, message) in [
        ("Procfile", "web bin/web", "this line is not `name: command`"),
        ("haloy.yaml", "a: b: c", "this is not valid YAML"),
        ("compose.yaml", "- a", "expected a map of keys, found a list"),
        ("deploy.yml", "", "the file is empty"),
        ("notes.txt", "a: 1", "neither the file's name nor its content says what it is"),
    ] {
        let files = MemoryFiles::default().with(name, content);
        let problems = import::from_file(Path::new(name), "a", &files).unwrap_err();
        assert!(problems.iter().next().unwrap().message.starts_with(message), "{problems}");
    }
    let problems = import::from_file(Path::new("Procfile"), "a", &MemoryFiles::default()).unwrap_err();
    assert!(problems.has_errors());
}

#[test]
fn the_look_of_a_directory_says_how_it_runs() {
    let command = |files: &[(&str, &str)]| -> (Option<String>, Option<String>) {
        let memory =
            files.iter().fold(MemoryFiles::default(), |memory, (name, content)| memory.with(*name, *content));
        let imported = import::from_directory(Path::new(""), "My App", &memory);
        let spec = loaded(&imported).targets.remove(0).spec;
        assert_eq!(spec.name.as_str(), "my-app");
        (spec.prepare.clone(), spec.processes[&ProcessName::web()].command.clone())
    };
    let both = |prepare: &str, command: &str| (Some(prepare.to_owned()), Some(command.to_owned()));
    let install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
    for (files, expected) in [
        (
            &[("Gemfile", "gem 'rails'"), ("package.json", "{}")][..],
            both("bundle install", "bin/rails server -b 0.0.0.0 -p $PORT"),
        ),
        (
            &[("Gemfile", ""), ("config.ru", "")],
            both("bundle install", "bundle exec rackup -o 0.0.0.0 -p $PORT"),
        ),
        (
            &[
                ("manage.py", "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'"),
                ("requirements.txt", ""),
            ],
            both(install, ".venv/bin/gunicorn shop.wsgi --bind 0.0.0.0:$PORT"),
        ),
        (
            &[("requirements.txt", "FastAPI"), ("main.py", "")],
            both(install, ".venv/bin/uvicorn main:app --host 0.0.0.0 --port $PORT"),
        ),
        (
            &[("package.json", r#"{"scripts": {"start": "x", "build": "y"}}"#), ("package-lock.json", "")],
            both("npm ci && npm run build", "npm start"),
        ),
        (
            &[("Cargo.toml", "[package]\nname = \"hits\"\n")],
            both("cargo build --release", "target/release/hits"),
        ),
        (&[("go.mod", ""), ("main.go", "")], both("go build -o bin/app .", "bin/app")),
        (
            &[("composer.json", ""), ("artisan", "")],
            both(
                "composer install --no-dev --optimize-autoloader",
                "php artisan serve --host 0.0.0.0 --port $PORT",
            ),
        ),
        (&[("index.html", "")], (None, Some("python3 -m http.server $PORT".to_owned()))),
        (&[("Dockerfile", "")], (None, None)),
        (&[], (None, Some("bin/server".to_owned()))),
    ] {
        assert_eq!(command(files), expected, "{files:?}");
    }
}

#[test]
fn a_template_is_pleasant() {
    let files = MemoryFiles::default().with("app/Gemfile", "gem \"rails\"");
    insta::assert_snapshot!("rails", import::from_directory(Path::new("app"), "blog", &files).yaml);
    insta::assert_snapshot!("nothing", import::from_directory(Path::new("empty"), "Été 2024!", &files).yaml);
}

/// A file of another tool with some of it changed.
fn mutated() -> impl Strategy<Value = (String, Vec<u8>)> {
    let pieces = prop::sample::select(vec![
        "x",
        "\"",
        "'",
        ": ",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "~",
        "null",
        "true",
        "9",
        "0.5",
        "é",
        "${A}",
        "<%= a %>",
        "#",
        "/",
        ":",
        "A B",
        "\u{85}",
        "\t",
        "web",
        "-",
        "_",
        "$$",
        "%",
        "localhost",
        "*",
        "&a ",
        "\u{2028}",
        "|\n",
        "\\n",
    ]);
    let inserted = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => "\\PC{0,5}"];
    let edit = (any::<prop::sample::Index>(), 0usize..10, inserted);
    let files = files_in("import");
    (prop::sample::select(files), prop::collection::vec(edit, 1..8)).prop_map(
        |((name, mut content), edits)| {
            for (at, removed, inserted) in edits {
                let start = at.index(content.len() + 1);
                let end = (start + removed).min(content.len());
                content.splice(start..end, inserted.into_bytes());
            }
            (name, content)
        },
    )
}

proptest! {
    #![proptest_config(crate::properties::cases())]

    #[test]
    fn whatever_comes_in_a_valid_file_comes_out((name, content) in mutated(), app in "\\PC{0,12}") {
        let files = MemoryFiles::default().with(&name, content);
        if let Ok(imported) = import::from_file(Path::new(&name), &app, &files) {
            loaded(&imported);
            prop_assert!(imported.notes.iter().all(|note| !note.contains('\n')));
        }
    }

    #[test]
    fn any_directory_gives_a_valid_file(name in "\\PC{0,20}", package in "\\PC{0,20}", main in "\\PC{0,20}") {
        let json = serde_json::json!({"name": package, "main": main}).to_string();
        let manage = format!("'{main}.settings'");
        let cargo = format!("[package]\nname = {:?}\n", package);
        for (file, content) in [("package.json", json), ("manage.py", manage), ("Cargo.toml", cargo)] {
            let files = MemoryFiles::default().with(file, content);
            loaded(&import::from_directory(Path::new(""), &name, &files));
        }
    }
}
