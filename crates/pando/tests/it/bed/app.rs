//! The app that is deployed to the bed: `hits`, with a database and a cache on the first server.

use std::fs;
use std::path::Path;

use super::{Bed, must};

/// The name that clients ask for.
pub(crate) const HOST: &str = "hits.test";

/// What the next `pando.yaml` says.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Of `web`, such as `replicas: 4` or `per_server: 1`.
    pub(crate) web: String,
    /// Of `worker`; empty: the app has none.
    pub(crate) worker: String,
    /// Told to the app as `HITS_MODE`.
    pub(crate) mode: String,
    /// Of `web`: what is run.
    pub(crate) command: String,
    /// In place of the directory: the lines that say which image it is, such as `image: {…}`.
    pub(crate) image: String,
    /// Lines added to the file.
    pub(crate) extra: String,
    /// Changes with each deploy, so that each is another release.
    pub(crate) edition: u32,
    /// PostgreSQL and Redis on the server with the roles `db` and `cache`; else a file of its own each.
    pub(crate) services: bool,
}

impl Default for App {
    fn default() -> Self {
        Self {
            web: "replicas: 4".to_owned(),
            worker: String::new(),
            mode: "ok".to_owned(),
            command: "bin/hits".to_owned(),
            image: String::new(),
            extra: String::new(),
            edition: 1,
            services: false,
        }
    }
}

impl App {
    /// One that is an image with the program as its own command.
    pub(crate) fn of_image(lines: &str) -> Self {
        Self { image: lines.to_owned(), command: String::new(), ..Self::default() }
    }

    /// Another release of it.
    pub(crate) fn next(&mut self) -> &Self {
        self.edition += 1;
        self
    }

    fn text(&self) -> String {
        let Self { web, worker, mode, command, image, extra, edition, services } = self;
        let worker = match worker.as_str() {
            "" => String::new(),
            count => {
                format!("  worker: {{command: bin/hits worker, role: worker, {count}, stop_timeout: 10s}}\n")
            }
        };
        let (declared, env) = match (*services, image.is_empty()) {
            (true, _) => (SERVICES, SERVICES_ENV),
            (false, true) => ("", FILE_ENV),
            (false, false) => ("", IMAGE_ENV),
        };
        let runs = if image.is_empty() { "source: .".to_owned() } else { format!("{image}\nport: 9000") };
        let command = if command.is_empty() { String::new() } else { format!("command: {command:?}, ") };
        format!(
            "name: hits\n{runs}\ndomains: [{{domain: {HOST}}}]\nhealth: {{path: /health, start_timeout: 8s}}\n{extra}\n{declared}\
             processes:\n  web: {{{command}role: web, {web}}}\n{worker}\
             env:\n  - {{name: HITS_MODE, value: {mode}}}\n  - {{name: EDITION, value: \"{edition}\"}}\n{env}"
        )
    }
}

const SERVICES: &str = "services:\n  db: {type: postgres, managed: false, url: \"postgres://hits@{host}:{port}/hits\"}\n  \
    cache: {type: redis, managed: false, url: \"redis://{host}:{port}\"}\n";
const SERVICES_ENV: &str =
    "  - {name: DATABASE_URL, from: {service: db}}\n  - {name: REDIS_URL, from: {service: cache}}\n";
const FILE_ENV: &str = "  - {name: HITS_DB, value: /run/hits/hits.db}\n";
const IMAGE_ENV: &str = "  - {name: HITS_DB, value: /tmp/hits.db}\n";

impl Bed {
    /// Writes the project anew.
    pub(crate) fn write(&self, app: &App) {
        let project = self.project();
        let binary = project.join("bin/hits");
        if !binary.exists() {
            let built = Path::new(env!("CARGO_BIN_EXE_pando")).with_file_name("hits");
            assert!(built.exists(), "{} is missing: build it with `cargo build -p hits`", built.display());
            // A tenth of the size without what only a debugger reads.
            must("strip", &["-o", &binary.to_string_lossy(), &built.to_string_lossy()]);
        }
        fs::write(project.join("pando.yaml"), app.text()).unwrap();
    }

    pub(crate) fn deploy(&self, app: &App) -> String {
        self.write(app);
        self.ok(&["deploy"])
    }

    /// PostgreSQL and Redis on a server, reachable at its address by whoever may.
    pub(crate) fn start_services(&self, server: &str) {
        let server = self.server(server);
        let address = server.address();
        server.sh(&format!(
            "mkdir -p /var/lib/pando/pg && chown postgres /var/lib/pando/pg && cd / && \
             bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1) && \
             setpriv --reuid postgres --regid postgres --clear-groups $bin/initdb -D /var/lib/pando/pg -A trust -U hits >/dev/null && \
             echo 'host all all 10.0.0.0/8 trust' >> /var/lib/pando/pg/pg_hba.conf && \
             setpriv --reuid postgres --regid postgres --clear-groups $bin/pg_ctl -D /var/lib/pando/pg -w -l /var/lib/pando/pg/log \
               -o \"-c listen_addresses={address} -c fsync=off -c unix_socket_directories=/var/lib/pando/pg\" start >/dev/null && \
             $bin/createdb -h {address} -U hits hits && \
             redis-server --bind {address} --protected-mode no --save '' --daemonize yes --dir /var/lib/pando >/dev/null"
        ));
    }
}
