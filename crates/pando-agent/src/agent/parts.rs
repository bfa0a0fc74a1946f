//! The agent between its beginning and its end: its parts, and what they tell each other.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use pando_api::client::Client;
use pando_model::assignment::{Assignment, Entry};
use pando_routing::ProxyStats;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::logs::LogStore;
use pando_runtime::{RunEvent, Runtime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::Settings;
use super::begin::ledger_directory;
use crate::artifacts::{Releases, Sources};
use crate::capacity;
use crate::control::contact::Contact;
use crate::control::detour::Detour;
use crate::control::neighbours::Helper;
use crate::control::published::Published;
use crate::control::relays::Relays;
use crate::control::report::{Reporter, Reports};
use crate::control::target::Poller;
use crate::entry::{EntryTask, locality};
use crate::firewall::{self, Firewall, Guard};
use crate::housekeeping::Housekeeper;
use crate::ledger::Ledger;
use crate::moment::Moments;
use crate::peers::Peers;
use crate::probe::{Checkers, Probes};
use crate::proxy::{Link, LinkOrder, LinkSetup};
use crate::reconcile::{Event, Facts, Site, State};
use crate::renew::Renewer;
use crate::serve::{self, Admission, Assigned, ServeState};
use crate::session::Sessions;
use crate::shell::Shell;
use crate::trust::Trust;

/// For what is under way when the agent is stopped: a start or a write takes milliseconds, ending an exec two seconds.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) struct Parts<R> {
    pub(super) settings: Settings,
    pub(super) runtime: Arc<R>,
    pub(super) logs: LogStore,
    pub(super) client: Client,
    pub(super) releases: Releases<Sources>,
    pub(super) tasks: Tasks,
    pub(super) sender: mpsc::Sender<Event>,
    pub(super) moments: Moments,
    pub(super) peers: Peers,
    pub(super) contact: Contact,
    pub(super) published: Published,
    pub(super) relays: Relays,
    pub(super) newest: Newest,
}

/// The newest of everything that parts tell each other; each reader sees the last.
pub(super) struct Newest {
    facts: watch::Sender<Option<Arc<Facts>>>,
    assignment: watch::Sender<Arc<Assignment>>,
    traffic: watch::Sender<Option<ProxyStats>>,
    entry: watch::Sender<Option<Option<Entry>>>,
    firewall: watch::Sender<firewall::Told>,
}

impl Newest {
    pub(super) fn new(assignment: watch::Sender<Arc<Assignment>>) -> Self {
        Self {
            facts: watch::Sender::new(None),
            assignment,
            traffic: watch::Sender::new(None),
            entry: watch::Sender::new(None),
            firewall: watch::Sender::new(None),
        }
    }
}

impl<R: Runtime> Parts<R> {
    /// Until the end begins and everything has ended.
    pub(super) async fn run(
        self,
        ledger: Ledger,
        first: Event,
        events: mpsc::Receiver<Event>,
        ends: mpsc::Receiver<RunEvent>,
        shutdown: Shutdown,
    ) {
        let tasks = self.tasks.clone();
        self.speak_with_control(&ledger).await;
        self.talk_to_proxy(&ledger.assignment);
        self.keep_firewall();
        self.keep_house();
        let api = self.api();
        let (listener, shell) = self.shell(ledger);
        tasks.spawn(serve_api(listener, api, tasks.shutdown().clone()));
        shell.run(first, events, ends, shutdown).await;
        if !tasks.finish(PATIENCE).await {
            tracing::warn!("some of the agent's work had not ended after {PATIENCE:?}");
        }
    }

    async fn speak_with_control(&self, ledger: &Ledger) {
        let reports = Reports {
            server: self.settings.server,
            capacity: tokio::task::spawn_blocking(capacity::read).await.unwrap_or_default(),
            moments: self.moments,
            boot: Uuid::now_v7(),
            sequence: Arc::new(AtomicU64::new(0)),
            facts: self.newest.facts.subscribe(),
            traffic: self.newest.traffic.subscribe(),
            firewall: self.newest.firewall.subscribe(),
        };
        let reporter = Reporter {
            client: self.client.clone(),
            contact: self.contact.clone(),
            reports: reports.clone(),
            relays: self.relays.clone(),
            news: self.releases.pruner().news(),
        };
        self.tasks.spawn_until_shutdown(reporter.run());
        let poller = Poller {
            client: self.client.clone(),
            server: self.settings.server,
            contact: self.contact.clone(),
            published: self.published.clone(),
            directory: ledger_directory(&self.settings),
            assignment: ledger.assignment.version,
            events: self.sender.clone(),
        };
        self.tasks.spawn_until_shutdown(poller.run());
        self.live_as_member(reports);
    }

    /// What takes a certificate.
    fn live_as_member(&self, reports: Reports) {
        let Some(membership) = self.settings.trust.membership() else { return };
        let renewer = Renewer {
            client: self.client.clone(),
            server: self.settings.server,
            membership: membership.clone(),
        };
        self.tasks.spawn_until_shutdown(renewer.run());
        let detour = Detour {
            contact: self.contact.clone(),
            peers: self.peers.clone(),
            published: self.published.clone(),
            reports,
            membership: membership.clone(),
            events: self.sender.clone(),
        };
        self.tasks.spawn_until_shutdown(detour.run());
    }

    /// One that an earlier agent left running is spoken with from the start, whatever is wanted of it later.
    fn talk_to_proxy(&self, assignment: &Assignment) {
        let settings = &self.settings;
        let order = LinkOrder {
            on: site(settings).has_proxy(assignment),
            locality: locality(assignment.entry, &settings.name),
        };
        let (orders, ordered) = watch::channel(order);
        let entry = EntryTask {
            keeper: settings.entry_keeper.clone(),
            name: settings.name.clone(),
            wanted: self.newest.entry.subscribe(),
            link: orders,
            published: self.published.clone(),
            events: self.sender.clone(),
        };
        self.tasks.spawn_until_shutdown(entry.run());
        let link = Link::new(LinkSetup {
            socket: settings.proxy_socket.clone(),
            orders: ordered,
            directory: ledger_directory(settings),
            on_disk: self.published.held.borrow().clone(),
            held: self.published.held.subscribe(),
            traffic: self.newest.traffic.clone(),
            events: self.sender.clone(),
        });
        self.tasks.spawn(link.run(self.tasks.shutdown().clone()));
    }

    fn keep_firewall(&self) {
        if !self.settings.firewall {
            return;
        }
        let (url, trust) = (self.settings.control_url.clone(), self.settings.trust.clone());
        let firewall = Firewall {
            assignment: self.newest.assignment.subscribe(),
            status: self.newest.firewall.clone(),
            guard: Guard {
                directory: self.settings.state_dir.join("firewall"),
                leader: self.settings.leader.clone(),
            },
            address: self.settings.address,
            // A client of its own has no connection from before.
            reaches_control: move || {
                let client = trust.control(&url);
                async move {
                    match client {
                        Ok(client) => client.health().await.is_ok(),
                        Err(_) => false,
                    }
                }
            },
        };
        self.tasks.spawn_until_shutdown(firewall.run());
    }

    fn api(&self) -> Arc<ServeState> {
        let places = Assigned {
            site: site(&self.settings),
            assignment: self.newest.assignment.subscribe(),
            facts: self.newest.facts.subscribe(),
        };
        let neighbours = Helper {
            contact: self.contact.clone(),
            published: self.published.clone(),
            relays: self.relays.clone(),
            membership: self.settings.trust.membership().cloned(),
        };
        Arc::new(ServeState {
            admission: self.admission(),
            logs: self.logs.clone(),
            places: Arc::new(places),
            neighbours: Arc::new(neighbours),
            leader: self.settings.leader.clone(),
            default_env: self.settings.default_env.clone(),
            users: self.settings.users,
            commands: self.settings.commands.clone(),
            containers: self.settings.containers.clone(),
            releases: self.settings.state_dir.join("releases"),
            engine: self.settings.engine.clone(),
            pruner: Some(self.releases.pruner()),
        })
    }

    fn keep_house(&self) {
        let keeper = Housekeeper {
            pruner: self.releases.pruner(),
            releases: self.settings.state_dir.join("releases"),
            engine: self.settings.engine.clone(),
            below: self.settings.prune_below,
        };
        self.tasks.spawn_until_shutdown(keeper.run());
    }

    fn admission(&self) -> Admission {
        match &self.settings.trust {
            Trust::Tokens { own, .. } => Admission::Token(own.clone()),
            Trust::Certificates(membership) => Admission::Certificates {
                membership: membership.clone(),
                assignment: self.newest.assignment.subscribe(),
            },
        }
    }

    fn shell(self, ledger: Ledger) -> (TcpListener, Shell<R, Sources>) {
        // Ids that no earlier run of this program has drawn: they carry the time as well.
        let seed = self.moments.now().as_millis().unsigned_abs() ^ (u64::from(std::process::id()) << 44);
        let sessions =
            Sessions { leader: self.settings.leader.clone(), default_env: self.settings.default_env.clone() };
        let shell = Shell {
            state: State::new(site(&self.settings), ledger, seed),
            moments: self.moments,
            runtime: self.runtime,
            releases: self.releases,
            probes: Probes::new(
                Checkers { sessions, containers: self.settings.containers.clone() },
                self.tasks.clone(),
                self.sender.clone(),
            ),
            tasks: self.tasks,
            ledger: ledger_directory(&self.settings),
            sender: self.sender,
            facts: self.newest.facts,
            assignment: self.newest.assignment,
            entry: self.newest.entry,
            wake: None,
        };
        (self.settings.listener, shell)
    }
}

async fn serve_api(listener: TcpListener, api: Arc<ServeState>, shutdown: Shutdown) {
    if let Err(error) = serve::serve(listener, api, shutdown).await {
        tracing::error!("the agent's API can't be served: {}", error_chain(&error));
    }
}

fn site(settings: &Settings) -> Site {
    Site {
        server: settings.server,
        releases: settings.state_dir.join("releases"),
        address: settings.address,
        users: settings.users,
        proxy: settings.proxy_socket.is_some(),
        keeps_entry: settings.entry_keeper.is_some(),
        images: settings.containers.as_ref().map(|one| one.mark().to_owned()).unwrap_or_default(),
    }
}
