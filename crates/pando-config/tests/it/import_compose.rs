//! What becomes of compose files: each key is carried over with its meaning, or a note names it.

use std::path::{Path, PathBuf};

use pando_config::import::{self, Imported, Request};
use pando_config::{MemoryFiles, load};
use pando_model::app::{RunSource, ServiceSpec};
use pando_model::{AppSpec, EnvValue, HealthKind, ProcessName, ProcessSpec};

use crate::Whole;

/// An import of `compose.yaml` beside other files.
pub(crate) struct Case {
    pub(crate) imported: Imported,
    pub(crate) spec: AppSpec,
    pub(crate) build: Option<pando_config::Build>,
}

pub(crate) fn case_with(yaml: &str, others: &[(&str, &str)], service: Option<&str>, base: &str) -> Case {
    let files = others.iter().fold(MemoryFiles::default(), |files, (name, text)| files.with(*name, *text));
    let files = files.with("compose.yaml", yaml);
    let paths = [PathBuf::from("compose.yaml")];
    let request = Request { files: &paths, kind: None, app: "shop", service, base: Path::new(base) };
    let imported = import::from_files(&request, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let written = Whole(imported.yaml.clone());
    let mut loaded = load(Path::new("pando.yaml"), None, &written)
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.yaml));
    let target = loaded.targets.remove(0);
    assert!(!target.unsupported.has_errors(), "{}\n{}", target.unsupported, imported.yaml);
    Case { spec: target.spec, build: target.build, imported }
}

pub(crate) fn case(yaml: &str) -> Case {
    case_with(yaml, &[], None, "")
}

impl Case {
    pub(crate) fn process(&self, name: &str) -> &ProcessSpec {
        let name = ProcessName::new(name).unwrap();
        self.spec.processes.get(&name).unwrap_or_else(|| panic!("no `{name}`\n{}", self.imported.yaml))
    }

    pub(crate) fn command(&self, name: &str) -> &str {
        self.process(name).command.as_deref().unwrap_or_default()
    }

    /// A variable as the process is told it.
    pub(crate) fn told(&self, process: &str, name: &str) -> Option<EnvValue> {
        self.process(process).env.get(name).or(self.spec.env.get(name)).cloned()
    }

    pub(crate) fn value(&self, name: &str) -> String {
        match self.told("web", name) {
            Some(EnvValue::Value(value)) => value,
            other => panic!("{name}: {other:?}\n{}", self.imported.yaml),
        }
    }

    /// The service that a variable comes from.
    pub(crate) fn service(&self, name: &str) -> &ServiceSpec {
        match self.told("web", name) {
            Some(EnvValue::Service(service)) => &self.spec.services[&service],
            other => panic!("{name}: {other:?}\n{}", self.imported.yaml),
        }
    }

    /// A note that has all of these words.
    pub(crate) fn notes(&self, words: &[&str]) {
        let found = self.imported.notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
        assert!(found, "no note with {words:?} in:\n{}", self.imported.notes.join("\n"));
    }

    pub(crate) fn notes_nothing_of(&self, word: &str) {
        assert!(!self.imported.notes.iter().any(|note| note.contains(word)), "{:?}", self.imported.notes);
    }
}

#[test]
fn builds_that_differ_are_several_apps() {
    for (other, key) in [
        ("{context: ., dockerfile: Dockerfile.worker}", "dockerfile"),
        ("{context: ., args: {KIND: worker}}", "args"),
        ("{context: ., target: dev}", "target"),
        ("./worker", "context"),
        ("{context: ., dockerfile_inline: FROM a}", "dockerfile"),
        ("{context: ., additional_contexts: {base: ./b}}", "additional_contexts"),
        ("{context: ., ssh: [default]}", "ssh"),
        ("{context: ., platforms: [linux/arm64], secrets: [a]}", "platforms"),
    ] {
        let case = case(&format!(
            "services:\n  web: {{build: ., ports: ['80:3000']}}\n  worker: {{build: {other}, command: work}}\n"
        ));
        assert_eq!(case.spec.processes.len(), 1, "{other}");
        case.notes(&["services.worker", key, "--service worker"]);
    }
    // The same in other words, and by the name that the build gives.
    let same = case(
        "services:\n  web: {build: {context: ./, args: {B: 2, A: 1}}, image: shop, ports: ['80:3000']}\n  \
         a: {build: {context: ., dockerfile: ./Dockerfile, args: [A=1, B=2]}, command: a}\n  b: {image: shop, command: b}\n",
    );
    assert_eq!(same.spec.processes.len(), 3, "{}", same.imported.yaml);
}

#[test]
fn one_of_several_apps_can_be_named() {
    let yaml = "services:\n  web: {build: ., ports: ['80:3000']}\n  api: {build: ./api, ports: ['4000']}\n";
    let case = case_with(yaml, &[], Some("api"), "..");
    assert_eq!(case.spec.name.as_str(), "api");
    assert_eq!(case.build.as_ref().unwrap().context, Path::new("../api"), "seen from the new file");
    case.notes(&["services.web", "--service web"]);
    let files = MemoryFiles::default().with("compose.yaml", yaml);
    let paths = [PathBuf::from("compose.yaml")];
    let request =
        Request { files: &paths, kind: None, app: "a", service: Some("nobody"), base: Path::new("") };
    let problems = import::from_files(&request, &files).unwrap_err().to_string();
    assert!(problems.contains("no service `nobody`") && problems.contains("`web` and `api`"), "{problems}");
}

#[test]
fn commands_have_the_words_that_compose_makes_of_them() {
    for (typed, line) in [
        ("bin/web -p 3000", "bin/web -p 3000"),
        ("sh -c \"echo $$HOME && exit\"", "sh -c 'echo $HOME && exit'"),
        ("[bin/web, '$$PORT', a b]", "bin/web '$PORT' 'a b'"),
        ("bin/web -p ${PORT:-3000} ${MORE:+x}", "bin/web -p 3000"),
        ("a && b", "a '&&' b"),
    ] {
        let case =
            case(&format!("services:\n  web:\n    image: a/b\n    ports: ['80']\n    command: {typed}\n"));
        assert_eq!(case.command("web"), line, "{typed}");
    }
}

#[test]
fn what_compose_fills_in_is_filled_in_or_named() {
    let yaml = "services:\n  web:\n    image: a/b:${TAG}\n    ports: ['80:${APP_PORT:-3000}']\n    command: run ${WHO:?}\n    \
                environment:\n      MODE: ${MODE:-production}\n      HOST: ${HOST}\n      LATER: $$HOST\n      WHERE: ${WHERE}\n      \
                API_KEY: ${API_KEY:-none}\n      URL: http://u:${DB_PASSWORD}@x/\n      PASSED:\n      BOTH: a${MODE}b\n";
    let env = "TAG=1.5\nHOST=example.com\nMODE=\nDB_PASSWORD=hunter2\nAPI_KEY=k\nPASSED=\"yes\"";
    let case = case_with(yaml, &[(".env", env)], None, "");
    assert!(matches!(&case.spec.run, RunSource::Image { reference, .. } if reference == "a/b:1.5"));
    assert_eq!(case.process("web").container_port, Some(3000));
    assert_eq!(case.process("web").command, None);
    case.notes(&["`command` of `web`", "`WHO`"]);
    for (name, value) in [
        ("MODE", "production"),
        ("HOST", "example.com"),
        ("LATER", "$HOST"),
        ("PASSED", "yes"),
        ("BOTH", "ab"),
    ] {
        assert_eq!(case.value(name), value);
    }
    for name in ["API_KEY", "URL", "WHERE"] {
        assert_eq!(case.told("web", name), None, "{name}");
        assert!(case.imported.yaml.contains(&format!("# - name: {name}")), "{}", case.imported.yaml);
    }
    case.notes(&["`API_KEY` and `URL`", "secret"]);
    case.notes(&["`WHERE`", "not known"]);
    assert!(!case.imported.yaml.contains("hunter2") && !case.imported.yaml.contains("none"));
    case.notes(&["`${APP_PORT}`", "defaults"]);
    case.notes(&["`${TAG}`", "`.env`"]);
}

#[test]
fn an_env_file_is_read_without_its_secrets() {
    let yaml = "services: {web: {image: a/b, ports: ['80'], env_file: [a.env, {path: b.env}, c.env], environment: {A: 3}}}";
    let others = [("a.env", "A=1\nB=2\nSTRIPE_KEY=sk\nDB=postgres://u:pw@h/d\n"), ("b.env", "B=4\n")];
    let case = case_with(yaml, &others, None, "");
    assert_eq!((case.value("A"), case.value("B")), ("3".to_owned(), "4".to_owned()));
    case.notes(&["`STRIPE_KEY` and `DB`"]);
    case.notes(&["env_file: c.env", "can't be read"]);
    assert!(!case.imported.yaml.contains("pw@h"));
}

#[test]
fn a_check_is_as_patient_as_docker_is() {
    let check = |keys: &str| {
        let yaml = format!("services: {{web: {{image: a/b, ports: ['80:3000'], healthcheck: {{{keys}}}}}}}");
        case(&yaml).process("web").health.clone()
    };
    let test = "test: [CMD, curl, -f, 'http://localhost:3000/up']";
    let plain = check(test);
    assert_eq!(plain.kind, HealthKind::Http { path: "/up".to_owned() });
    assert_eq!((plain.interval.0, plain.timeout.0, plain.unhealthy), (30_000, 30_000, 3), "Docker's own");
    assert_eq!(plain.start_timeout.0, 90_000, "three checks, 30 s apart");
    let patient = check(&format!("{test}, start_period: 2m, interval: 10s, retries: '6', timeout: 1s"));
    assert_eq!((patient.start_timeout.0, patient.unhealthy, patient.timeout.0), (180_000, 6, 1000));
    assert_eq!(
        check(&format!("{test}, interval: 1s")).start_timeout.0,
        60_000,
        "never less than the default"
    );
    let image = check("interval: 5s");
    assert_eq!((image.kind, image.interval.0), (HealthKind::Image { path: Some("/".to_owned()) }, 5000));
    for off in ["disable: true", "test: [NONE]"] {
        assert_eq!(check(off).kind, HealthKind::None, "{off}");
    }
    for (test, command) in [
        ("[CMD, curl, -f, 'http://localhost:9999/up']", "curl -f http://localhost:9999/up"),
        ("[CMD, check, '$$PORT']", "check '$PORT'"),
        ("[CMD-SHELL, 'check $$PORT || exit 1']", "check $PORT || exit 1"),
        ("check a && check b", "check a && check b"),
    ] {
        let kind = check(&format!("test: {}", serde_json::to_string(test).unwrap().trim_matches('"'))).kind;
        assert_eq!(kind, HealthKind::Command { command: command.to_owned() }, "{test}");
    }
    let case =
        case("services: {web: {image: a/b, ports: ['80'], healthcheck: {test: x, start_interval: 1s}}}");
    case.notes(&["healthcheck.start_interval"]);
}

#[test]
fn of_several_ports_one_is_for_requests() {
    for (keys, port, named) in [
        ("expose: ['9000'], ports: ['80:3000']", 3000, "9000"),
        ("ports: ['443:443', '80:80']", 80, "443:443"),
        ("ports: ['443:3443', '80:3000']", 3000, "443:3443"),
        ("ports: ['53:53/udp', '8080:8080']", 8080, "53:53/udp"),
        ("ports: ['3000-3002:4000-4002']", 4000, "3000-3002:4000-4002"),
        ("ports: ['127.0.0.1:8080:3000']", 3000, "that machine alone"),
        ("ports: ['[::1]:8080:3000/tcp']", 3000, "that machine alone"),
        ("ports: [{target: 8081, published: '443'}, {target: 3000, published: 80}]", 3000, "443:8081"),
        ("ports: ['8080:3000']", 3000, "port 8080"),
        ("ports: [{target: 53, protocol: udp}], expose: [3000]", 3000, "53"),
    ] {
        let case = case(&format!("services: {{web: {{image: a/b, {keys}}}}}"));
        assert_eq!(case.process("web").container_port, Some(port), "{keys}");
        case.notes(&["ports", named]);
    }
    let quiet = case("services: {web: {image: a/b, ports: ['80:3000']}}");
    quiet.notes_nothing_of("ports");
    let nobody = case("services: {bot: {image: a/b}}");
    assert!(
        !nobody.spec.processes.contains_key(&ProcessName::web()),
        "it has no port to check or to send requests to"
    );
    nobody.notes(&["none gets requests"]);
}

#[test]
fn what_ends_by_itself_is_the_release_command_or_named() {
    let yaml = "services:\n  web: {image: a/b, ports: ['80'], environment: {A: '1'}, depends_on: {seed: {condition: service_completed_successfully}}}\n  \
                seed: {image: a/b, command: bin/seed --all, environment: {A: '1', ONLY: x}, volumes: ['v:/v'], depends_on: {migrate: {condition: service_completed_successfully}}}\n  \
                migrate: {image: a/b, command: [bin/migrate, a b]}\n  \
                clean: {image: a/b, command: bin/clean, restart: 'no'}\n  \
                work: {image: a/b, command: bin/work, restart: on-failure, depends_on: {web: {condition: service_healthy, restart: true}, db: {condition: service_started}}}\n  \
                db: {image: postgres}\n";
    let case = case(yaml);
    assert_eq!(case.spec.release_command.as_deref(), Some("bin/migrate 'a b' && bin/seed --all"));
    case.notes(&["`release`", "`ONLY` of `seed`"]);
    case.notes(&["`volumes` of `seed`"]);
    case.notes(&["`clean`", "pando run bin/clean"]);
    case.notes(&["restart: on-failure", "`work`"]);
    case.notes(&["depends_on.web.restart"]);
    case.notes(&["`depends_on`", "`db`"]);
    let names: Vec<&str> = case.spec.processes.keys().map(ProcessName::as_str).collect();
    assert_eq!(names, ["web", "work"]);
    assert!(case.process("work").depends_on.contains(&ProcessName::web()));
    // A service that is reached serves, whatever its `restart` says.
    let serves = case_with("services: {web: {image: a/b, ports: ['80'], restart: 'no'}}", &[], None, "");
    serves.notes(&["restart: no", "started again"]);
    serves.process("web");
}

#[test]
fn names_in_the_network_become_services_or_are_named() {
    let yaml = "services:\n  web:\n    image: a/b\n    ports: ['80']\n    command: wait-for db:5432 -- bin/web\n    links: ['db:database']\n    \
                environment:\n      URL: postgres://db:pw@db:5432/app\n      OTHER: postgres://u@database/other\n      DB_HOST: db\n      \
                DSN: host=db user=db\n      CACHE: redis://cache:6380/1\n      API: http://worker:4000\n      MONGO: mongodb://mongo:27017/x\n      \
                DB_CONNECTION: db\n      DB: db\n      PLAIN: the db is here\n      SECRET_URL: redis://:${PASSWORD}@cache/0\n  \
                worker: {image: a/b, command: work}\n  db: {image: 'postgres:16'}\n  cache: {image: valkey/valkey}\n  mongo: {image: mongo}\n";
    let case = case(yaml);
    for (name, url) in [
        ("URL", Some("postgres://db:pw@{host}:{port}/app")),
        ("OTHER", Some("postgres://u@{host}/other")),
        ("DB_HOST", None),
        ("DSN", Some("host={host} user=db")),
        ("CACHE", Some("redis://{host}:{port}/1")),
    ] {
        assert_eq!(case.service(name).url.as_deref(), url, "{name}");
    }
    assert_eq!((case.service("CACHE").port, case.service("URL").port), (6380, 5432));
    assert_eq!((case.service("URL").role.as_str(), case.service("CACHE").role.as_str()), ("db", "cache"));
    assert_eq!(case.value("DB_CONNECTION"), "db");
    case.notes(&["`API` names `worker`", "no names in the network"]);
    case.notes(&["`MONGO` names `mongo`", "address"]);
    case.notes(&["`command` of `web`", "`db`"]);
    case.notes(&["`DB` is `db`"]);
    case.notes(&["`SECRET_URL`", "`PASSWORD`", "`cache`"]);
    case.notes_nothing_of("`PLAIN`");
    case.notes(&["`URL` of `web`", "looks secret"]);
}

#[test]
fn labels_say_domains_and_routes() {
    let yaml = "services:\n  traefik: {image: 'traefik:v3', ports: ['80:80']}\n  \
                shop: {image: a/b, labels: {traefik.http.routers.s.rule: 'Host(`b.example`) || Host(`a.example`)', traefik.http.routers.s.tls: 'true', other: x, traefik.http.services.s.loadbalancer.server.port: 4000}}\n  \
                api: {image: a/b, command: api, labels: ['traefik.http.routers.a.rule=Host(`a.example`) && PathPrefix(`/api`)']}\n  \
                admin: {image: a/b, command: admin, ports: ['4000'], deploy: {labels: ['traefik.http.routers.x.rule=Host(`admin.example`)', 'traefik.http.routers.y.rule=HostRegexp(`.+`)']}}\n  \
                extra: {image: a/b, command: extra, ports: ['5000']}\n";
    let case = case(yaml);
    let domains: Vec<&str> = case.spec.domains.iter().map(|domain| domain.domain.as_str()).collect();
    assert_eq!(domains, ["a.example", "admin.example", "b.example"]);
    assert_eq!(case.process("web").container_port, Some(4000));
    let routes: Vec<_> = case
        .spec
        .routes
        .iter()
        .map(|route| {
            (
                route.host.clone().unwrap_or_default(),
                format!("{:?}", route.path),
                route.process.clone().unwrap(),
            )
        })
        .collect();
    assert_eq!(routes.len(), 2, "{routes:?}");
    assert!(routes[0].0 == "a.example" && routes[0].1.contains("/api") && routes[0].2.as_str() == "api");
    assert!(routes[1].0 == "admin.example" && routes[1].2.as_str() == "admin", "{routes:?}");
    case.notes(&["traefik.http.routers.s.tls", "certificates"]);
    case.notes(&["`other`", "Pando's labels"]);
    case.notes(&["HostRegexp"]);
    case.notes(&["`extra`", "routes"]);
    case.notes(&["services.traefik", "load balancer"]);
}

#[test]
fn keys_without_a_counterpart_are_all_named() {
    let keys = [
        ("init", "true"),
        ("hostname", "a"),
        ("container_name", "b"),
        ("working_dir", "/x"),
        ("stop_signal", "SIGINT"),
        ("tmpfs", "/tmp"),
        ("read_only", "true"),
        ("cap_add", "[A]"),
        ("privileged", "true"),
        ("devices", "['/dev/a']"),
        ("gpus", "all"),
        ("extra_hosts", "['a:b']"),
        ("logging", "{driver: none}"),
        ("network_mode", "host"),
        ("secrets", "[a]"),
        ("configs", "[a]"),
        ("platform", "linux/arm64"),
        ("shm_size", "1g"),
        ("ulimits", "{nofile: 1}"),
        ("sysctls", "{a: 1}"),
        ("memswap_limit", "1g"),
        ("cpu_shares", "5"),
        ("stdin_open", "true"),
        ("tty", "true"),
        ("develop", "{watch: []}"),
        ("volumes_from", "[b]"),
        ("post_start", "[{command: a}]"),
        ("something_new", "1"),
        ("runtime", "nvidia"),
        ("mac_address", "a"),
        ("pids_limit", "-1"),
        ("restart", "on-failure"),
        ("dns", "1.1.1.1"),
    ];
    let lines: String = keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
    let case = case(&format!("services:\n  web:\n    image: a/b\n    ports: ['80']\n{lines}"));
    for (key, _) in keys {
        case.notes(&[&format!("`{key}"), "`web`"]);
    }
    case.notes_nothing_of("Pando has no key");
}

#[test]
fn deploy_is_read_whole() {
    let yaml = "services: {web: {image: a/b, ports: ['80'], cpus: .5, mem_limit: 512m, deploy: {mode: global, replicas: '3', \
                resources: {limits: {memory: 1.5g, pids: '50'}, reservations: {cpus: 1, devices: [{capabilities: [gpu]}]}}, \
                placement: {constraints: [a]}, update_config: {order: stop-first, parallelism: 2}}}}";
    let case = case(yaml);
    let web = case.process("web");
    assert_eq!(web.resources.cpu_millis, Some(500));
    assert_eq!(web.resources.memory_bytes, Some(1_610_612_736));
    assert_eq!(web.resources.pids, Some(50));
    for key in [
        "replicas",
        "reservations.cpus",
        "reservations.devices",
        "placement",
        "update_config.order",
        "update_config.parallelism",
    ] {
        case.notes(&[
            &format!("deploy.{}", key).replace("deploy.reservations", "deploy.resources.reservations")
        ]);
    }
    let replicas =
        case_with("services: {web: {image: a/b, ports: ['80'], deploy: {replicas: '3'}}}", &[], None, "");
    assert!(format!("{:?}", replicas.process("web").count).contains("Total(3)"));
}

#[test]
fn an_override_is_named_and_several_files_are_merged() {
    let base = "services: {web: {image: a/b, ports: ['80:3000'], command: a, environment: [A=1, B=2], volumes: ['v:/v', 'x:/x']}}";
    let over = "services: {web: {command: [b], environment: {B: 3}, ports: ['81:9000'], volumes: ['w:/v']}, job: {image: a/b, command: job}}";
    let case = case_with(base, &[("compose.override.yaml", over)], None, "");
    case.notes(&["compose.override.yaml", "not read", "--from compose.yaml --from compose.override.yaml"]);
    let files = MemoryFiles::default().with("a.yaml", base).with("b.yaml", over);
    let paths = [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")];
    let request = Request { files: &paths, kind: None, app: "a", service: None, base: Path::new("") };
    let merged = import::from_files(&request, &files).unwrap();
    for line in
        ["command: b", "- w:/v", "- x:/x", "value: \"3\"", "value: \"1\"", "command: job", "port: 3000"]
    {
        assert!(merged.yaml.contains(line), "{line}\n{}", merged.yaml);
    }
    assert!(!merged.yaml.contains("v:/v\n  - x") && merged.notes.iter().any(|note| note.contains("81:9000")));
}

#[test]
fn services_extend_others_here_and_elsewhere() {
    let yaml = "services:\n  base: {image: a/b, environment: {A: 1, B: 2}, command: base}\n  \
                web: {extends: base, environment: {B: 3}, ports: ['80']}\n  \
                job: {extends: {file: common/x.yml, service: job}}\n  lost: {extends: {file: none.yml, service: a}, image: a/b, command: c}\n";
    let other = "services: {root: {image: a/b}, job: {extends: root, command: job}}";
    let case = case_with(yaml, &[("common/x.yml", other)], None, "");
    assert_eq!(case.command("web"), "base");
    assert_eq!(case.command("job"), "job");
    assert_eq!((case.value("A"), case.value("B")), ("1".to_owned(), "3".to_owned()));
    case.notes(&["`extends` of `lost`", "missing"]);
}

#[test]
fn what_is_lost_of_a_database_is_listed() {
    let yaml = "services:\n  web: {image: a/b, ports: ['80']}\n  \
                db: {image: 'postgres:${PG:-16}-alpine', command: postgres -c a=b, environment: {POSTGRES_PASSWORD: x}, volumes: ['d:/d'], healthcheck: {test: x}}\n";
    let case = case(yaml);
    case.notes(&["`db` is yours to run", "`command`, `environment`, `volumes` and `healthcheck`"]);
    assert!(case.imported.yaml.contains("version: \"16\""), "{}", case.imported.yaml);
    assert_eq!(case.spec.services.len(), 1);
    let unknown = case_with(
        "services: {web: {image: a/b, ports: ['80']}, cache: {image: 'redis:7', command: redis-server --requirepass $PASSWORD}}",
        &[],
        None,
        "",
    );
    unknown.notes(&["`cache` is yours to run", "`command`"]);
}

#[test]
fn volumes_are_the_apps_and_what_can_not_be_one_is_named() {
    let yaml = "services:\n  web: {image: a/b, ports: ['80'], volumes: ['data:/data', './src:/app', '~/x:/x', '/srv/y:/y:ro,z', '/cache', {type: tmpfs, target: /t}, {type: volume, source: n, target: /n, read_only: true}]}\n  \
                job: {image: a/b, command: job, volumes: ['other:/data', 'n:/n']}\n";
    let case = case(yaml);
    let written: Vec<String> = case
        .spec
        .volumes
        .iter()
        .map(|volume| format!("{}:{}:{}", volume.source, volume.target, volume.read_only))
        .collect();
    assert_eq!(written, ["data:/data:false", "/srv/y:/y:true", "n:/n:false"]);
    case.notes(&["`other`", "`/data`", "`data` of `web`", "make two apps"]);
    case.notes(&["./src:/app", "COPY"]);
    case.notes(&["~/x:/x"]);
    case.notes(&["`/srv/y:/y:ro,z`", "chcon"]);
    case.notes(&["volumes: /cache", "no name"]);
    case.notes(&["/t (tmpfs)"]);
    case.notes(&["`n` was read-only"]);
    let own = case_with("services: {web: {image: a/b, ports: ['80'], volumes: ['d:/d:Z']}}", &[], None, "");
    own.notes_nothing_of("SELinux");
}

#[test]
fn an_image_that_is_not_known_is_said_to_be_so() {
    let case = case("services: {web: {image: '${REGISTRY}/app:${TAG}', ports: ['80'], pull_policy: build}}");
    case.notes(&["`image` of `web`", "`REGISTRY` and `TAG`"]);
    case.notes(&["`my-org/my-app:latest` stands for it"]);
    let policy = |typed: &str| {
        let case = case_with(
            &format!("services: {{web: {{image: a/b, ports: ['80'], pull_policy: {typed}}}}}"),
            &[],
            None,
            "",
        );
        match case.spec.run {
            RunSource::Image { pull_policy, .. } => format!("{pull_policy:?}"),
            RunSource::Directory { .. } => String::new(),
        }
    };
    assert_eq!(
        (policy("missing"), policy("never"), policy("always")),
        ("IfMissing".into(), "Never".into(), "Always".into())
    );
    let weekly =
        case_with("services: {web: {image: a/b, ports: ['80'], pull_policy: weekly}}", &[], None, "");
    weekly.notes(&["pull_policy: weekly"]);
}

#[test]
fn without_an_app_the_directory_says_what_runs() {
    let yaml = "services: {db: {image: 'postgres:16'}, mail: {image: axllent/mailpit}}";
    let case = case_with(yaml, &[("Gemfile", "gem 'rails'"), ("go.mod", "")], None, "");
    assert!(matches!(case.spec.run, RunSource::Directory { .. }));
    assert_eq!(case.command("web"), "bin/rails server -b 0.0.0.0 -p $PORT");
    assert_eq!(case.spec.services.len(), 1);
    case.notes(&["none of them is an app"]);
}

#[test]
fn what_is_beside_the_app_is_not_taken_for_it() {
    let yaml = "services:\n  db: {build: ./postgres, ports: ['5432:5432']}\n  nginx: {build: ./nginx, ports: ['80:80']}\n  \
                app: {build: ., command: gunicorn -b 0.0.0.0:8000 app, environment: {URL: 'postgres://db/x'}}\n";
    let case = case(yaml);
    assert_eq!(case.build.as_ref().unwrap().context, Path::new("."));
    assert_eq!(case.process("web").container_port, Some(8000), "a proxy beside it brings it requests");
    case.notes(&["services.nginx", "load balancer"]);
    case.notes(&["services.db", "run it yourself"]);
    case.notes(&["`URL` names `db`"]);
    let site = case_with(
        "services: {traefik: {image: traefik, ports: ['80']}, site: {image: 'nginx:1', labels: ['traefik.http.routers.s.rule=Host(`a.example`)']}}",
        &[],
        None,
        "",
    );
    assert!(matches!(&site.spec.run, RunSource::Image { reference, .. } if reference == "nginx:1"));
    assert_eq!(site.spec.domains.len(), 1);
    site.notes(&["processes.web.port", "8080"]);
}
