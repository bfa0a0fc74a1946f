//! The port accepts a connection.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::TcpStream;

pub(super) async fn check(address: SocketAddr) -> Result<(), String> {
    connect(address).await.map(drop)
}

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| in_words(&error))
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => format!("can't connect: {error}"),
    }
}
