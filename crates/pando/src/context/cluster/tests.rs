use std::fs;

use super::*;

/// A directory with a project, known clusters and a server's state, and what finds them.
struct World {
    dir: tempfile::TempDir,
    known: Known,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["project/deep", "clusters", "state"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let known = Known {
            clusters: Some(dir.path().join("clusters")),
            state: dir.path().join("state"),
            ..Known::default()
        };
        Self { dir, known }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(&self, flag: Option<&str>, target: Option<&Target>) -> anyhow::Result<Found> {
        find(flag, target, &self.dir.path().join("project/deep"), &self.known)
    }

    #[track_caller]
    fn url(&self, flag: Option<&str>, target: Option<&Target>) -> String {
        self.find(flag, target).unwrap().url
    }

    #[track_caller]
    fn refusal(&self, flag: Option<&str>, target: Option<&Target>) -> String {
        self.find(flag, target).unwrap_err().to_string()
    }
}

fn target(cluster: Option<&str>, server: Option<&str>) -> Target {
    let files = pando_config::MemoryFiles::default()
        .with("pando.yaml", "name: hits\nsource: .\nprocesses: {web: {command: bin/web}}\n");
    let loaded = pando_config::load(Path::new("pando.yaml"), None, &files).unwrap();
    let target = loaded.targets.into_iter().next().unwrap();
    Target { cluster: cluster.map(str::to_owned), server: server.map(str::to_owned), ..target }
}

#[test]
fn each_source_comes_before_the_next() {
    let mut world = World::new();
    assert_eq!(world.refusal(None, None), "there is no cluster to speak to");
    world.write("state/context.json", r#"{"url": "http://own:7420", "token": "pando_own"}"#);
    assert_eq!(world.url(None, None), "http://own:7420");
    world.write("clusters/prod.json", r#"{"url": "http://prod.example.com:7420", "token": "pando_prod"}"#);
    assert_eq!(world.url(None, Some(&target(Some("prod"), None))), "http://prod.example.com:7420");
    assert_eq!(
        world.url(None, Some(&target(None, Some("prod.example.com")))),
        "http://prod.example.com:7420"
    );
    world.write("project/.pando/context.json", r#"{"url": "http://dev:1", "token": "pando_dev"}"#);
    assert_eq!(world.url(None, Some(&target(Some("prod"), None))), "http://dev:1");
    world.known.url = Some("http://ci:7420".to_owned());
    world.known.token = Some("pando_ci".to_owned());
    assert_eq!(world.url(None, None), "http://ci:7420");
    assert_eq!(world.url(Some("prod"), None), "http://prod.example.com:7420");
    assert_eq!(world.url(Some("http://x:9"), None), "http://x:9");
}

#[test]
fn a_control_server_is_known_by_name_or_address_with_or_without_its_port() {
    for (url, host, known) in [
        ("http://prod.example.com:7420", "prod.example.com", true),
        ("http://prod.example.com:7420", "Prod.example.com:7420", true),
        ("http://prod.example.com:7420", "prod.example.com:7421", false),
        ("http://[2001:db8::1]:7420", "2001:db8::1", true),
        ("http://[2001:db8::1]:7420", "[2001:db8::1]:7420", true),
        ("http://10.0.0.1:7420", "10.0.0.10", false),
        ("no address", "no address", false),
    ] {
        assert_eq!(is_at(url, host), known, "{url} {host}");
    }
}

#[test]
fn the_token_goes_with_its_address() {
    let mut world = World::new();
    world.write("project/.pando/context.json", r#"{"url": "http://dev:1", "token": "pando_dev"}"#);
    world.known.token = Some("pando_ci".to_owned());
    let token = |found: Found| found.token.map(|token| token.reveal().to_owned());
    assert_eq!(token(world.find(None, None).unwrap()).as_deref(), Some("pando_dev"));
    assert_eq!(token(world.find(Some("http://x:9"), None).unwrap()).as_deref(), Some("pando_ci"));
}

#[test]
fn what_is_not_known_is_said_with_what_to_do() {
    let world = World::new();
    assert!(world.refusal(Some("prod"), None).contains("no cluster `prod` is known"));
    for odd in ["../prod", "", ".hidden", "a/b"] {
        assert!(world.refusal(Some(odd), None).contains("no name of a cluster"), "{odd}");
    }
    assert!(world.refusal(None, Some(&target(None, Some("db.example.com")))).contains("db.example.com"));
    world.write("project/.pando/context.json", r#"{"url": "http://dev:1", "token": 7, "x": "pando_secret"#);
    let refusal = world.refusal(None, None);
    assert!(refusal.contains("context.json") && !refusal.contains("secret"), "{refusal}");
}
