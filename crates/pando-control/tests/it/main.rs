//! The control plane with real files, sockets and processes.

mod store;
