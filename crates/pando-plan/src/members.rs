//! The instances of one app: as they were recorded, as they are seen, and what planning makes of them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use pando_model::app::ProcessSpec;
use pando_model::assignment::AssignedInstance;
use pando_model::desired::{AppDesired, Instance, Phase, Target};
use pando_model::id::InstanceId;
use pando_model::name::ProcessName;
use pando_model::observed::{FailureReason, InstanceState, InstanceStatus};
use pando_model::release::ReleaseNumber;
use pando_model::time::{Millis, Timestamp};
use pando_routing::Endpoint;

use crate::input::{Liveness, ready_since};
use crate::view::View;

/// For an instance whose release is no longer known.
const DEFAULT_STOP_TIMEOUT: Millis = Millis::from_secs(30);

/// One instance. Reads as what it was recorded as, or as what planning has made of it since.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) id: InstanceId,
    instance: Held<'a>,
    pub(crate) kind: Kind<'a>,
    pub(crate) seen: Seen<'a>,
    /// It serves nobody for sure, though it is meant to.
    pub(crate) out: bool,
}

#[derive(Debug)]
enum Held<'a> {
    AsRecorded(&'a Instance),
    Changed(Box<Instance>),
}

/// What its release says of an instance.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kind<'a> {
    pub(crate) spec: Option<&'a ProcessSpec>,
    /// Requests go to instances of its process.
    pub(crate) routed: bool,
    pub(crate) min_ready: Millis,
}

/// What is known of an instance; planning doesn't change it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) place: usize,
    pub(crate) liveness: Liveness,
    /// Of its server.
    pub(crate) contact: Liveness,
    pub(crate) status: Option<&'a InstanceStatus>,
    pub(crate) ready_since: Option<Timestamp>,
    /// In the published table.
    pub(crate) endpoint: Option<&'a Endpoint>,
    pub(crate) in_rotation: bool,
    /// In the published assignment of its server.
    pub(crate) told: Option<&'a Arc<AssignedInstance>>,
}

impl<'a> Seen<'a> {
    fn of(view: &View<'a>, place: usize, id: InstanceId) -> Option<Self> {
        let seat = view.seat(place)?;
        let status = seat.report().and_then(|report| report.instances.get(&id));
        let heard = seat.seen.filter(|_| !seat.is_lost());
        let endpoint = view.endpoint(id);
        Some(Self {
            place,
            liveness: seat.liveness,
            contact: seat.contact,
            status,
            ready_since: heard.and_then(|seen| ready_since(seen, status?)),
            endpoint,
            in_rotation: view.is_in_rotation(endpoint, id),
            told: seat.told.and_then(|told| told.instances.get(&id)),
        })
    }
}

impl Deref for Member<'_> {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        match &self.instance {
            Held::AsRecorded(instance) => instance,
            Held::Changed(instance) => instance,
        }
    }
}

impl<'a> Member<'a> {
    pub(crate) fn change(&mut self) -> &mut Instance {
        if let Held::AsRecorded(instance) = self.instance {
            self.instance = Held::Changed(Box::new(instance.clone()));
        }
        match &mut self.instance {
            Held::Changed(instance) => instance,
            Held::AsRecorded(_) => unreachable!("it was made a copy of its own just now"),
        }
    }

    pub(crate) fn is_changed(&self) -> bool {
        matches!(self.instance, Held::Changed(_))
    }

    /// Not on its way out.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Serving { .. })
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.seen.liveness == Liveness::Lost
    }

    /// Its server can't be told to stop it.
    pub(crate) fn is_beyond_reach(&self) -> bool {
        self.seen.contact == Liveness::Lost
    }

    /// Can be reached through every live balancer; or, where no requests go, its agent is heard and says that it is ready.
    pub(crate) fn is_available(&self) -> bool {
        let serving = matches!(self.phase, Phase::Serving { .. });
        let reached = if self.kind.routed { self.seen.in_rotation } else { self.is_heard() };
        serving && self.seen.ready_since.is_some() && reached
    }

    /// What its agent said last is not old.
    pub(crate) fn is_heard(&self) -> bool {
        self.seen.liveness == Liveness::Alive
    }

    /// Its agent found its port taken: another instance with another port is needed.
    pub(crate) fn is_unstartable(&self) -> bool {
        let taken = |state: &InstanceState| {
            matches!(state, InstanceState::Failed { reason: FailureReason::PortTaken, .. })
        };
        self.seen.status.is_some_and(|status| taken(&status.state))
    }

    pub(crate) fn stop_timeout(&self) -> Millis {
        self.kind.spec.map_or(DEFAULT_STOP_TIMEOUT, |spec| spec.stop_timeout)
    }

    /// Gets nothing new from anybody.
    pub(crate) fn is_out(&self, view: &View<'_>) -> bool {
        match self.phase {
            Phase::Stopping { .. } => true,
            Phase::Draining { .. } => view.is_drained(self.id),
            Phase::Starting | Phase::Serving { .. } => false,
        }
    }
}

/// The instances of an app by process, each process's in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    by_process: BTreeMap<&'a ProcessName, Vec<Member<'a>>>,
    /// Added or removed since they were recorded.
    changed: bool,
    kinds: Vec<(ReleaseNumber, &'a ProcessName, Kind<'a>)>,
}

impl<'a> Members<'a> {
    /// Those of servers that are not of the cluster any more are left out.
    pub(crate) fn of(view: &View<'a>, app: &'a AppDesired) -> Self {
        let mut members = Self::default();
        for (id, instance) in &app.assigned.instances {
            let place = view.place_of(instance.server);
            let Some(seen) = place.and_then(|place| Seen::of(view, place, *id)) else {
                members.changed = true;
                continue;
            };
            let process = &instance.replica.process;
            let kind = members.kind(app, instance.target.release, process);
            let member = Member { id: *id, instance: Held::AsRecorded(instance), kind, seen, out: false };
            members.by_process.entry(process).or_default().push(member);
        }
        members
    }

    fn kind(&mut self, app: &'a AppDesired, release: ReleaseNumber, process: &'a ProcessName) -> Kind<'a> {
        let known = self.kinds.iter().find(|(number, name, _)| *number == release && (*name == process));
        if let Some((_, _, kind)) = known {
            return *kind;
        }
        let kind = app.releases.get(&release).map_or_else(Kind::default, |release| {
            let (whole, spec) = (&release.spec, release.spec.processes.get(process));
            let min_ready = spec.map_or(whole.min_ready, |spec| whole.min_ready_of(spec));
            Kind { spec, routed: whole.routed().contains(process), min_ready }
        });
        self.kinds.push((release, process, kind));
        kind
    }

    /// A new instance; false: its server is not of the cluster.
    pub(crate) fn add(
        &mut self,
        view: &View<'a>,
        app: &'a AppDesired,
        process: &'a ProcessName,
        id: InstanceId,
        instance: Instance,
    ) -> bool {
        let place = view.place_of(instance.server);
        let Some(seen) = place.and_then(|place| Seen::of(view, place, id)) else { return false };
        let kind = self.kind(app, instance.target.release, process);
        let instance = Held::Changed(Box::new(instance));
        let member = Member { id, instance, kind, seen, out: false };
        self.by_process.entry(process).or_default().push(member);
        self.changed = true;
        true
    }

    /// Removes those that `gone` names.
    pub(crate) fn remove(&mut self, mut gone: impl FnMut(&Member<'a>) -> bool) {
        for of_one in self.by_process.values_mut() {
            let before = of_one.len();
            of_one.retain(|member| !gone(member));
            self.changed |= of_one.len() < before;
        }
    }

    pub(crate) fn of_process(&self, process: &ProcessName) -> &[Member<'a>] {
        self.by_process.get(process).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn of_process_mut(&mut self, process: &ProcessName) -> &mut [Member<'a>] {
        self.by_process.get_mut(process).map_or(&mut [], Vec::as_mut_slice)
    }

    pub(crate) fn by_process(&self) -> impl Iterator<Item = (&'a ProcessName, &[Member<'a>])> {
        self.by_process.iter().map(|(process, members)| (*process, members.as_slice()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member<'a>> {
        self.by_process.values().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member<'a>> {
        self.by_process.values_mut().flatten()
    }

    /// Some process has instances of another target than this.
    pub(crate) fn any_of_other_target(&self, target: Target, which: impl Fn(&Member<'a>) -> bool) -> bool {
        self.iter().any(|member| member.target != target && which(member))
    }

    /// To be recorded; `None`: nothing changed.
    pub(crate) fn recorded(&self) -> Option<BTreeMap<InstanceId, Instance>> {
        let changed = self.changed || self.iter().any(Member::is_changed);
        changed.then(|| self.iter().map(|member| (member.id, Instance::clone(member))).collect())
    }
}
