//! Commands beside a replica, in its container, and on their own, in a container of their image that lives as long as they do.

mod family;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    ResizeContainerTTYOptions, ResizeExecOptions, StartContainerOptions,
};
use pando_model::name::AppName;
use pando_model::resources::Resources;
use uuid::Uuid;

pub use streams::{CommandInput, CommandOutput, Piece};

use super::containers::Containers;
use super::engine::{Engine, EngineError};
use super::{create, find, images, name, start, volumes};
use crate::live::Live;
use crate::run::{ImagePlace, Place, RunKey, RunSpec};

/// The engine closes the output of a command a moment before it knows how it ended.
const END_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Where a command runs, and as what.
#[derive(Debug, Clone)]
pub enum Within {
    /// In the container of a run.
    Run(RunKey),
    /// In one of its own.
    Image(Box<OneOff>),
}

/// A container for one command, made of an app's image.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOff {
    pub app: AppName,
    /// With its volumes.
    pub image: ImagePlace,
    /// As in [`RunSpec::user`].
    pub user: Option<String>,
    pub resources: Resources,
}

impl OneOff {
    /// Of the image alone.
    #[must_use]
    pub fn of(app: AppName, image: ImagePlace) -> Self {
        Self { app, image, user: None, resources: Resources::default() }
    }
}

/// A command that runs. Dropping it ends nothing: see [`Command::kill`] and [`Command::close`].
#[derive(Debug)]
pub struct Command {
    engine: Engine,
    kind: Kind,
    /// Of one with a container of its own.
    _live: Option<Live>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Beside a replica, by the engine's id of it.
    Beside(String),
    /// The id of its container.
    Alone(String),
}

/// How a command ended. `None`: the engine can't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandEnd {
    pub code: Option<i32>,
    /// The kernel ended a process of it for want of memory. Told of containers of a command's own.
    pub out_of_memory: bool,
}

impl Containers {
    /// Starts `command`, program and arguments. `terminal`: it has one, of so many columns and rows.
    ///
    /// # Errors
    /// When the run doesn't run, the image isn't there, or the engine refuses.
    pub async fn command(
        &self,
        within: &Within,
        command: Vec<String>,
        env: &BTreeMap<String, String>,
        terminal: Option<(u16, u16)>,
    ) -> Result<(Command, CommandInput, CommandOutput), EngineError> {
        let env = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let asked = Asked { command, env, terminal };
        match within {
            Within::Run(key) => self.beside(*key, asked).await,
            Within::Image(one_off) => self.alone(one_off, asked).await,
        }
        .map_err(in_words)
    }

    /// Program and arguments of a line as a user wrote it: see [`RunSpec::command`].
    #[must_use]
    pub fn words(line: &str) -> Vec<String> {
        crate::command::words(line)
    }

    async fn beside(
        &self,
        key: RunKey,
        asked: Asked,
    ) -> Result<(Command, CommandInput, CommandOutput), EngineError> {
        let engine = self.shared.engine.clone();
        let held = find::held(&self.shared, key).await;
        let running = held.ok().flatten().filter(|held| held.exit.is_none());
        let running = running.ok_or_else(|| EngineError::Unfit("its container does not run".to_owned()))?;
        let container = self.shared.id_of(key, &name::container(&running.spec)).await?;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(asked.terminal.is_some()),
            env: Some(asked.env),
            cmd: Some(asked.command),
            ..CreateExecOptions::default()
        };
        let made = engine.call(|docker| async move { docker.create_exec(&container, options).await }).await?;
        let tty = asked.terminal.is_some();
        let id = made.id.clone();
        let options = StartExecOptions { detach: false, tty, output_capacity: None };
        let started =
            engine.call(|docker| async move { docker.start_exec(&id, Some(options)).await }).await?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(EngineError::Unfit("the engine started the command and kept its output".to_owned()));
        };
        let command = Command { engine, kind: Kind::Beside(made.id), _live: None };
        command.begin_terminal(asked.terminal).await;
        Ok((command, CommandInput(input), CommandOutput(output)))
    }

    async fn alone(
        &self,
        one_off: &OneOff,
        asked: Asked,
    ) -> Result<(Command, CommandInput, CommandOutput), EngineError> {
        let engine = self.shared.engine.clone();
        images::can_run(&engine, &self.shared.pins, &one_off.image.reference).await?;
        // Before there is a container, and until nobody waits for its end: nobody else removes it meanwhile.
        let live = self.shared.commands.begin();
        let id = self.make(live.id(), one_off, &asked).await?;
        let command = Command { engine, kind: Kind::Alone(id.clone()), _live: Some(live) };
        match self.attach_and_start(id, &command, asked.terminal).await {
            Ok((input, output)) => Ok((command, input, output)),
            Err(error) => {
                command.close().await;
                Err(error)
            }
        }
    }

    /// A container that has not run yet, for the command of that id; its id in the engine. It is a leftover once the command no longer
    /// lives, or with the next start of this program.
    pub(super) async fn make(
        &self,
        id: Uuid,
        one_off: &OneOff,
        asked: &Asked,
    ) -> Result<String, EngineError> {
        let OneOff { app, image, user, resources } = one_off;
        let spec = RunSpec {
            key: RunKey { id, attempt: 0 },
            app: app.clone(),
            name: "run".to_owned(),
            command: String::new(),
            place: Place::Image(Box::new(image.clone())),
            env: BTreeMap::new(),
            user: user.clone(),
            resources: *resources,
            port: None,
        };
        volumes::are_ours(&self.shared, app, &image.volumes).await?;
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = HashMap::from([
            label(name::OWNER, &self.shared.owner),
            label(name::COMMAND, &id.to_string()),
            label(name::APP, app.as_str()),
        ]);
        let body = ContainerCreateBody {
            cmd: Some(asked.command.clone()),
            env: Some(asked.env.clone()),
            labels: Some(labels),
            tty: Some(asked.terminal.is_some()),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..create::body(self.shared.whose(), &spec, image)
        };
        let options = CreateContainerOptions { name: Some(name::container(&spec)), platform: String::new() };
        let made = self
            .shared
            .engine
            .call(|docker| async move { docker.create_container(Some(options), body).await });
        Ok(made.await?.id)
    }

    async fn attach_and_start(
        &self,
        id: String,
        command: &Command,
        terminal: Option<(u16, u16)>,
    ) -> Result<(CommandInput, CommandOutput), EngineError> {
        let engine = &self.shared.engine;
        let options = AttachContainerOptions {
            stdin: true,
            stdout: true,
            stderr: true,
            stream: true,
            ..AttachContainerOptions::default()
        };
        let there = id.clone();
        let attached =
            engine.call(|docker| async move { docker.attach_container(&there, Some(options)).await }).await?;
        engine
            .call(|docker| async move { docker.start_container(&id, None::<StartContainerOptions>).await })
            .await?;
        command.begin_terminal(terminal).await;
        Ok((CommandInput(attached.input), CommandOutput(attached.output)))
    }
}

/// What the engine refused, with what to do about it.
fn in_words(error: EngineError) -> EngineError {
    match error {
        EngineError::Refused { status, message } => {
            EngineError::Refused { status, message: start::remedy(status, &message) }
        }
        other => other,
    }
}

/// What is to run.
pub(super) struct Asked {
    pub(super) command: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) terminal: Option<(u16, u16)>,
}

impl Command {
    /// The size comes after the start, when there is something that has it; a command that ended at once needs none.
    async fn begin_terminal(&self, terminal: Option<(u16, u16)>) {
        if let Some((columns, rows)) = terminal
            && let Err(error) = self.resize(columns, rows).await
        {
            tracing::debug!("a command's terminal does not take its size: {error}");
        }
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    /// When it has ended, or the engine can't be asked.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError> {
        let (width, height) = (i32::from(columns), i32::from(rows));
        let kind = self.kind.clone();
        self.engine
            .call(|docker| async move {
                match kind {
                    Kind::Beside(id) => {
                        docker.resize_exec(&id, ResizeExecOptions { h: height, w: width }).await
                    }
                    Kind::Alone(id) => {
                        docker
                            .resize_container_tty(&id, ResizeContainerTTYOptions { h: height, w: width })
                            .await
                    }
                }
            })
            .await
    }

    /// How it ended. To be asked once its output is over; waits for some seconds at most.
    ///
    /// # Errors
    /// When it goes on, or the engine can't be asked.
    pub async fn end(&self) -> Result<CommandEnd, EngineError> {
        let until = Instant::now() + END_WITHIN;
        loop {
            if let Some(end) = self.look().await? {
                return Ok(end);
            }
            if Instant::now() > until {
                return Err(EngineError::Unfit("the command closed its output and goes on".to_owned()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `None`: it runs.
    async fn look(&self) -> Result<Option<CommandEnd>, EngineError> {
        let (running, code, out_of_memory) = match self.kind.clone() {
            Kind::Beside(id) => {
                let found = self.engine.call(|docker| async move { docker.inspect_exec(&id).await }).await?;
                (found.running, found.exit_code, None)
            }
            Kind::Alone(id) => {
                let none = None::<InspectContainerOptions>;
                let found =
                    self.engine.call(|docker| async move { docker.inspect_container(&id, none).await });
                let state = found.await?.state.unwrap_or_default();
                (state.running, state.exit_code, state.oom_killed)
            }
        };
        let code = code.and_then(|code| i32::try_from(code).ok());
        Ok((running != Some(true)).then_some(CommandEnd { code, out_of_memory: out_of_memory == Some(true) }))
    }

    /// Ends it: SIGTERM, or SIGKILL when `hard`. Beside a replica, the engine has no such request: its process on this machine is
    /// signalled, with all that descends from it, which only root may do.
    ///
    /// # Errors
    /// When that is not allowed, or the engine can't be asked.
    pub async fn kill(&self, hard: bool) -> Result<(), EngineError> {
        match self.kind.clone() {
            Kind::Beside(id) => match self.pid(&id).await? {
                Some(pid) => family::signal(pid, hard).map_err(|error| {
                    EngineError::Unfit(format!("the command (pid {pid}) can't be ended: {error}"))
                }),
                None => Ok(()),
            },
            Kind::Alone(id) => {
                let options =
                    KillContainerOptions { signal: if hard { "SIGKILL" } else { "SIGTERM" }.to_owned() };
                let killed =
                    self.engine.call(|docker| async move { docker.kill_container(&id, Some(options)).await });
                match killed.await {
                    Err(error) if !error.is_conflict() && !error.is_missing() => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Of a command beside a run; `None`: it has ended. The engine may hear its output before it knows its pid.
    async fn pid(&self, id: &str) -> Result<Option<u32>, EngineError> {
        let until = Instant::now() + END_WITHIN;
        loop {
            let id = id.to_owned();
            let found = self.engine.call(|docker| async move { docker.inspect_exec(&id).await }).await?;
            let pid = found.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1);
            if found.running != Some(true) || pid.is_some() || Instant::now() >= until {
                return Ok(pid.filter(|_| found.running == Some(true)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Leaves nothing of it: a container of its own is removed, whatever runs in it. One that can't be removed now is when this program
    /// starts the next time.
    pub async fn close(&self) {
        let Kind::Alone(id) = self.kind.clone() else { return };
        let options = bollard::query_parameters::RemoveContainerOptions { force: true, v: true, link: false };
        let removed =
            self.engine.call(|docker| async move { docker.remove_container(&id, Some(options)).await });
        if let Err(error) = removed.await
            && !error.is_missing()
        {
            tracing::warn!("the container of a command is left for now: {error}");
        }
    }
}
