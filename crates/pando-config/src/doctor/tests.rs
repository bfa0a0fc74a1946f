use std::path::Path;

use crate::files::MemoryFiles;
use crate::load;

/// What is advised about an app with these lines beside its name: line and message of each.
fn advice(lines: &str) -> Vec<(usize, String)> {
    let files = MemoryFiles::default().with("pando.yaml", format!("name: a\nimage: org/a:1\n{lines}\n"));
    let loaded = load(Path::new("pando.yaml"), None, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let advice = &loaded.targets[0].advice;
    assert!(!advice.has_errors() && advice.iter().all(|one| one.hint.is_some()), "{advice}");
    advice.iter().map(|one| (one.position().unwrap().line, one.message.clone())).collect()
}

#[test]
fn volumes_that_a_dockerfile_declares_and_nobody_mounts_are_said() {
    let about = |lines: &str| {
        let files = MemoryFiles::default()
            .with(
                "pando.yaml",
                format!("name: a\nhealth: {{path: /up}}\nreplicas: 2\nbuild: {{context: .}}\n{lines}"),
            )
            .with("Dockerfile", "FROM x\nVOLUME /data\nVOLUME [\"/var/db/\"]\n");
        let loaded =
            load(Path::new("pando.yaml"), None, &files).unwrap_or_else(|problems| panic!("{problems}"));
        let advice = loaded.targets[0].advice.iter();
        let about = advice.filter(|one| one.message.contains("declares"));
        about.map(|one| (one.message.clone(), one.hint.clone().unwrap())).collect::<Vec<_>>()
    };
    let both = about("");
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].0.contains("`/data`") && both[0].0.contains("line 2"), "{both:?}");
    assert!(both[1].1.contains("\"var-db:/var/db\""), "{both:?}");
    assert_eq!(about("volumes: [\"d:/data\", \"/srv/db:/var/db\"]\n"), []);
}

fn about_variable(name: &str, value: &str) -> Option<String> {
    let mut found = advice(&format!("env: [{{name: {name}, value: \"{value}\"}}]"));
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map(|(line, message)| {
        assert_eq!(line, 3);
        assert!(!message.contains("s3cret"), "{message}");
        message
    })
}

#[test]
fn a_sound_app_needs_no_advice() {
    assert_eq!(advice("replicas: 2\nhealth_check_path: /up\nenv: [{name: A, value: b}]"), []);
    assert_eq!(advice("processes: {web: {}, worker: {}, clock: {singleton: true}}"), []);
}

#[test]
fn what_only_one_server_has_is_found_in_variables() {
    for (name, value, found) in [
        ("DATABASE_URL", "sqlite://db/app.sqlite3", "a database in a file"),
        ("DATABASE_URL", "sqlite3:/data/app", "a database in a file"),
        ("DB_PATH", "/var/lib/app/data.db?mode=rw", "a database in a file"),
        ("DB_CONNECTION", "sqlite", "a database in a file"),
        ("DATABASE_URL", "postgres://app:s3cret@localhost:5432/app", "names `localhost`"),
        ("DATABASE_URL", "postgres://127.0.0.1/app", "names `127.0.0.1`"),
        ("DATABASE_URL", "host=localhost user=app", "names `localhost`"),
        ("REDIS_URL", "redis://[::1]:6379/0", "names `[::1]`"),
        ("REDIS_HOST", "localhost", "names `localhost`"),
        ("MEMCACHED_SERVERS", "localhost:11211", "names `localhost`"),
        ("FILESYSTEM_DISK", "local", "keeps files"),
        ("UPLOADS_DIR", "/var/lib/app/uploads", "keeps files"),
        ("MEDIA_ROOT", "./media", "keeps files"),
        ("DEFAULT_FILE_STORAGE", "django.core.files.storage.FileSystemStorage", "keeps files"),
        ("SESSION_DRIVER", "file", "keeps sessions"),
        ("CACHE_STORE", "memory_store", "keeps sessions"),
    ] {
        let message = about_variable(name, value).unwrap_or_else(|| panic!("{name}={value}"));
        assert!(message.contains(found), "{name}={value}: {message}");
    }
    for (name, value) in [
        ("DATABASE_URL", "postgres://db.internal/app"),
        ("APP_HOST", "localhost.example.com"),
        ("TEXT", "see localhost for more"),
        ("DB_HOST", "10.0.0.5"),
        ("FILESYSTEM_DISK", "s3"),
        ("UPLOADS_DIR", "s3://uploads"),
        ("MEDIA_PREFIX_PATH", "media"),
        ("SESSION_DRIVER", "redis"),
        ("EMPTY", ""),
    ] {
        assert_eq!(about_variable(name, value), None, "{name}={value}");
    }
}

#[test]
fn an_address_of_this_machine_is_better_declared_as_a_service() {
    for (name, value, hint) in [
        (
            "DATABASE_URL",
            "postgres://app:s3cret@localhost:5432/app",
            "`services: {db: {type: postgres, managed: false, url: \"postgres://…{host}:{port}…\"}}`, and here `from: {service: db}`",
        ),
        ("REDIS_HOST", "127.0.0.1", "`services: {cache: {type: redis, managed: false}}`"),
        ("MEMCACHED_SERVERS", "localhost:11211", "{cache: {type: memcached,"),
        ("MYSQL_HOST", "localhost", "{db: {type: mysql,"),
        ("PGHOST", "localhost", "{db: {type: postgres,"),
        ("SMTP_HOST", "localhost", "use the private address of the server that runs it"),
    ] {
        let text = format!("name: a\nimage: org/a:1\nenv: [{{name: {name}, value: \"{value}\"}}]\n");
        let files = MemoryFiles::default().with("pando.yaml", text);
        let loaded = load(Path::new("pando.yaml"), None, &files).unwrap();
        let told: Vec<_> = loaded.targets[0].advice.iter().filter_map(|one| one.hint.clone()).collect();
        assert!(told.len() == 1 && told[0].contains(hint) && !told[0].contains("s3cret"), "{name}: {told:?}");
    }
}

#[test]
fn services_follow_their_server() {
    let url =
        |url: &str| advice(&format!("services: {{db: {{type: postgres, managed: false, url: \"{url}\"}}}}"));
    let found = url("postgres://app:s3cret@localhost:5432/app");
    assert_eq!(
        found,
        [(3, "the URL of `db` names `localhost`, which is another machine on each server".to_owned())]
    );
    assert_eq!(url("postgres://app@{host}:{port}/app"), []);
}

#[test]
fn variables_of_processes_are_read_too() {
    let found =
        advice("processes:\n  web: {}\n  worker:\n    env: [{name: REDIS_URL, value: redis://localhost}]");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 6);
}

#[test]
fn processes_that_would_run_twice_or_not_at_all() {
    let one = |lines: &str, line: usize, found: &str| {
        let advice = advice(lines);
        assert!(
            advice.iter().any(|(at, message)| *at == line && message.contains(found)),
            "{lines}: {advice:?}"
        );
    };
    one("processes:\n  web: {}\n  clock: {command: bin/clock}", 5, "runs once on each server");
    one("processes:\n  web: {}\n  jobs: {command: celery -A app beat}", 5, "runs once on each server");
    one("replicas: 1", 3, "has one replica");
    one("health: {type: none}", 3, "without a health check");
    one("servers: [app-1]", 3, "may run on one server only");
    one(
        "processes:\n  web:\n    servers: [app-1]\n  worker: {servers: [app-1]}",
        5,
        "`web` may run on one server",
    );
    one("processes:\n  web:\n    command: bin/web --host 127.0.0.1", 5, "listens on `127.0.0.1`");
    assert_eq!(advice("servers: [app-1, app-2]"), []);
    one("volumes: [\"uploads:/app/uploads\"]", 3, "another one on each server");
    assert_eq!(advice("processes: {web: {}, clock: {replicas: 1}}"), [], "one in all is one");
}
