//! From the look of a directory: which files are there says how an app is
//! installed and started.

use std::path::Path;

use super::draft::Draft;
use super::write::Out;
use super::{Imported, build, procfile};
use crate::files::Files;

/// How an app of a kind is run.
struct Look {
    what: String,
    prepare: Option<String>,
    release: Option<String>,
    command: String,
    health: &'static str,
    /// Whether the command is only a guess that does not fit many.
    guess: bool,
}

pub(super) fn import(directory: &Path, app: &str, files: &dyn Files) -> Imported {
    let look = look_of(directory, files);
    let mut draft = Draft::new(&match &look {
        Some(look) => format!("the look of the directory: {}", look.what),
        None => "a template".to_owned(),
    });
    draft.name(None, app);
    write(look.as_ref(), Path::new(""), &mut draft);
    draft.finish()
}

/// What is run, without a name. `base`: the directory, seen from that of the new file.
pub(super) fn describe(directory: &Path, base: &Path, files: &dyn Files, draft: &mut Draft) {
    write(look_of(directory, files).as_ref(), base, draft);
}

fn look_of(directory: &Path, files: &dyn Files) -> Option<Look> {
    let read = |name: &str| {
        files.read(&directory.join(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let looks = [ruby, python, php, elixir, go, rust, node, container, static_pages];
    looks.iter().find_map(|look| look(&read))
}

fn write(look: Option<&Look>, base: &Path, draft: &mut Draft) {
    match look {
        Some(look) => known(look, base, draft),
        None => unknown(base, draft),
    }
}

fn known(look: &Look, base: &Path, draft: &mut Draft) {
    let here = Out::text(build::joined(base, "."));
    if look.command.is_empty() {
        let build = Out::pairs([("context", here), ("dockerfile", Out::text("Dockerfile"))]);
        draft.set_with("Built from the Dockerfile.", "build", build);
        draft.set_with("The port that it listens on in its container.", "port", Out::Raw("8080".to_owned()));
        return;
    }
    draft.set_with("The directory to run, seen from this file.", "source", here);
    if let Some(prepare) = &look.prepare {
        let comment = "Runs once per release, before it is started anywhere.";
        draft.set_with(comment, "prepare", Out::text(prepare.clone()));
    }
    if let Some(release) = &look.release {
        let comment = "Runs once per deployment, on one server, before any traffic moves.";
        draft.offer(comment, &format!("release: {release}"));
    }
    let processes = Out::pairs([("web", Out::pairs([("command", Out::text(look.command.clone()))]))]);
    draft.set_with("What to run. Each replica is given its port in `PORT`.", "processes", processes);
    offers(look, draft);
}

/// What a first file shows that nobody has asked for.
fn offers(look: &Look, draft: &mut Draft) {
    let comment = "A path that answers 200 when the app can serve. It gets requests only while it does.";
    draft.set_with(comment, "health_check_path", Out::text(look.health));
    let comment = "How many replicas of `web` there are in all; without it, one on each server.";
    draft.offer(comment, "replicas: 2");
    draft.offer("The domains that it answers to.", "domains: [example.com]");
    if look.guess {
        draft.note(format!("`processes.web.command`: `{}` is a guess; correct it", look.command));
    }
}

fn unknown(base: &Path, draft: &mut Draft) {
    draft.set_with(
        "The directory to run, seen from this file.",
        "source",
        Out::text(build::joined(base, ".")),
    );
    let processes = [("web".to_owned(), "bin/server".to_owned())];
    let comment = "What to run. Each replica is given its port in `PORT`.";
    procfile::plain_processes(&processes, comment, draft);
    draft.note(
        "`processes.web.command`: nothing here says how the app is started; `bin/server` stands for it",
    );
}

type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

fn look(what: &str, prepare: &str, command: &str) -> Look {
    Look {
        what: what.to_owned(),
        prepare: (!prepare.is_empty()).then(|| prepare.to_owned()),
        release: None,
        command: command.to_owned(),
        health: "/",
        guess: false,
    }
}

fn ruby(read: Read<'_>) -> Option<Look> {
    let gemfile = read("Gemfile")?;
    let install = "bundle install";
    if read("config/application.rb").is_some() || gemfile.contains("\"rails\"") || gemfile.contains("'rails'")
    {
        let look = look("a Rails app", install, "bin/rails server -b 0.0.0.0 -p $PORT");
        return Some(Look { release: Some("bin/rails db:migrate".to_owned()), health: "/up", ..look });
    }
    if read("config.ru").is_some() {
        return Some(look("a Rack app", install, "bundle exec rackup -o 0.0.0.0 -p $PORT"));
    }
    Some(Look { guess: true, ..look("a Ruby app", install, "bundle exec ruby app.rb") })
}

fn python(read: Read<'_>) -> Option<Look> {
    let requirements = read("requirements.txt");
    let project = read("pyproject.toml");
    let install = match (&requirements, read("uv.lock")) {
        (_, Some(_)) => "uv sync --frozen",
        (Some(_), _) => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        _ => "python3 -m venv .venv && .venv/bin/pip install .",
    };
    if let Some(manage) = read("manage.py") {
        let settings =
            manage.split(['"', '\'']).find_map(|word| word.strip_suffix(".settings")).unwrap_or("app");
        let package: String =
            settings.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
        let command = format!(".venv/bin/gunicorn {package}.wsgi --bind 0.0.0.0:$PORT");
        let look = look("a Django app", install, &command);
        return Some(Look { release: Some(".venv/bin/python manage.py migrate".to_owned()), ..look });
    }
    if requirements.is_none() && project.is_none() {
        return None;
    }
    let needs =
        format!("{}{}", requirements.unwrap_or_default(), project.unwrap_or_default()).to_ascii_lowercase();
    let module =
        ["main", "app"].into_iter().find(|module| read(&format!("{module}.py")).is_some()).unwrap_or("app");
    if needs.contains("fastapi") || needs.contains("uvicorn") || needs.contains("starlette") {
        let command = format!(".venv/bin/uvicorn {module}:app --host 0.0.0.0 --port $PORT");
        return Some(look("an ASGI app", install, &command));
    }
    let command = format!(".venv/bin/gunicorn {module}:app --bind 0.0.0.0:$PORT");
    Some(Look { guess: !needs.contains("flask"), ..look("a Python app", install, &command) })
}

fn php(read: Read<'_>) -> Option<Look> {
    read("composer.json")?;
    let install = "composer install --no-dev --optimize-autoloader";
    if read("artisan").is_some() {
        let look = look("a Laravel app", install, "php artisan serve --host 0.0.0.0 --port $PORT");
        return Some(Look { release: Some("php artisan migrate --force".to_owned()), health: "/up", ..look });
    }
    Some(Look { guess: true, ..look("a PHP app", install, "php -S 0.0.0.0:$PORT -t public") })
}

fn elixir(read: Read<'_>) -> Option<Look> {
    let mix = read("mix.exs")?;
    let install = "MIX_ENV=prod mix deps.get --only prod && MIX_ENV=prod mix compile";
    let command = if mix.contains(":phoenix") {
        "MIX_ENV=prod mix phx.server"
    } else {
        "MIX_ENV=prod mix run --no-halt"
    };
    Some(Look { guess: !mix.contains(":phoenix"), ..look("an Elixir app", install, command) })
}

fn go(read: Read<'_>) -> Option<Look> {
    read("go.mod")?;
    Some(Look { guess: read("main.go").is_none(), ..look("a Go app", "go build -o bin/app .", "bin/app") })
}

fn rust(read: Read<'_>) -> Option<Look> {
    let manifest = read("Cargo.toml")?;
    let parsed: Option<toml::Table> = manifest.parse().ok();
    let name = parsed.as_ref().and_then(|table| table.get("package")?.get("name")?.as_str());
    let fits = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let program = name.filter(fits).unwrap_or("app");
    let look = look("a Rust app", "cargo build --release", &format!("target/release/{program}"));
    Some(Look { guess: name.is_none(), ..look })
}

fn node(read: Read<'_>) -> Option<Look> {
    let package: serde_json::Value = serde_json::from_str(&read("package.json")?).unwrap_or_default();
    let (tool, install) = if read("pnpm-lock.yaml").is_some() {
        ("pnpm", "pnpm install --frozen-lockfile")
    } else if read("yarn.lock").is_some() {
        ("yarn", "yarn install --frozen-lockfile")
    } else if read("package-lock.json").is_some() {
        ("npm", "npm ci")
    } else {
        ("npm", "npm install")
    };
    let has = |script: &str| package["scripts"][script].is_string();
    let prepare = if has("build") { format!("{install} && {tool} run build") } else { install.to_owned() };
    let main = package["main"]
        .as_str()
        .filter(|main| main.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)));
    let command =
        if has("start") { format!("{tool} start") } else { format!("node {}", main.unwrap_or("index.js")) };
    Some(Look { guess: !has("start"), ..look("a Node.js app", &prepare, &command) })
}

fn container(read: Read<'_>) -> Option<Look> {
    read("Dockerfile")?;
    Some(look("a Dockerfile", "", ""))
}

fn static_pages(read: Read<'_>) -> Option<Look> {
    read("index.html")?;
    Some(look("static pages", "", "python3 -m http.server $PORT"))
}
