//! Store, planner, loop and API together, with an agent that does at once whatever it is told: from a request to *done*.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_api::Client;
use pando_api::auth::Scope;
use pando_api::v1::agents::{ReportBody, TargetQuery};
use pando_api::v1::apps::{AppState, AppStatus, ScaleRequest, StopRequest};
use pando_api::v1::deployments::{DeployAction, DeployResponse, DeploymentQuery};
use pando_control::reconcile::Reconciler;
use pando_model::assignment::{AssignedRelease, Assignment};
use pando_model::desired::{Deployment, DeploymentPhase};
use pando_model::id::{ServerId, Version};
use pando_model::name::ProcessName;
use pando_model::observed::*;
use pando_model::release::ReleaseNumber;
use pando_model::resources::Capacity;
use pando_model::time::Millis;
use pando_routing::{EndpointState, Table};
use pando_trust::{Kind, VerifyingKey};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PATIENCE, app, id, request, spec};

/// What an agent and its load balancer would say who are never slow and never fail; and a check that no step is unsafe.
struct PerfectAgent {
    client: Client,
    server: ServerId,
    assignment: Assignment,
    table: Table,
    key: VerifyingKey,
    sequence: u64,
}

impl PerfectAgent {
    async fn run(mut self) {
        loop {
            let have = TargetQuery {
                assignment_epoch: self.assignment.version.epoch,
                assignment_revision: self.assignment.version.revision,
                table_epoch: self.table.version.epoch,
                table_revision: self.table.version.revision,
                wait_millis: 500,
                ..TargetQuery::default()
            };
            let Ok(target) = self.client.target(self.server, &have).await else { return };
            if let Some(table) = target.table {
                let table: Table = table.verify(&self.key, Kind::Table).unwrap();
                assert!(table.version > self.table.version);
                self.table = table;
            }
            if let Some(assignment) = target.assignment {
                let assignment: Assignment = assignment.verify(&self.key, Kind::Assignment).unwrap();
                assert!(assignment.version > self.assignment.version);
                self.assignment = assignment;
            }
            self.check_that_nothing_dangles();
            let body =
                ReportBody { report: self.report(), traffic: None, relayed: Vec::new(), news: Vec::new() };
            if self.client.report(self.server, &body).await.is_err() {
                return;
            }
        }
    }

    /// Requests go only where something runs.
    fn check_that_nothing_dangles(&self) {
        for (_, endpoint) in self.table.endpoints().filter(|(_, one)| one.state == EndpointState::Active) {
            let runs = self.assignment.instances.keys().any(|instance| instance.as_uuid() == endpoint.id.0);
            assert!(runs, "{} gets requests and does not run", endpoint.name);
        }
    }

    fn report(&mut self) -> AgentReport {
        self.sequence += 1;
        let ready = InstanceStatus {
            state: InstanceState::Ready,
            ready_for: Some(Millis(5000)),
            restarts: 0,
            check: None,
            last_exit: None,
            pid: Some(1),
            start_period: None,
            unmounted: Vec::new(),
        };
        let unpacked = |release: &Arc<AssignedRelease>| ReleaseStatus {
            app: release.app.clone(),
            release: release.release,
            state: ReleaseState::Ready,
        };
        let version = self.table.version;
        let proxy = ProxyStatus {
            alive: true,
            acknowledged: Some(Version::new(version.epoch, version.revision)),
            ..ProxyStatus::default()
        };
        AgentReport {
            server: self.server,
            boot: id(5),
            sequence: self.sequence,
            assignment: self.assignment.version,
            instances: self.assignment.instances.keys().map(|id| (*id, ready.clone())).collect(),
            tasks: Default::default(),
            releases: self.assignment.releases.iter().map(unpacked).collect(),
            proxy: Some(proxy),
            capacity: Capacity { cpu_millis: 4000, memory_bytes: 8_000_000_000 },
            firewall: None,
            warnings: vec![],
        }
    }
}

/// The loop and the agent, until the cluster ends.
async fn bring_to_life(cluster: &mut Cluster) -> [JoinHandle<()>; 2] {
    let (_, none) = mpsc::channel(1);
    let reports = std::mem::replace(&mut cluster.reports, none);
    let reconciler = Reconciler::new(cluster.shared.clone(), reports, 7);
    let agent = PerfectAgent {
        client: cluster.client_with(Scope::Agent { server: cluster.server }).await,
        server: cluster.server,
        assignment: Assignment::empty(cluster.server),
        table: Table::default(),
        key: *cluster.shared.trust.anchor().signing_key(),
        sequence: 0,
    };
    [tokio::spawn(reconciler.run(cluster.shared.shutdown.clone())), tokio::spawn(agent.run())]
}

/// Follows a deployment as the command line does.
async fn follow(cluster: &Cluster, action: DeployAction) -> Deployment {
    let hits = app("hits");
    let answer = cluster.client.deploy(&hits, &request(action)).await.unwrap();
    let DeployResponse::Accepted(accepted) = answer else { panic!("{answer:?}") };
    let until = Instant::now() + PATIENCE;
    let mut query = DeploymentQuery { after: None, wait_millis: Some(5_000) };
    loop {
        let view = cluster.client.deployment(&hits, accepted.deployment, &query).await.unwrap();
        if view.deployment.phase.has_ended() {
            return view.deployment;
        }
        assert!(Instant::now() < until, "{view:#?}");
        query.after = Some(view.cursor);
    }
}

async fn deploy(cluster: &Cluster) -> Deployment {
    let artifact = Some(cluster.send(b"release").await);
    follow(cluster, DeployAction::Deploy { spec: Box::new(spec("hits")), artifact }).await
}

async fn until(cluster: &Cluster, good: impl Fn(&AppStatus) -> bool) -> AppStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cluster.client.app(&app("hits")).await.unwrap();
        if good(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn runs(status: &AppStatus, release: u64, replicas: usize) -> bool {
    let all = status.replicas.iter().all(|replica| replica.release == ReleaseNumber(release));
    status.state == AppState::Running && status.replicas.len() == replicas && all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_lives_its_life() {
    let mut cluster = Cluster::on_disk().await;
    let parts = bring_to_life(&mut cluster).await;
    let hits = app("hits");

    let mut times = Vec::new();
    for release in 1..=3 {
        let start = Instant::now();
        let done = deploy(&cluster).await;
        times.push(start.elapsed());
        assert!(matches!(done.phase, DeploymentPhase::Done { .. }), "{done:?}");
        until(&cluster, |status| runs(status, release, 2)).await;
    }
    println!("from the request to done: {times:?}");

    let back = follow(&cluster, DeployAction::Rollback { release: None }).await;
    assert_eq!(back.release, ReleaseNumber(2));
    until(&cluster, |status| runs(status, 2, 2)).await;

    let processes = [(ProcessName::web(), Some(4))].into();
    cluster.client.scale(&hits, &ScaleRequest { processes }).await.unwrap();
    until(&cluster, |status| runs(status, 2, 4)).await;

    cluster.client.stop(&hits, &StopRequest { remove: true }).await.unwrap();
    until(&cluster, |status| status.state == AppState::Stopped).await;
    cluster.client.delete_app(&hits).await.unwrap();
    assert!(cluster.client.apps().await.unwrap().apps.is_empty());

    assert!(cluster.stop().await);
    for part in parts {
        tokio::time::timeout(PATIENCE, part).await.unwrap().unwrap();
    }
}
