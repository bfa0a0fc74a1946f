//! This server's load balancer, kept running by a keeper of its own while the server is an entry point.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pando_agent::EntryKeeper;
use pando_rt::error_chain::error_chain;
use pando_runtime::keeper::{Keeper, directory_of};
use pando_runtime::logs::LogSettings;
use pando_runtime::shim::KeepSpec;

use super::layout::Layout;
use super::me::Me;
use super::parts::{keeper_program, own_program};
use super::server::listen;

/// What the load balancer runs as where the daemon is root.
const PROXY_USER: &str = "pando-proxy";
/// How long a load balancer that is no longer wanted may finish what is under way.
const PATIENCE: Duration = Duration::from_secs(35);

/// Starts and ends the load balancer as the agent says.
#[derive(Debug)]
pub(crate) struct ProxyKeeper {
    layout: Layout,
    spec: KeepSpec,
    /// The file, by device and number, that was last tried to renew the load balancer with.
    tried: Mutex<Option<(u64, u64)>>,
}

impl ProxyKeeper {
    pub(crate) fn new(layout: &Layout, me: &Me) -> anyhow::Result<Self> {
        Ok(Self { layout: layout.clone(), spec: spec(layout, me)?, tried: Mutex::default() })
    }

    async fn start(&self) -> anyhow::Result<()> {
        match Keeper::find(&self.spec.dir).await? {
            Some(living) if self.spec.is_renewal_of(living.spec()) => return self.renew(&living).await,
            Some(living) => {
                self.check_free(&living)?;
                tracing::info!("the load balancer moves to {:?}", self.spec.listen);
                living.stop(PATIENCE).await?;
            }
            None => {}
        }
        if let Some(user) = &self.spec.user {
            // It makes its socket and keeps its last table there.
            directory_of(user, &self.layout.proxy_dir(), 0o700).await?;
        }
        Keeper::ensure(&keeper_program()?, &self.spec).await?;
        Ok(())
    }

    /// Where it is to listen and does not yet, nobody else does: else it stays where it is.
    fn check_free(&self, living: &Keeper) -> anyhow::Result<()> {
        let new = self.spec.listen.iter().filter(|address| !living.spec().listen.contains(address));
        for address in new {
            listen(*address, "the load balancer")?;
        }
        Ok(())
    }

    /// By the program that is installed now, as after an update. What does not come to serve is not tried twice: the load balancer
    /// that runs goes on.
    async fn renew(&self, living: &Keeper) -> anyhow::Result<()> {
        let outdated = living.is_outdated(&self.spec.program).await.unwrap_or(false);
        if living.spec() == &self.spec && !outdated {
            return Ok(());
        }
        let file = std::fs::metadata(&self.spec.program).map(|file| (file.dev(), file.ino()));
        let Ok(file) = file.inspect_err(|error| tracing::warn!(%error, "the load balancer is not renewed"))
        else {
            return Ok(());
        };
        let before = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(file);
        if before == Some(file) {
            return Ok(());
        }
        tracing::info!("the load balancer is replaced by the program that is installed now");
        if let Err(error) = living.renew(&self.spec).await {
            tracing::error!("the load balancer that runs goes on: {}", error_chain(&error));
        }
        Ok(())
    }

    async fn end(&self) -> anyhow::Result<()> {
        if let Some(living) = Keeper::find(&self.spec.dir).await? {
            tracing::info!("the load balancer ends: this server is no entry point");
            living.stop(PATIENCE).await?;
        }
        self.forget().await
    }

    /// What it kept for its next start, which has certificates and keys in it.
    async fn forget(&self) -> anyhow::Result<()> {
        let file = self.layout.proxy_table();
        let files = [file.with_extension("json.damaged"), file];
        let removed = tokio::task::spawn_blocking(move || {
            files.iter().try_for_each(|path| {
                pando_rt::fs::remove(path).with_context(|| format!("can't remove `{}`", path.display()))
            })
        });
        removed.await?
    }
}

impl EntryKeeper for ProxyKeeper {
    fn keep(&self, wanted: bool) -> BoxFuture<'_, Result<(), Box<dyn Error + Send + Sync>>> {
        async move {
            let done = if wanted { self.start().await } else { self.end().await };
            done.map_err(Into::into)
        }
        .boxed()
    }
}

/// What the load balancer is told of by its environment: of the daemon's own, where its spans go.
fn environment() -> BTreeMap<String, String> {
    const PASSED: [&str; 4] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_SERVICE_NAME",
    ];
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    passed.chain([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]).collect()
}

fn spec(layout: &Layout, me: &Me) -> anyhow::Result<KeepSpec> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let root = rustix::process::geteuid().is_root() && !me.dev;
    let args = [
        "proxy".to_owned(),
        "--control-socket".to_owned(),
        path(layout.proxy_socket()),
        "--state-file".to_owned(),
        path(layout.proxy_table()),
        "--upgrade".to_owned(),
    ];
    let tls = me.https().into_iter().flat_map(|address| ["--listen-tls".to_owned(), address.to_string()]);
    Ok(KeepSpec {
        name: "proxy".to_owned(),
        program: own_program()?,
        args: args.into_iter().chain(tls).collect(),
        env: environment(),
        user: root.then(|| PROXY_USER.to_owned()),
        listen: me.http.iter().copied().chain(me.https()).collect(),
        dir: layout.keeper("proxy"),
        hands_over: true,
        log_directory: layout.own_logs(),
        log: LogSettings::default(),
    })
}
