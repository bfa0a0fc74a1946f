//! What becomes of Kamal's files, and how files are known.

use std::path::{Path, PathBuf};

use pando_config::import::{self, Imported, Kind, Request};
use pando_config::{Loaded, MemoryFiles, load};
use pando_model::{HealthKind, ProcessName};

use crate::Whole;

fn loaded(imported: &Imported) -> Loaded {
    let files = Whole(imported.yaml.clone());
    let loaded = load(Path::new("pando.yaml"), None, &files)
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.yaml));
    assert!(!loaded.targets[0].unsupported.has_errors(), "{}", imported.yaml);
    loaded
}

fn from(files: &[(&str, &str)], named: &[&str], kind: Option<Kind>, base: &str) -> Result<Imported, String> {
    let memory = files.iter().fold(MemoryFiles::default(), |memory, (name, text)| memory.with(*name, *text));
    let paths: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
    let request = Request { files: &paths, kind, app: "app", service: None, base: Path::new(base) };
    import::from_files(&request, &memory).map_err(|problems| problems.to_string())
}

fn kamal(text: &str) -> Imported {
    from(&[("config/deploy.yml", text)], &["config/deploy.yml"], None, "config").unwrap()
}

fn notes(imported: &Imported, words: &[&str]) {
    let found = imported.notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
    assert!(found, "no note with {words:?} in:\n{}", imported.notes.join("\n"));
}

#[test]
fn what_kamal_builds_is_built() {
    let imported = kamal("service: shop\nimage: acme/shop\nservers: [10.0.0.1]\nregistry: {username: a}\n");
    let build = loaded(&imported).targets[0].build.clone().expect("it is built");
    assert_eq!(
        (build.context.as_path(), build.dockerfile.as_path()),
        (Path::new("."), Path::new("./Dockerfile"))
    );
    notes(&imported, &["`acme/shop` is built here"]);
    notes(&imported, &["`registry`"]);
    notes(&imported, &["pando server add 10.0.0.1 --role web"]);
    let named = kamal(
        "service: a\nimage: a/b\nbuilder: {arch: amd64, dockerfile: D, target: t, context: ./x, secrets: [S], cache: {type: gha}, pack: {builder: b}}\n",
    );
    let build = loaded(&named).targets[0].build.clone().unwrap();
    assert_eq!((build.context, build.target.as_deref()), (PathBuf::from("x"), Some("t")));
    for key in ["builder.secrets", "builder.cache", "builder.pack"] {
        notes(&named, &[key]);
    }
}

#[test]
fn accessories_lose_nothing_unsaid() {
    let imported = kamal(
        "service: a\nimage: a/b\naccessories:\n  db: {image: 'mysql:8.0', host: 10.0.0.9, port: '3307:3306', cmd: --x, env: {clear: {A: 1}, secret: [P]}, files: ['a:/a'], directories: ['d:/d'], volumes: ['v:/v'], options: {cpus: 1}}\n  \
         search: {image: 'elasticsearch:8', roles: [web], cmd: x}\n",
    );
    notes(
        &imported,
        &[
            "`db` is yours to run",
            "10.0.0.9 --role db",
            "`cmd`",
            "`env`",
            "`files`",
            "`directories`",
            "`volumes` and `options`",
        ],
    );
    notes(&imported, &["`search`", "another app", "`roles` and `cmd`"]);
    let services = &loaded(&imported).targets[0].spec.services;
    assert_eq!(services.values().map(|service| service.port).collect::<Vec<_>>(), [3307]);
}

#[test]
fn a_proxy_of_kamal_is_carried_over() {
    let imported = kamal(
        "service: a\nimage: a/b\nservers:\n  web: {hosts: [h1], options: {memory: 1g, cpus: .5, user: '1000', network: x}, labels: {a: b}}\n  \
         api: {hosts: [h2], cmd: api, proxy: {host: api.example, app_port: 9000, path_prefix: /v1, healthcheck: {path: /ping}}}\n  \
         job: {hosts: [h3], cmd: job, proxy: true, logging: {a: b}}\n\
         proxy: {hosts: [a.example, b.example], app_port: 3000, ssl: true, ssl_redirect: false, path_prefix: /x, strip_path_prefix: false, response_timeout: 45, buffering: {requests: true}, forward_headers: true, run: {http_port: 1}, logging: {a: b}, novelty: 1}\n\
         deploy_timeout: 120\nstop_timeout: 10\ndrain_timeout: 50\nretain_containers: 3\nreadiness_delay: 3\n",
    );
    let spec = &loaded(&imported).targets[0].spec;
    let web = &spec.processes[&ProcessName::web()];
    assert_eq!(
        (web.container_port, web.health.start_timeout.0, web.health.timeout.0),
        (Some(3000), 120_000, 5000)
    );
    assert_eq!(
        (web.resources.cpu_millis, web.user.as_deref(), web.stop_timeout.0),
        (Some(500), Some("1000"), 50_000)
    );
    assert_eq!(spec.keep_releases, 3);
    assert!(!spec.domains[0].https.redirect);
    let api = &spec.processes[&ProcessName::new("api").unwrap()];
    assert_eq!(
        (api.container_port, &api.health.kind),
        (Some(9000), &HealthKind::Http { path: "/ping".to_owned() })
    );
    let routes: Vec<(Option<&str>, bool)> =
        spec.routes.iter().map(|route| (route.host.as_deref(), route.strip_prefix)).collect();
    assert_eq!(routes, [(None, false), (Some("api.example"), true)]);
    for words in [
        &["proxy.ssl"][..],
        &["proxy.buffering"],
        &["proxy.forward_headers"],
        &["proxy.run"],
        &["proxy.logging"],
        &["proxy.novelty"],
        &["servers.labels", "`web`"],
        &["servers.web.options.network"],
        &["servers.proxy", "`job`"],
        &["servers.logging", "`job`"],
        &["readiness_delay"],
        &["longer one is kept"],
    ] {
        notes(&imported, words);
    }
}

#[test]
fn variables_hooks_and_the_rest_are_told() {
    let text = "service: a\nimage: a/b\nenv: {clear: {A: 1, S: '$x ${y}'}, secret: [KEY, 'B:C'], tags: {eu: {clear: {R: eu}}}}\n\
                ssh: {user: a}\nsshkit: {a: 1}\nboot: {limit: 1}\naliases: {console: x}\nhooks_path: h\nlogging: {a: b}\nlabels: {a: b}\n\
                error_pages_path: p\nminimum_version: 2\nrequire_destination: true\nasset_path: '/a:Z'\nnovelty: 1\nvolumes: ['./x:/x']\n";
    let files = [
        ("config/deploy.yml", text),
        (".kamal/hooks/pre-deploy", "x"),
        ("config/deploy.staging.yml", "a: 1"),
    ];
    let imported = from(&files, &["config/deploy.yml"], None, "config").unwrap();
    assert!(imported.yaml.contains("value: \"$x ${y}\""), "{}", imported.yaml);
    for words in [
        &["`KEY` and `B`", "secret"][..],
        &["env.tags.eu", "`R`"],
        &["`ssh`"],
        &["`sshkit`"],
        &["`boot`"],
        &["`aliases`", "`console`"],
        &["`hooks_path`"],
        &["`logging`"],
        &["`labels`"],
        &["`error_pages_path`"],
        &["`minimum_version`"],
        &["`require_destination`"],
        &["asset_path", "Z"],
        &["`novelty`"],
        &["./x:/x"],
        &[".kamal/hooks", "pre-deploy"],
        &["deploy.staging.yml", "not read"],
    ] {
        notes(&imported, words);
    }
}

#[test]
fn a_destination_is_read_over_the_file() {
    let base =
        "service: a\nimage: a/b\nservers: {web: {hosts: [h1]}}\nproxy: {host: a.example, app_port: 3000}\n";
    let over = "servers: {web: {hosts: [h2]}}\nproxy: {host: staging.example}\n";
    let files = [("config/deploy.yml", base), ("config/deploy.staging.yml", over)];
    let both = from(&files, &["config/deploy.yml", "config/deploy.staging.yml"], None, "config").unwrap();
    let spec = &loaded(&both).targets[0].spec;
    assert_eq!(spec.domains[0].domain, "staging.example");
    assert_eq!(spec.processes[&ProcessName::web()].container_port, Some(3000));
    notes(&both, &["pando server add h2"]);
    let alone = from(&files, &["config/deploy.staging.yml"], None, "config").unwrap();
    notes(&alone, &["not read here", "--from config/deploy.yml --from config/deploy.staging.yml"]);
}

#[test]
fn a_file_is_known_by_what_is_in_it() {
    let kamal = "service: a\nimage: a/b\nservers: [h]\n";
    let compose = "services: {web: {image: a/b}}\n";
    let haloy = "name: a\nimage: a/b:1\nserver: h.example\n";
    for (name, text, source) in [
        ("stack.yml", compose, "compose.yaml"),
        ("deploy.yml", compose, "compose.yaml"),
        ("docker-compose.prod.yml", compose, "compose.yaml"),
        ("production.yml", kamal, "Kamal"),
        ("haloy.yaml", haloy, "haloy.yaml"),
        ("app.yaml", haloy, "haloy.yaml"),
        ("Procfile.production", "web: bin/web\n", "Procfile"),
    ] {
        let imported = from(&[(name, text)], &[name], None, "").unwrap();
        assert!(imported.yaml.lines().next().unwrap().contains(source), "{name}: {}", imported.yaml);
    }
    let unknown = from(&[("x.yaml", "a: 1")], &["x.yaml"], None, "").unwrap_err();
    assert!(unknown.contains("neither") && unknown.contains("--kind"), "{unknown}");
    let told = from(&[("x.yaml", "service: a")], &["x.yaml"], Some(Kind::Kamal), "").unwrap();
    assert!(told.yaml.contains("Kamal"));
    let started = from(&[("start", "web: bin/web\n")], &["start"], Some(Kind::Procfile), "").unwrap();
    assert!(started.yaml.contains("bin/web"));
    let two = from(&[("Procfile", "web: a"), ("b", "")], &["Procfile", "b"], None, "").unwrap_err();
    assert!(two.contains("only one"), "{two}");
}

#[test]
fn erb_is_kamals_alone() {
    let compose = "services:\n  web:\n    build: .\n    ports: ['8000:8000']\n    command: gunicorn app --access-logformat '%(h)s <%(u)s> %(t)s'\n    \
                   environment: {IMPORTANT: '1', FMT: 'a <%x%> b'}\n  worker: {build: ., command: bin/worker}\n";
    for name in ["compose.yaml", "config/deploy.yml", "x.yml"] {
        let imported = from(&[(name, compose)], &[name], None, "").unwrap();
        let spec = &loaded(&imported).targets[0].spec;
        assert_eq!(spec.processes.len(), 2, "{}", imported.yaml);
        assert!(
            imported.yaml.contains("<%(u)s> %(t)s") && imported.yaml.contains("a <%x%> b"),
            "{}",
            imported.yaml
        );
        assert!(imported.notes.iter().all(|note| !note.contains("ERB")));
    }
    let text = "service: a\nimage: a/b\nservers: [1.1.1.1]\nenv: {clear: {A: '<%= x %>', B: '<% y', C: c}}\n";
    for (name, kind) in [("config/deploy.yml", None), ("x.yml", None), ("y.yml", Some(Kind::Kamal))] {
        let imported = from(&[(name, text)], &[name], kind, "").unwrap();
        notes(&imported, &["ERB"]);
        assert!(imported.yaml.contains("<% y") && imported.yaml.contains("name: C"), "{}", imported.yaml);
        assert!(!imported.yaml.contains("<%= x"), "{}", imported.yaml);
    }
}

#[test]
fn a_dockerfile_of_kamal_is_seen_from_the_context() {
    for (builder, context, dockerfile) in [
        ("{context: backend, dockerfile: backend/Dockerfile}", "backend", "backend/Dockerfile"),
        ("{context: ., dockerfile: docker/D}", ".", "./docker/D"),
        ("{dockerfile: D}", ".", "./D"),
    ] {
        let imported = kamal(&format!("service: a\nimage: a/b\nservers: [1.1.1.1]\nbuilder: {builder}\n"));
        let build = loaded(&imported).targets[0].build.clone().unwrap();
        assert_eq!((build.context, build.dockerfile), (PathBuf::from(context), PathBuf::from(dockerfile)));
        assert!(imported.notes.iter().all(|note| !note.contains("outside")), "{builder}");
    }
    for builder in ["{context: app/x, dockerfile: app/D}", "{context: app/x}"] {
        let imported = kamal(&format!("service: a\nimage: a/b\nservers: [1.1.1.1]\nbuilder: {builder}\n"));
        notes(&imported, &["builder.dockerfile", "outside the context `app/x`"]);
    }
    let outside = kamal("service: a\nimage: a/b\nbuilder: {context: app/x, dockerfile: app/D}\n");
    assert_eq!(loaded(&outside).targets[0].build.clone().unwrap().dockerfile, Path::new("app/x/../D"));
}

#[test]
fn a_primary_role_and_aliases_of_secrets_are_told_of() {
    let imported = kamal(
        "service: a\nimage: a/b\nservers: {app: [1.1.1.1], jobs: [1.1.1.2]}\nprimary_role: app\nenv: {secret: ['DB:DB_PRODUCTION', 'PLAIN']}\n",
    );
    notes(&imported, &["`primary_role`", "`app` is called `web`"]);
    notes(&imported, &["`DB` has the value of the secret `DB_PRODUCTION`"]);
    assert!(imported.notes.iter().all(|note| !note.contains("of the secret `PLAIN`")));
    let imported = kamal("service: a\nimage: a/b\nservers: {app: [1.1.1.1]}\nprimary_role: b\n");
    notes(&imported, &["`primary_role`", "no role `b`"]);
    let imported = kamal("service: a\nimage: a/b\nservers: [1.1.1.1]\nasset_path: public/assets\n");
    notes(&imported, &["`asset_path`", "relative"]);
    assert!(!imported.yaml.contains("\nasset_path"), "{}", imported.yaml);
}

#[test]
fn an_asset_path_within_a_volume_is_told_of() {
    let text = "service: a\nimage: a/b\nservers: [1.1.1.1]\nvolumes: ['storage:/rails']\nasset_path: /rails/public/assets\n";
    let imported = kamal(text);
    loaded(&imported);
    notes(&imported, &["`asset_path`", "volume at `/rails`"]);
}
