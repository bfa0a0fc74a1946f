//! Tells whoever runs this process how it is: its keeper, or a service manager by the protocol of `sd_notify`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use pando_proxy::Notice;
use pando_runtime::listen::{Inherited, KeeperLine};
use tokio::sync::mpsc;

/// Where a service manager listens (systemd's `Type=notify`).
const SOCKET: &str = "NOTIFY_SOCKET";

/// Who is told.
#[derive(Debug)]
pub(super) struct Notify {
    keeper: Option<KeeperLine>,
    manager: Option<String>,
    /// The manager hears of this process by the one whose place it takes: only the main process has its ear.
    succeeds: bool,
}

impl Notify {
    /// `succeeds`: this process takes another one's place, which says so itself.
    pub(super) fn new(inherited: &mut Inherited, succeeds: bool) -> Self {
        let manager = std::env::var(SOCKET).ok().filter(|path| !path.is_empty());
        Self { keeper: inherited.keeper.take(), manager, succeeds }
    }

    /// Whether a keeper starts this process again whenever it ends.
    pub(super) fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// Passes on what the proxy says, until that has ended.
    pub(super) async fn run(self, mut told: mpsc::Receiver<Notice>) {
        while let Some(notice) = told.recv().await {
            if let Err(error) = self.tell(notice) {
                tracing::warn!(%error, "can't tell whoever runs this process how it is");
            }
        }
    }

    fn tell(&self, notice: Notice) -> io::Result<()> {
        if let (Some(keeper), Notice::Serving) = (&self.keeper, notice) {
            keeper.serves()?;
        }
        match &self.manager {
            Some(_) if self.succeeds && notice == Notice::Serving => Ok(()),
            Some(socket) => send(socket, &words(notice)),
            None => Ok(()),
        }
    }
}

fn words(notice: Notice) -> String {
    match notice {
        Notice::Serving => "READY=1\nSTATUS=Serving".to_owned(),
        // The manager holds on to the process that serves; this one ends when it has nothing more to do.
        Notice::HandedOver { pid } => format!("MAINPID={pid}\nREADY=1\nSTATUS=Serving"),
    }
}

/// `@` stands for the zero byte that a name without a file begins with.
fn send(socket: &str, words: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(words.as_bytes(), &address).map(|_| ())
}
