//! A cluster's authority with its clock, and two ends that shake hands and exchange a word.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pando_model::id::{Entropy, ServerId};
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::{
    Authority, Identity, LiveIdentity, PeerIdentity, PendingIdentity, Subject, peer_identity, tls,
};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client, server};

pub(crate) const DAY: i64 = 86_400_000;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bed {
    pub(crate) authority: Authority,
    pub(crate) clock: Clock,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let clock = Clock::manual(1_790_000_000_000);
        let now = Timestamp::from_millis(clock.now_millis());
        Self { authority: Authority::make("main", now).unwrap(), clock }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// Issued now, by the bed's clock.
    pub(crate) fn identity(&self, subject: Subject) -> Identity {
        let pending = PendingIdentity::make().unwrap();
        let pem = self.authority.issue(&pending.request().unwrap(), subject, self.now()).unwrap();
        pending.certified(&pem, self.authority.anchor().clone(), self.now()).unwrap()
    }

    pub(crate) fn live(&self, subject: Subject) -> Arc<LiveIdentity> {
        LiveIdentity::new(self.identity(subject))
    }

    /// What each end makes of the other, when both have heard a word of it.
    pub(crate) async fn meet(&self, server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Met {
        let (accepted, connected) = ends(server, client).await;
        let accepted = accepted.map(|stream| {
            let chain = stream.get_ref().1.peer_certificates();
            peer_identity(chain, self.now()).unwrap()
        });
        Met { accepted, connected: connected.map(drop) }
    }
}

pub(crate) fn server(seed: u64) -> Subject {
    Subject::Server(ServerId::new(Timestamp::from_millis(1), &mut Entropy::from_seed(seed)))
}

#[derive(Debug)]
pub(crate) struct Met {
    /// Who came, for the server.
    pub(crate) accepted: io::Result<Option<PeerIdentity>>,
    pub(crate) connected: io::Result<()>,
}

type Ends = (io::Result<server::TlsStream<TcpStream>>, io::Result<client::TlsStream<TcpStream>>);

/// Both ends of a connection after a word each way.
pub(crate) async fn ends(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Ends {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await?;
        let mut stream = tls::accept(stream, server, PATIENCE).await?;
        word(&mut stream).await?;
        Ok(stream)
    };
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        // Always by address, as callers do.
        let name = ServerName::from(address.ip());
        let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await?;
        word(&mut stream).await?;
        Ok(stream)
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(accept, connect) }).await.unwrap()
}

/// Says something and hears something.
pub(crate) async fn word(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> io::Result<()> {
    stream.write_all(b"word").await?;
    stream.flush().await?;
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await.map(drop)
}
