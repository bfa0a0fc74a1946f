//! The nouns of Pando: ids, names, specifications, desired and observed state.
//!
//! Values only. Nothing here reads a clock, draws randomness or does IO, and a
//! value that exists is valid: names are DNS labels, amounts are in range.
//! How the values come about (parsing, planning, observing) is left to others.

pub mod app;
pub mod asset;
pub mod assignment;
pub mod desired;
pub mod firewall;
pub mod id;
pub mod image;
pub mod name;
pub mod observed;
pub mod registry;
pub mod release;
pub mod resources;
pub mod server;
pub mod time;
pub mod traffic;

pub use app::{AppSpec, EnvValue, HealthCheck, HealthKind, ProcessSpec};
pub use assignment::{AssignedInstance, AssignedTask, Assignment, TaskKind};
pub use desired::{Assigned, Deployment, DeploymentKind, DeploymentPhase, Desired, Instance, Phase};
pub use firewall::{Cidr, FirewallRule, FirewallRules, FirewallStatus, OpenPort, Ports, Protocol, Sources};
pub use id::{DeploymentId, InstanceId, ServerId, TaskId, Version};
pub use name::{AppName, ProcessName, ReplicaName, RoleName, ServerName, ServiceName};
pub use observed::{AgentReport, InstanceState, InstanceStatus, Observed, TaskState};
pub use release::{Digest, Release, ReleaseNumber};
pub use resources::{Capacity, Resources};
pub use server::{Server, Standing};
pub use time::{Millis, Timestamp};
pub use traffic::{PoolSpec, RouteSpec, Traffic};
