//! Every environment variable that Pando sets for what it runs, or reads itself.

/// Who writes a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// Pando, for each replica and each command of a release.
    Pando,
    /// Whoever calls `pando`.
    Caller,
}

/// A variable of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    pub set_by: SetBy,
    pub meaning: &'static str,
    pub example: &'static str,
}

/// All of them, those for replicas first.
pub const VARIABLES: &[Variable] = &[
    told(
        "PORT",
        "The port to listen on, on the address that the replica's server has in the cluster.",
        "20001",
    ),
    told("PANDO_APP", "The name of the app.", "hits"),
    told("PANDO_PROCESS", "The name of the process.", "web"),
    told(
        "PANDO_REPLICA",
        "The replica's stable name, the same after a restart and in the next release.",
        "web-2",
    ),
    told("PANDO_INSTANCE", "The id of this start of the replica.", "0198c5a2-7b1e-7c3a-9d52-3f6f6a1c9e10"),
    told("PANDO_RELEASE", "The release that it belongs to.", "v42"),
    told("PANDO_SERVER", "The name of the server that it runs on.", "main"),
    told("PANDO_ROLES", "The roles of that server, with commas between.", "lb,web,worker"),
    read(
        "PANDO_CLUSTER_URL",
        "The control address of the cluster to speak to, instead of the one chosen by `pando cluster use`.",
        "https://203.0.113.7:7420",
    ),
    read("PANDO_TOKEN", "The token to speak with, as `pando token create` printed it.", "a secret"),
];

const fn told(name: &'static str, meaning: &'static str, example: &'static str) -> Variable {
    Variable { name, set_by: SetBy::Pando, meaning, example }
}

const fn read(name: &'static str, meaning: &'static str, example: &'static str) -> Variable {
    Variable { name, set_by: SetBy::Caller, meaning, example }
}
