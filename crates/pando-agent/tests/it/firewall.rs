//! Packet filters on real networks: servers as network namespaces on a bridge, with nftables in each.
//!
//! Needs root and `nft`. Without them the tests fail and say so, unless `PANDO_TEST_UNPRIVILEGED=1` says that this is known.

mod bed;
mod changes;
mod matrix;
mod published;
mod sessions;
mod ufw;
