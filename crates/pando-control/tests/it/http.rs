//! The API over real sockets, with its typed client.

mod agents;
mod artifacts;
mod bounds;
mod deployments;
mod document;
mod gate;
mod relay;
mod tokens;
mod wishes;
