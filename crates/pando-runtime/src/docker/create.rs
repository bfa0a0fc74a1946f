//! What the engine is told of a run: values from values.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, PortBinding,
    PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use pando_model::app::VolumeSpec;

use super::name::{self, Whose};
use crate::command;
use crate::run::{ImagePlace, RunSpec};

/// Processes and threads of one container, where the file names no limit: none that works has so many, and one that forks without end
/// is stopped by it.
const MOST_TASKS: u32 = 4096;

/// The engine's own copy of the output. It bridges the time in which no daemon reads; a louder silence loses its oldest lines.
const LOG_FILE: (&str, &str) = ("10m", "3");

/// The container of a run. It ends when it ends: who starts it again is Pando.
pub(super) fn body(whose: Whose<'_>, spec: &RunSpec, image: &ImagePlace) -> ContainerCreateBody {
    let cmd = command::words(&spec.command);
    ContainerCreateBody {
        image: Some(image.reference.clone()),
        hostname: Some(spec.name.clone()).filter(|name| is_hostname(name)),
        cmd: Some(cmd).filter(|cmd| !cmd.is_empty()),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: spec.user.clone(),
        labels: Some(name::labels(whose.owner, spec)),
        stop_timeout: Some(seconds_above(image.stop_timeout)),
        exposed_ports: inner_port(spec, image).map(|port| vec![port]),
        // The agent runs the check, where there is one, so that it counts alike whatever runs the app.
        healthcheck: Some(no_health_check()),
        host_config: Some(host(whose, spec, image)),
        ..ContainerCreateBody::default()
    }
}

fn no_health_check() -> bollard::models::HealthConfig {
    bollard::models::HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }
}

fn host(whose: Whose<'_>, spec: &RunSpec, image: &ImagePlace) -> HostConfig {
    let memory = spec.resources.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let log = [("max-size", LOG_FILE.0), ("max-file", LOG_FILE.1)];
    HostConfig {
        port_bindings: ports(spec, image),
        memory,
        // Memory and swap together: what is over the limit is over it.
        memory_swap: memory,
        nano_cpus: spec.resources.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: Some(spec.resources.pids.unwrap_or(MOST_TASKS).into()),
        mounts: Some(image.volumes.iter().map(|volume| mount(whose, spec, volume)).collect()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(log.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }),
        ..HostConfig::default()
    }
}

fn inner_port(spec: &RunSpec, image: &ImagePlace) -> Option<String> {
    let outer = spec.port?;
    Some(format!("{}/tcp", image.container_port.unwrap_or(outer.port())))
}

/// On the one address alone: what is bound to every address is open to the world, whatever the firewall says.
fn ports(spec: &RunSpec, image: &ImagePlace) -> Option<PortMap> {
    let outer = spec.port?;
    let binding =
        PortBinding { host_ip: Some(outer.ip().to_string()), host_port: Some(outer.port().to_string()) };
    Some(HashMap::from([(inner_port(spec, image)?, Some(vec![binding]))]))
}

fn mount(whose: Whose<'_>, spec: &RunSpec, volume: &VolumeSpec) -> Mount {
    let mount =
        Mount { target: Some(volume.target.clone()), read_only: Some(volume.read_only), ..Mount::default() };
    if volume.source.starts_with('/') {
        return Mount { source: Some(volume.source.clone()), typ: Some(MountType::BIND), ..mount };
    }
    let (app, name) = (spec.app.as_str(), volume.source.as_str());
    // Of one that is there already they are not changed.
    let labels = Some(name::volume_labels(whose.cluster, app, name));
    Mount {
        source: Some(name::volume(app, name)),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions { labels, ..MountVolumeOptions::default() }),
        ..mount
    }
}

/// Whole seconds, not below.
pub(super) fn seconds_above(time: pando_model::time::Millis) -> i64 {
    i64::try_from(time.0.div_ceil(1000)).unwrap_or(i64::MAX)
}

fn is_hostname(name: &str) -> bool {
    name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pando_model::resources::Resources;
    use pando_model::time::Millis;
    use uuid::Uuid;

    use super::*;

    const ME: Whose<'_> = Whose { owner: "me", cluster: "ours" };
    use crate::run::{Place, RunKey};

    fn spec(command: &str) -> RunSpec {
        RunSpec {
            key: RunKey { id: Uuid::from_u128(7), attempt: 0 },
            app: "shop".parse().unwrap(),
            name: "web-1".to_owned(),
            command: command.to_owned(),
            place: Place::Image(Box::new(ImagePlace::of("shop:1"))),
            env: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
            user: None,
            resources: Resources { cpu_millis: Some(1500), memory_bytes: Some(64_000_000), pids: None },
            port: Some("10.0.0.1:20001".parse().unwrap()),
        }
    }

    #[test]
    fn a_port_is_published_on_the_one_address() {
        let image = ImagePlace { container_port: Some(8080), ..ImagePlace::of("shop:1") };
        let host = body(ME, &spec(""), &image).host_config.unwrap();
        let ports = host.port_bindings.unwrap();
        let binding = PortBinding { host_ip: Some("10.0.0.1".into()), host_port: Some("20001".into()) };
        assert_eq!(ports, HashMap::from([("8080/tcp".to_owned(), Some(vec![binding]))]));
        let same = body(ME, &spec(""), &ImagePlace::of("shop:1"));
        assert_eq!(same.exposed_ports, Some(vec!["20001/tcp".to_owned()]));
        let none = body(ME, &RunSpec { port: None, ..spec("") }, &image);
        assert_eq!((none.exposed_ports, none.host_config.unwrap().port_bindings), (None, None));
    }

    #[test]
    fn limits_hold_without_swap_and_nothing_is_restarted_by_the_engine() {
        let host = body(ME, &spec(""), &ImagePlace::of("shop:1")).host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(64_000_000), Some(64_000_000)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(4096)));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
        let few = Resources { pids: Some(64), ..Resources::default() };
        let few = body(ME, &RunSpec { resources: few, ..spec("") }, &ImagePlace::of("shop:1"));
        assert_eq!(few.host_config.unwrap().pids_limit, Some(64));
        let unlimited = RunSpec { resources: Resources::default(), ..spec("") };
        let host = body(ME, &unlimited, &ImagePlace::of("shop:1")).host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap, host.nano_cpus), (None, None, None));
    }

    #[test]
    fn volumes_are_the_apps_own_and_paths_are_the_servers() {
        let volume = |source: &str, read_only| VolumeSpec {
            source: source.to_owned(),
            target: "/data".to_owned(),
            read_only,
        };
        let image = ImagePlace {
            volumes: vec![volume("data", false), volume("/srv/files", true)],
            ..ImagePlace::of("shop:1")
        };
        let mounts = body(ME, &spec(""), &image).host_config.unwrap().mounts.unwrap();
        assert_eq!(
            (mounts[0].typ, mounts[0].source.as_deref()),
            (Some(MountType::VOLUME), Some("pando.shop.data"))
        );
        assert_eq!((mounts[1].typ, mounts[1].source.as_deref()), (Some(MountType::BIND), Some("/srv/files")));
        assert_eq!((mounts[0].read_only, mounts[1].read_only), (Some(false), Some(true)));
        let labels = mounts[0].volume_options.as_ref().unwrap().labels.as_ref().unwrap();
        assert_eq!((labels["pando.cluster"].as_str(), labels["pando.app"].as_str()), ("ours", "shop"));
        assert_eq!((labels["pando.volume"].as_str(), &mounts[1].volume_options), ("data", &None));
    }

    #[test]
    fn what_an_image_runs_by_itself_stays() {
        let own = body(ME, &spec(""), &ImagePlace::of("shop:1"));
        assert_eq!((own.cmd, own.entrypoint, own.working_dir), (None, None, None));
        let other = body(ME, &spec("bin/web -p 80"), &ImagePlace::of("shop:1"));
        assert_eq!(
            (other.cmd.unwrap(), other.entrypoint),
            (vec!["bin/web".into(), "-p".into(), "80".into()], None)
        );
        assert_eq!(own.env, Some(vec!["A=b=c".to_owned()]));
    }

    #[test]
    fn times_are_not_cut_short() {
        let seconds = [0, 1, 1000, 1001].map(|millis| seconds_above(Millis(millis)));
        assert_eq!(seconds, [0, 1, 1, 2]);
    }
}
