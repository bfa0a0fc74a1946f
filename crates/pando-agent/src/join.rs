//! Joins this machine to a cluster as a server.
//!
//! The key is made here, is on disk before anybody is asked, and stays here. So an
//! answer that was lost does no harm: asking again with the same word and the same
//! key is answered with the same server, and once the answer is on disk, nobody
//! needs to be asked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pando_api::auth::{Bearer, BearerError};
use pando_api::client::{Client, ClientError};
use pando_api::v1::join::{JoinAnswer, JoinRequest};
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::resources::Capacity;
use pando_model::time::Timestamp;
use pando_rt::backoff::Backoff;
use pando_rt::clock::Clock;
use pando_trust::{Identity, JoinWord, PendingIdentity, Subject, TrustError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a control plane that can't be reached is asked again.
const ASK_FOR: Duration = Duration::from_secs(30);

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(3) };

/// What a server says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Left aside when the word brings a name.
    pub name: ServerName,
    /// On the network that the servers share.
    pub private_address: IpAddr,
    pub public_address: Option<IpAddr>,
    /// Where others reach its agent's API.
    pub agent_address: SocketAddr,
    pub capacity: Capacity,
    /// Of this program.
    pub version: String,
}

/// A server of a cluster.
#[derive(Debug, Clone)]
pub struct Joined {
    pub server: ServerId,
    pub name: ServerName,
    /// The control plane's address, for [`crate::Settings::control_url`].
    pub control_url: String,
    /// On disk already.
    pub identity: Identity,
}

/// Why this machine is no server yet. Whatever the control plane may have decided, asking again with the same word is right.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the word has no usable secret")]
    Secret(#[from] BearerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the control plane answered with the certificate of somebody else; nothing was changed here")]
    NotOurs,
    #[error("can't {doing} `{}`", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` is damaged: remove it, and join with a new word", path.display())]
    Damaged { path: PathBuf },
}

/// Joins the cluster that made `word`, and keeps the identity in `identity_file` (in a directory that is there, and this
/// program's alone). Repeated with the same word it answers the same; a new word makes a new server of this machine. A control
/// plane that can't be reached is asked again for 30 s.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(
    word: &JoinWord,
    description: &Description,
    identity_file: &Path,
    clock: &Clock,
) -> Result<Joined, JoinError> {
    let record = Record::of(identity_file);
    let written = record.read()?.filter(|written| written.word == fingerprint(word));
    if let Some(Written { state: State::Joined { server, name }, .. }) = &written
        && let Some(identity) = Identity::load(identity_file)?
    {
        return Ok(Joined { server: *server, name: name.clone(), control_url: url_of(word), identity });
    }
    let pending = match written.map(|written| written.state) {
        Some(State::Asking { key }) => PendingIdentity::from_key_pem(&key)?,
        _ => {
            let pending = PendingIdentity::make()?;
            record.write(word, State::Asking { key: pending.key_pem() })?;
            pending
        }
    };
    let answer = ask(word, description, &pending).await?;
    let identity = certified(word, pending, &answer, clock)?;
    identity.save(identity_file)?;
    record.write(word, State::Joined { server: answer.server, name: answer.name.clone() })?;
    Ok(Joined { server: answer.server, name: answer.name, control_url: url_of(word), identity })
}

fn url_of(word: &JoinWord) -> String {
    format!("https://{}", word.url.authority())
}

async fn ask(
    word: &JoinWord,
    description: &Description,
    pending: &PendingIdentity,
) -> Result<JoinAnswer, JoinError> {
    let client = Client::new(&word.url.to_string(), Some(Bearer::new(word.secret.reveal())?))?;
    let Description { name, private_address, public_address, agent_address, capacity, version } =
        description.clone();
    let request = JoinRequest {
        request: pending.request()?,
        name,
        private_address,
        public_address,
        agent_address,
        capacity,
        version,
    };
    let (began, mut tries) = (Instant::now(), 0);
    loop {
        match client.join(&request).await {
            Err(error) if error.is_absence() && began.elapsed() < ASK_FOR => {
                tracing::debug!("{}", pando_rt::error_chain::error_chain(&error));
                tokio::time::sleep(TRY_AGAIN.nth(tries)).await;
                tries += 1;
            }
            answer => return Ok(answer?),
        }
    }
}

/// The identity, if the answer is of the authority that the word pins, and for this key.
fn certified(
    word: &JoinWord,
    pending: PendingIdentity,
    answer: &JoinAnswer,
    clock: &Clock,
) -> Result<Identity, JoinError> {
    if answer.authority.fingerprint() != word.url.fingerprint {
        return Err(JoinError::NotOurs);
    }
    let now = Timestamp::from_millis(clock.now_millis());
    let identity = pending.certified(&answer.certificate, answer.authority.clone(), now)?;
    if identity.subject() != Subject::Server(answer.server) {
        return Err(JoinError::NotOurs);
    }
    Ok(identity)
}

/// Tells one word from another, and gives none away.
fn fingerprint(word: &JoinWord) -> String {
    hex::encode(Sha256::digest(word.to_string()))
}

/// How far joining has come, beside the identity.
struct Record {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Written {
    word: String,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// With this key. Whether the control plane has answered is not known.
    Asking {
        key: String,
    },
    Joined {
        server: ServerId,
        name: ServerName,
    },
}

impl Record {
    fn of(identity_file: &Path) -> Self {
        let mut path = identity_file.to_owned().into_os_string();
        path.push(".join");
        Self { path: path.into() }
    }

    fn read(&self) -> Result<Option<Written>, JoinError> {
        let failed = |source| JoinError::File { doing: "read", path: self.path.clone(), source };
        let bytes = pando_rt::fs::read_if_there(&self.path).map_err(failed)?;
        // The error's own words may quote the file, and so the key.
        let damaged = |_| JoinError::Damaged { path: self.path.clone() };
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(damaged)).transpose()
    }

    fn write(&self, word: &JoinWord, state: State) -> Result<(), JoinError> {
        let failed = |source| JoinError::File { doing: "write", path: self.path.clone(), source };
        let written = Written { word: fingerprint(word), state };
        let bytes = serde_json::to_vec(&written).map_err(|error| failed(error.into()))?;
        pando_rt::fs::write_atomically(&self.path, &bytes, 0o600).map_err(failed)
    }
}
