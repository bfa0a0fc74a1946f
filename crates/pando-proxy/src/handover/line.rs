//! What two proxies say to each other: JSON, each message after its length.

use std::collections::BTreeMap;
use std::io;

use pando_routing::balance::hash::SecretKey;
use pando_routing::{EndpointId, Table, TableVersion, TicketKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Door;
use crate::live::endpoint::Kept;

/// A table of the largest size, and the health of all that is in it.
const LARGEST: usize = 128 << 20;

/// What the line is called where it is asked for (`Upgrade`).
pub(crate) const PROTOCOL: &str = "pando-takeover-1";

/// Where it is asked for.
pub(crate) const PATH: &str = "/v1/takeover";

/// All that a successor is told first. The listening sockets follow, [`pando_rt::fds::MOST`] at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Estate {
    pub(super) pid: u32,
    /// In the order of the sockets.
    pub(super) doors: Vec<Door>,
    pub(super) table: Option<Table>,
    /// Of a proxy without a table's.
    pub(super) balancing_key: SecretKey,
    /// Made by the proxy itself; empty where they are the table's.
    pub(super) ticket_keys: Vec<TicketKey>,
    pub(super) endpoints: Vec<Kept>,
}

/// What the successor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToElder {
    /// From now on connections are taken here.
    Serving,
    /// A table that came since.
    Table(Box<Table>),
}

/// What it is answered, and told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToSuccessor {
    /// No connection is taken here any more. The table, if it is not the one that was told before, and the requests under way.
    Leaving { table: Option<Box<Table>>, in_flight: BTreeMap<EndpointId, u64> },
    /// A table is in use, or was refused; nothing is begun here against it.
    Followed(TableVersion),
    /// Requests under way here.
    InFlight(BTreeMap<EndpointId, u64>),
}

pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&bytes).await?;
    to.flush().await
}

/// Takes no byte more than the message has.
pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_or_not_at_all() {
        let (mut here, mut there) = tokio::io::duplex(16);
        let version = TableVersion { epoch: 3, revision: 4 };
        let sending = async {
            write(&mut here, &ToSuccessor::Followed(version)).await.unwrap();
            let in_flight = BTreeMap::from([(EndpointId(uuid::Uuid::nil()), 5)]);
            write(&mut here, &ToSuccessor::Leaving { table: None, in_flight }).await.unwrap();
            here.write_all(&[0, 0, 0, 9, b'"']).await.unwrap();
            drop(here);
        };
        let receiving = async {
            let first: ToSuccessor = read(&mut there).await.unwrap();
            assert!(matches!(first, ToSuccessor::Followed(held) if held == version));
            let second: ToSuccessor = read(&mut there).await.unwrap();
            assert!(
                matches!(second, ToSuccessor::Leaving { table: None, in_flight } if in_flight.len() == 1)
            );
            let third = read::<ToSuccessor>(&mut there).await.unwrap_err();
            assert_eq!(third.kind(), io::ErrorKind::UnexpectedEof);
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn a_length_that_nobody_has_memory_for_is_refused() {
        let endless = [0xff; 64];
        let error = read::<ToElder>(&mut &endless[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
