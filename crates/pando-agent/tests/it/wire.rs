//! A line between two programs that can be cut, and mended.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Whole,
    /// Connections are reset, new ones closed at once: the machine at the other end is up, the program is not.
    Reset,
    /// Not a byte gets through, and nobody is told: a cable was pulled.
    Silent,
}

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
}

impl Wire {
    /// To `far`.
    pub(crate) async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, line) = (listener.local_addr().unwrap(), Arc::new(watch::Sender::new(Line::Whole)));
        tokio::spawn(carry(listener, far, Arc::clone(&line)));
        Self { address, line }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn carry(listener: TcpListener, far: SocketAddr, line: Arc<watch::Sender<Line>>) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let mut line = line.subscribe();
        connections.spawn(async move {
            // One that was made while the line was silent stays so: its first words are lost.
            if *line.borrow_and_update() == Line::Silent {
                std::future::pending::<()>().await;
            }
            if *line.borrow() == Line::Reset {
                return;
            }
            let mut near = near;
            let Ok(mut far) = TcpStream::connect(far).await else { return };
            let cut = tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                cut = line.wait_for(|line| *line != Line::Whole) => *cut.unwrap(),
            };
            if cut == Line::Silent {
                std::future::pending::<()>().await;
            }
        });
    }
}
