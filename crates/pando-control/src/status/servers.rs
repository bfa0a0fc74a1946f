//! Servers: what each is for, what it holds, and what it waits for.

use pando_api::v1::apps::{ReplicaState, ReplicaStatus};
use pando_api::v1::balancers::EntryRole;
use pando_api::v1::servers::{ServerDetail, ServerReplica};
use pando_api::v1::status::{ProxyState, ServerState, ServerStatus};
use pando_model::app::{ProcessSpec, ReplicaCount};
use pando_model::desired::{AppDesired, Instance};
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName};
use pando_model::observed::ProxyStatus;
use pando_model::resources::Capacity;
use pando_model::server::{Server, Standing};
use pando_plan::Liveness;
use pando_plan::input::version_of;

use super::{View, count, of, shown_release};

impl<'a> View<'a> {
    /// Every server, by name.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.sorted_servers().into_iter().map(|server| self.server(server)).collect()
    }

    pub(super) fn sorted_servers(&self) -> Vec<&'a Server> {
        let mut servers: Vec<&'a Server> = self.state.world.servers.values().collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers
    }

    fn server(&self, server: &Server) -> ServerStatus {
        ServerStatus {
            id: server.id,
            name: server.name.clone(),
            roles: server.roles.clone(),
            private_address: server.private_address,
            public_address: server.public_address,
            labels: server.labels.clone(),
            standing: server.standing,
            state: self.server_state(server.id),
            heard_at: self.observed.servers.get(&server.id).map(|seen| seen.reported_at),
            capacity: server.capacity,
            reserved: self.reserved(server),
            instances: count(self.instances_on(server)),
            proxy: self.entry_role(server).is_some().then(|| self.proxy(server)),
        }
    }

    /// One server with everything that is known of it.
    #[must_use]
    pub fn server_detail(&self, server: &Server) -> ServerDetail {
        let report = self.observed.servers.get(&server.id).map(|seen| &seen.report);
        ServerDetail {
            status: self.server(server),
            joined_at: server.joined_at,
            agent_address: server.agent_address,
            entry: self.entry_role(server),
            replicas: self.replicas_on(server),
            unwanted: count(self.instances_on(server).filter(|(app, it)| !brings_instance(server, app, it))),
            missing: self.missing(server),
            is_current: self.is_current(server),
            waiting_on: self.server_waits(server),
            warnings: report.map(|report| report.warnings.clone()).unwrap_or_default(),
            firewall: report.and_then(|report| report.firewall.clone()),
            certificate_expires_at: None,
        }
    }

    pub(super) fn is_current(&self, server: &Server) -> bool {
        let published = self.state.world.assignments.get(&server.id);
        let seen = self.observed.servers.get(&server.id);
        published.zip(seen).is_some_and(|(published, seen)| seen.report.assignment >= published.version)
    }

    pub(super) fn entry_role(&self, server: &Server) -> Option<EntryRole> {
        let by_role = server.is_entry_point(&self.state.world.settings);
        let takes = by_role && server.standing != Standing::Leaving;
        takes.then(|| if server.prefers_local() { EntryRole::Direct } else { EntryRole::Balancer })
    }

    pub(super) fn server_state(&self, server: ServerId) -> ServerState {
        match self.input().liveness(server) {
            Liveness::Alive => ServerState::Alive,
            Liveness::Suspect => ServerState::Suspect,
            Liveness::Unknown => ServerState::Unknown,
            Liveness::Lost => ServerState::Lost,
        }
    }

    fn replicas_on(&self, server: &Server) -> Vec<ServerReplica> {
        let of_app = |app: &AppName| {
            let here = self.replicas(app).into_iter().filter(|replica| replica.server == server.id);
            here.map(|replica| of_server(app, replica)).collect::<Vec<_>>()
        };
        self.state.world.apps.keys().flat_map(of_app).collect()
    }

    fn missing(&self, server: &Server) -> u32 {
        let apps = self.state.world.apps.iter().filter(|(_, app)| !app.wish.stopped);
        let missing = apps.map(|(name, app)| {
            let serves = |replica: &ReplicaStatus| {
                replica.server == server.id && replica.state == ReplicaState::Serving
            };
            let serving: Vec<ReplicaStatus> = self.replicas(name).into_iter().filter(serves).collect();
            let of_process = |(process, spec): (&ProcessName, &ProcessSpec)| {
                let scaled = app.wish.scale.contains_key(process);
                match spec.count {
                    ReplicaCount::PerServer(each) if !scaled && brings(server, spec) => {
                        each.saturating_sub(count(of(&serving, process)))
                    }
                    _ => 0,
                }
            };
            shown_release(app).map_or(0, |release| release.spec.processes.iter().map(of_process).sum::<u32>())
        });
        missing.sum()
    }

    /// The planner's word about the server, and about each app that has something there and is not settled.
    fn server_waits(&self, server: &Server) -> Vec<String> {
        let own = self.report.servers.get(&server.id).cloned();
        let apps = self.state.world.apps.iter();
        let here = apps.filter(|(_, app)| app.assigned.instances.values().any(|it| it.server == server.id));
        let waits = here.flat_map(|(name, _)| {
            self.waiting_on(name).into_iter().map(move |line| format!("{name}: {line}"))
        });
        own.into_iter().chain(waits).collect()
    }

    fn instances_on(&self, server: &Server) -> impl Iterator<Item = (&'a AppDesired, &'a Instance)> {
        let id = server.id;
        let all = self.state.world.apps.values();
        let all = all.flat_map(|app| app.assigned.instances.values().map(move |instance| (app, instance)));
        all.filter(move |(_, instance)| instance.server == id)
    }

    fn reserved(&self, server: &Server) -> Capacity {
        let mut sum = Capacity::default();
        for (app, instance) in self.instances_on(server) {
            let release = app.releases.get(&instance.target.release);
            let process = release.and_then(|release| release.spec.processes.get(&instance.replica.process));
            if let Some(process) = process {
                sum.cpu_millis = sum.cpu_millis.saturating_add(process.resources.cpu_millis.unwrap_or(0));
                let memory = process.resources.memory_bytes.unwrap_or(0);
                sum.memory_bytes = sum.memory_bytes.saturating_add(memory);
            }
        }
        sum
    }

    pub(super) fn proxy(&self, server: &Server) -> ProxyState {
        let seen = self.observed.servers.get(&server.id).and_then(|seen| seen.report.proxy.as_ref());
        let refusal = seen.and_then(|proxy| proxy.refused.as_ref());
        let published = self.state.world.table.as_ref().map(|table| version_of(table.version));
        let older = |proxy: &ProxyStatus| {
            proxy.acknowledged == published && proxy.secrets != self.state.world.table_secrets
        };
        ProxyState {
            alive: seen.is_some_and(|proxy| proxy.alive),
            acknowledged: seen.and_then(|proxy| proxy.acknowledged),
            published,
            older_secrets: published.is_some() && seen.is_some_and(older),
            refused: refusal.map(|refusal| refusal.reasons.clone()).unwrap_or_default(),
        }
    }
}

/// The server's roles, labels and standing bring the process there.
fn brings(server: &Server, process: &ProcessSpec) -> bool {
    let named = process.servers.is_empty() || process.servers.contains(&server.name);
    let labelled = process.labels.iter().all(|(key, value)| server.labels.get(key) == Some(value));
    server.standing == Standing::Active && server.roles.contains(&process.role) && named && labelled
}

fn brings_instance(server: &Server, app: &AppDesired, instance: &Instance) -> bool {
    let release = app.releases.get(&instance.target.release);
    let process = release.and_then(|release| release.spec.processes.get(&instance.replica.process));
    process.is_some_and(|process| brings(server, process))
}

fn of_server(app: &AppName, replica: ReplicaStatus) -> ServerReplica {
    ServerReplica {
        app: app.clone(),
        replica: replica.replica,
        instance: replica.instance,
        release: replica.release,
        port: replica.port,
        state: replica.state,
        in_flight: replica.in_flight,
    }
}
