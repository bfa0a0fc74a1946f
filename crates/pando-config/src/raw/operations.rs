//! The keys of what surrounds the processes: services, schedules, balancing, scaling.

use pando_model::RoleName;

use super::env::From;
use crate::decode::{At, Field, OrRecord, Shorthand, choice, record};
use crate::value::{
    Command, Count, Cron, Decimal, Duration, Flag, Label, Percent, Port, Text, TimeZone, UrlTemplate,
};

choice! {
    /// What a service is.
    ServiceType {
        Postgres = "postgres",
        Mysql = "mysql",
        Redis = "redis",
        Memcached = "memcached",
        S3 = "s3",
    }
}

impl ServiceType {
    /// Where such a service listens unless told otherwise.
    pub(crate) fn usual_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Redis => 6379,
            Self::Memcached => 11211,
            // As MinIO does.
            Self::S3 => 9000,
        }
    }

    pub(crate) fn usual_role(self) -> &'static str {
        match self {
            Self::Redis | Self::Memcached => "cache",
            Self::Postgres | Self::Mysql | Self::S3 => "db",
        }
    }
}

record! {
    /// A database or cache that the app uses.
    Service = "a service" {
        /// What it is.
        r#type: ServiceType [required];
        /// Its version, such as `15`.
        version: Text;
        /// The role of the server that it runs on. Without it: `cache` for redis and memcached, `db` for others.
        role: RoleName;
        /// Whether Pando runs it; otherwise you do.
        managed: Flag [default "true"];
        /// Of a service that you run: the port that it listens on, on the server with its role. Without it:
        /// 5432 for postgres, 3306 for mysql, 6379 for redis, 11211 for memcached, 9000 for s3.
        port: Port;
        /// Of a service that you run: its URL, in which `{host}` and `{port}` stand for where it is, or
        /// `{from: {secret: NAME}}`. Without it, what is known of it is the private address of its server.
        url: OrRecord<Url>;
    }
}

record! {
    /// A URL, given or from a secret.
    Url = "a URL or where it comes from" {
        /// The URL, in which `{host}` and `{port}` stand for where the service is.
        value: UrlTemplate;
        /// Where it comes from.
        from: From;
    }
}

impl Shorthand for Url {
    type Short = UrlTemplate;

    fn from_short(short: At<UrlTemplate>) -> Self {
        Self { value: Field::Given(short), ..Self::default() }
    }
}

choice! {
    /// Where an occurrence of a schedule runs.
    Occurs {
        OneServer = "one_server",
        EveryServer = "every_server",
    }
}

choice! {
    /// What happens when the last run has not ended yet.
    Concurrency {
        Forbid = "forbid",
        Allow = "allow",
        Replace = "replace",
    }
}

record! {
    /// A command that runs at given times.
    Schedule = "a schedule" {
        /// Its name.
        name: Label [required];
        /// When: minute, hour, day of the month, month, day of the week.
        cron: Cron [required];
        /// The time zone that `cron` is in.
        timezone: TimeZone [default "UTC"];
        /// What to run.
        command: Command [required];
        /// Where it runs: at most once per occurrence, or on each server with the role `cron`.
        on: Occurs [default "one_server"];
        /// When the last run has not ended: skip this one, run both, or end the last one.
        concurrency: Concurrency [default "forbid"];
    }
}

record! {
    /// Between which counts, and by which load, the replicas of a process are scaled.
    Autoscale = "an autoscaling rule" {
        /// Never fewer replicas.
        min: Count<0, 1000> [default "1"];
        /// Never more replicas.
        max: Count<1, 1000> [required];
        /// The average use of their processor share to keep to.
        cpu: Percent;
        /// The requests per second and replica to keep to.
        requests_per_second: Decimal;
        /// The time that 95 of 100 requests are to be answered in.
        p95_latency: Duration<1, 600_000>;
    }
}
