//! Starts a run: checks what can be checked, puts it on record, makes a container and starts it.

use std::io;
use std::sync::Arc;

use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};

use pando_model::app::VolumeSpec;

use super::engine::EngineError;
use super::images;
use super::pins;
use super::record::Record;
use super::shared::Shared;
use super::{create, find, name, undo, volumes, watch, words};
use crate::port;
use crate::process::blocking;
use crate::run::{Held, ImagePlace, Place, RunSpec, StartError};

pub(super) async fn start(shared: &Arc<Shared>, spec: RunSpec) -> Result<Held, StartError> {
    let image = check(&spec)?;
    let key = spec.key;
    let slot = shared.book.slot(key);
    let mut known = slot.lock().await;
    if known.is_none() {
        let started = find_or_start(shared, spec, &image).await;
        if started.is_err() {
            shared.book.drop_slot(key, &slot);
        }
        *known = Some(started?);
    }
    known.clone().ok_or_else(|| StartError::Refused { command: String::new(), why: "it is gone".to_owned() })
}

fn check(spec: &RunSpec) -> Result<ImagePlace, StartError> {
    let Place::Image(image) = &spec.place else {
        return Err(StartError::refused(spec, "a directory is no image"));
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let named = !spec.name.is_empty() && spec.name.len() <= 128 && !spec.name.starts_with('.');
    if !named || !spec.name.bytes().all(good) {
        return Err(StartError::refused(spec, format!("`{}` can't be the name of a log", spec.name)));
    }
    if let Some(name) = spec.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(StartError::refused(spec, format!("{name:?} can't be the name of a variable")));
    }
    Ok(ImagePlace::clone(image))
}

async fn find_or_start(shared: &Arc<Shared>, spec: RunSpec, image: &ImagePlace) -> Result<Held, StartError> {
    undo::of_id(shared, spec.key.id).await.map_err(failed(&spec))?;
    if let Some(held) = find::look(shared, spec.key, true).await.map_err(failed(&spec))? {
        return Ok(held);
    }
    if let Some(why) = shared.book.used_up(spec.key) {
        return Err(StartError::refused(&spec, why));
    }
    if let Some(address) = spec.port.filter(|address| port::is_taken(*address)) {
        return Err(StartError::PortTaken(address));
    }
    let facts = images::can_run(&shared.engine, &shared.pins, &image.reference).await;
    let facts = facts.map_err(|error| without_image(&spec, &error))?;
    volumes::are_ours(shared, &spec.app, &image.volumes).await.map_err(explained(&spec))?;
    let unmounted = facts.unmounted(&image.volumes);
    let record = Record { container: name::container(&spec), created_at: shared.now(), spec, unmounted };
    let (records, there) = (shared.records(record.spec.key), record.clone());
    blocking(move || records.create(&there)).await.map_err(StartError::io(&record.spec))?;
    match begin(shared, &record, image).await {
        Ok(pid) => {
            let mut remarks = vec![format!("started in container `{}`", record.container)];
            remarks.extend(record.unmounted.iter().map(|path| VolumeSpec::missing(path)));
            watch::watch(shared, record.clone(), remarks);
            Ok(record.held(pid, None))
        }
        Err(error) => {
            undo::failed_start(shared, &record).await;
            Err(explain(&record.spec, &error))
        }
    }
}

/// The pid of its first process; `None`: it has ended already.
async fn begin(
    shared: &Arc<Shared>,
    record: &Record,
    image: &ImagePlace,
) -> Result<Option<u32>, EngineError> {
    let body = create::body(shared.whose(), &record.spec, image);
    let options = CreateContainerOptions { name: Some(record.container.clone()), platform: String::new() };
    let made = shared
        .engine
        .call(|docker| async move { docker.create_container(Some(options), body).await })
        .await?;
    let id = made.id.clone();
    shared
        .engine
        .call(|docker| async move { docker.start_container(&id, None::<StartContainerOptions>).await })
        .await?;
    let found = shared.inspect(record.spec.key, &made.id).await?;
    Ok(found.as_ref().and_then(find::pid_of))
}

fn failed(spec: &RunSpec) -> impl FnOnce(EngineError) -> StartError + use<> {
    let failed = StartError::io(spec);
    move |error| failed(io::Error::other(error))
}

fn explained(spec: &RunSpec) -> impl FnOnce(EngineError) -> StartError + use<'_> {
    |error| explain(spec, &error)
}

/// Why the image can't be started.
fn without_image(spec: &RunSpec, error: &EngineError) -> StartError {
    if pins::is_lost(error) {
        return StartError::NoImage { command: spec.what().to_owned(), why: error.to_string() };
    }
    explain(spec, error)
}

/// What an engine says of a start, with what to do about it. Its words are those of three programs below it, and change; what
/// isn't known is told as it is.
fn explain(spec: &RunSpec, error: &EngineError) -> StartError {
    let EngineError::Refused { status, message } = error else {
        return StartError::refused(spec, error.to_string());
    };
    if let Some(address) = spec.port.filter(|_| says_taken(message)) {
        return StartError::PortTaken(address);
    }
    StartError::refused(spec, remedy(*status, message))
}

fn says_taken(message: &str) -> bool {
    ["port is already allocated", "address already in use"].iter().any(|words| message.contains(words))
}

pub(super) fn remedy(status: u16, message: &str) -> String {
    let says = |words: &str| message.contains(words);
    if says("is already in use by container") {
        return format!("a container that is not Pando's has its name; remove or rename that one: {message}");
    }
    if says("bind source path does not exist") {
        return format!("a directory that is to be mounted is not on this server; make it first: {message}");
    }
    if says("No command specified") {
        return "the image names no command of its own; give the process one: `command: …`".to_owned();
    }
    if status < 500 && !says("exec: ") {
        return message.to_owned();
    }
    words::not_started(message).unwrap_or_else(|| words::short(message).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunKey;

    fn spec() -> RunSpec {
        RunSpec {
            key: RunKey { id: uuid::Uuid::from_u128(1), attempt: 0 },
            app: "shop".parse().unwrap(),
            name: "web-1".to_owned(),
            command: String::new(),
            place: Place::Image(Box::new(ImagePlace::of("shop:1"))),
            env: Default::default(),
            user: None,
            resources: Default::default(),
            port: Some("10.0.0.1:20001".parse::<std::net::SocketAddr>().unwrap()),
        }
    }

    fn explained(status: u16, message: &str) -> String {
        explain(&spec(), &EngineError::Refused { status, message: message.to_owned() }).to_string()
    }

    /// As Docker 20.10 and 28 say them.
    #[test]
    fn what_engines_say_is_told_with_its_remedy() {
        for (status, message, told) in [
            (
                500,
                "driver failed programming external connectivity on endpoint x: Bind for 10.0.0.1:20001 failed: port is already allocated",
                "port 10.0.0.1:20001 is taken by another program",
            ),
            (
                500,
                "failed to set up container networking: driver failed programming external connectivity: failed to bind host port for \
                 10.0.0.1:20001: address already in use",
                "port 10.0.0.1:20001 is taken by another program",
            ),
            (
                400,
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \
                 \"bin/wbe\": executable file not found in $PATH: unknown",
                "can't start `shop:1`: no program named `bin/wbe` in the image",
            ),
            (
                409,
                "Conflict. The container name \"/x\" is already in use by container \"abc\".",
                "a container that is not Pando's has its name; remove or rename that one",
            ),
            (
                400,
                "invalid mount config for type \"bind\": bind source path does not exist: /srv/none",
                "is not on this server; make it first",
            ),
            (
                400,
                "No command specified",
                "can't start `shop:1`: the image names no command of its own; give the process one: `command: …`",
            ),
            (507, "no space left", "can't start `shop:1`: no space left"),
        ] {
            let said = explained(status, message);
            assert!(said.contains(told), "{said}");
        }
    }

    #[test]
    fn a_directory_is_for_another_runtime() {
        let other = RunSpec { place: Place::Directory("/".into()), ..spec() };
        assert!(check(&other).is_err());
        let env = [("A=B".to_owned(), String::new())].into();
        assert!(check(&RunSpec { env, ..spec() }).unwrap_err().to_string().contains("\"A=B\" can't be"));
        assert!(check(&spec()).is_ok());
    }
}
