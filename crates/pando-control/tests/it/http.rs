//! The API over real sockets, with its typed client.

mod agents;
mod artifacts;
mod balancers;
mod bounds;
mod certificates;
mod deployments;
mod document;
mod gate;
mod images;
mod join;
mod members;
mod prune;
mod registries;
mod relay;
mod servers;
mod settings;
mod tokens;
mod wishes;
