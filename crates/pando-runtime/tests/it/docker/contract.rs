//! Containers keep what every runtime promises.

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use pando_model::time::Millis;
use pando_runtime::contract::{Behaviour, Subject};
use pando_runtime::docker::DockerRuntime;
use pando_runtime::{ImagePlace, Place, RunSpec};

use super::bed::{Bed, IMAGE};
use crate::support::until;

/// The suite's own bed: the events are the suite's to take.
pub(crate) struct Docker {
    bed: Bed,
    foreign: Option<TcpListener>,
    begin: Instant,
}

impl Docker {
    pub(crate) fn new() -> Self {
        let mut bed = Bed::new();
        bed.open_untouched();
        Self { bed, foreign: None, begin: Instant::now() }
    }
}

impl Subject for Docker {
    type Runtime = DockerRuntime;

    fn runtime(&self) -> &DockerRuntime {
        &self.bed.runtime
    }

    async fn reopen(&mut self) {
        self.bed.close().await;
        self.bed.open_untouched();
    }

    fn command(&self, behaviour: Behaviour) -> (String, Place) {
        // The kernel ends no first process by a signal that it says nothing of; a shell's own way of saying SIGTERM is 143.
        let command = match behaviour {
            Behaviour::Runs => "trap 'exit 143' TERM; echo up; sleep 1000 & wait".to_owned(),
            Behaviour::Ends(code) => format!("echo one; echo two; exit {code}"),
            Behaviour::IgnoresSigterm => "trap '' TERM; echo up; while true; do sleep 1000; done".to_owned(),
            Behaviour::NowhereToRun => "sleep 1000".to_owned(),
        };
        let nowhere = behaviour == Behaviour::NowhereToRun;
        let image = if nowhere { "pando-test/nowhere:1" } else { IMAGE };
        (command, Place::Image(Box::new(ImagePlace::of(image))))
    }

    async fn settled(&self, spec: &RunSpec) {
        let log = self.bed.root.path().join("logs/contract").join(format!("{}.log", spec.name));
        until("it has set its trap", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" o up")))
            .await;
    }

    async fn pass(&self, time: Millis) {
        tokio::time::sleep(time.duration()).await;
    }

    fn clock(&self) -> Millis {
        self.begin.elapsed().into()
    }

    fn occupy(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.foreign = Some(listener);
        address
    }

    fn free(&mut self) {
        self.foreign = None;
    }
}

crate::contract::promises!(super::contract::Docker);
