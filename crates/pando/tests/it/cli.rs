//! The real binary against files, terminals and a control plane that says what a test wants: words in, lines and exit codes out.

mod cert;
mod cluster;
mod deploy;
mod exec;
mod fake;
mod file;
mod firewall;
mod help;
mod lb;
mod live;
mod logs;
mod place;
mod server;
mod status;
mod targets;
mod token;
mod words;
mod world;
