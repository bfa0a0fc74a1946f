//! The words of `pando server`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use pando_model::name::{RoleName, ServerName};

/// Add servers, say what they are for, empty and remove them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando server add 10.0.0.2 --role worker
  pando server ls
  pando server roles main +web -worker
  pando server drain app-2            before a reboot
  pando server rm app-2")]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    pub(crate) command: ServerCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    Add(Box<ServerAddArgs>),
    /// List the servers
    #[command(visible_alias = "list", after_help = "Examples:\n  pando server ls\n  pando server ls --json")]
    Ls,
    /// Show one server: what it is for, what runs there, what it waits for
    #[command(after_help = "Examples:\n  pando server show app-2")]
    Show {
        /// As `pando server ls` shows it
        #[arg(value_name = "NAME")]
        name: ServerName,
    },
    Roles(ServerRolesArgs),
    Labels(ServerLabelsArgs),
    Drain(ServerDrainArgs),
    Undrain(ServerUndrainArgs),
    Rm(ServerRmArgs),
    Join(ServerJoinArgs),
    Start(ServerStartArgs),
}

/// Install Pando on a machine over SSH, and let it join the cluster
#[derive(Debug, Args)]
#[command(after_help = "\
Your own ssh is used, with your keys and ~/.ssh/config. There must be a way to root: log in as root, or as somebody whose \
sudo asks for no password. It may be repeated: what is there already stays as it is.

Examples:
  pando server add 203.0.113.8 --role web --role worker --private-ip 10.0.0.2
  pando server add admin@app-2.example.com --role web -i ~/.ssh/servers
  pando server add app-3 --role lb --public-ip 203.0.113.9 --dry-run
  pando server add app-4 --role web --install-docker       for apps that are images")]
pub(crate) struct ServerAddArgs {
    /// [USER@]HOST, as ssh takes it
    #[arg(value_name = "HOST", value_parser = ssh_host)]
    pub(crate) host: String,
    /// What it is for (repeatable)
    #[arg(long = "role", value_name = "ROLE", required = true, num_args = 1.., value_delimiter = ',')]
    pub(crate) roles: Vec<RoleName>,
    /// Its name in the cluster [default: HOST's first label]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ServerName>,
    /// Its address on the network that the servers share [default: the one that it reaches the control plane from]
    #[arg(long, value_name = "IP")]
    pub(crate) private_ip: Option<IpAddr>,
    /// Its address on the internet, if it has one of its own
    #[arg(long, value_name = "IP")]
    pub(crate) public_ip: Option<IpAddr>,
    /// Log in as this user
    #[arg(short = 'l', long, value_name = "USER", value_parser = ssh_user)]
    pub(crate) ssh_user: Option<String>,
    /// The port of its SSH
    #[arg(short = 'p', long, value_name = "PORT")]
    pub(crate) ssh_port: Option<u16>,
    /// A private key
    #[arg(short = 'i', long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Another configuration of ssh
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Where the control plane is for the new server [default: its private address, or else where it is for you]
    #[arg(long, value_name = "URL")]
    pub(crate) control_url: Option<String>,
    /// Install this program, such as one that was built for another kind of machine [default: this very one]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Install Docker's engine from the packages of its distribution, and start it, unless one answers there
    #[arg(long)]
    pub(crate) install_docker: bool,
    /// Look at the machine and say what would be done there
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Give a server roles, and take others
#[derive(Debug, Args)]
#[command(after_help = "\
What runs where follows at once: a process runs on the servers with its role. Nothing is stopped before it is ready \
elsewhere; the last server of a role that something needs keeps it.

Examples:
  pando server roles app-2 +worker
  pando server roles main -worker +db")]
pub(crate) struct ServerRolesArgs {
    /// As `pando server ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: ServerName,
    /// Such as +worker to give, and -web to take
    #[arg(value_name = "+ROLE|-ROLE", required = true)]
    pub(crate) changes: Vec<RoleChange>,
    #[command(flatten)]
    pub(crate) act: ActArgs,
}

/// How a change of a server is made and waited for.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ActArgs {
    /// Even if something has nowhere to run then
    #[arg(long)]
    pub(crate) force: bool,
    /// Return at once; it goes on by itself
    #[arg(long, visible_alias = "no-wait")]
    pub(crate) detach: bool,
}

/// Give a server labels, and take others
#[derive(Debug, Args)]
#[command(after_help = "\
A process of the app's file may be tied to labels.

Examples:
  pando server labels app-2 zone=a disk=ssd
  pando server labels app-2 disk-           remove it")]
pub(crate) struct ServerLabelsArgs {
    /// As `pando server ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: ServerName,
    /// Such as zone=a to set, and zone- to remove
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    pub(crate) changes: Vec<LabelChange>,
    #[command(flatten)]
    pub(crate) act: ActArgs,
}

/// Empty a server; it stays in the cluster
#[derive(Debug, Args)]
#[command(after_help = "\
What runs there is ready elsewhere first; requests under way may end. Ctrl-C leaves it going on.

Examples:
  pando server drain app-2 && ssh app-2 reboot
  pando server undrain app-2                and take work again")]
pub(crate) struct ServerDrainArgs {
    /// As `pando server ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: ServerName,
    #[command(flatten)]
    pub(crate) act: ActArgs,
}

/// Let a server take work again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pando server undrain app-2")]
pub(crate) struct ServerUndrainArgs {
    /// As `pando server ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: ServerName,
}

/// Empty a server and remove it from the cluster
#[derive(Debug, Args)]
#[command(after_help = "\
What runs there is ready elsewhere first. A server that is dead is forgotten at once with --force; should it come back, \
nobody listens to it.

Examples:
  pando server rm app-2
  pando server rm app-2 --force             it is gone for good")]
pub(crate) struct ServerRmArgs {
    /// As `pando server ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: ServerName,
    #[command(flatten)]
    pub(crate) act: ActArgs,
}

/// Let this machine join a cluster; what `pando cluster token` prints
#[derive(Debug, Args)]
#[command(after_help = "\
Run it as root on the new server, then start the daemon: `systemctl enable --now pando`.

Examples:
  pando server join pando-join-…
  pando server join - < word              keep it out of the list of processes
  pando server join pando-join-… --name app-2 --private-ip 10.0.0.2")]
pub(crate) struct ServerJoinArgs {
    /// The word that `pando cluster token` printed; `-`: read it from stdin
    #[arg(value_name = "WORD")]
    pub(crate) word: String,
    /// This server's name in the cluster [default: what the word says, or the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ServerName>,
    /// This server's address on the network that the servers share [default: the one that it reaches the control plane from]
    #[arg(long, value_name = "IP")]
    pub(crate) private_ip: Option<IpAddr>,
    /// This server's address on the internet, if it has one of its own
    #[arg(long, value_name = "IP")]
    pub(crate) public_ip: Option<IpAddr>,
    /// Where the load balancer listens while this server is an entry point (repeatable)
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:80")]
    pub(crate) http: Vec<SocketAddr>,
    /// Where it listens for TLS (repeatable) [default: port 443 wherever it listens on port 80]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) https: Vec<SocketAddr>,
    /// Where everything that must last lies
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pando")]
    pub(crate) state_dir: PathBuf,
    /// Only see whether the control plane can be reached from here, and is the right one
    #[arg(long)]
    pub(crate) check: bool,
}

/// Stands for the hyphen of `-web`, so that it is not taken for the flags `-w -e -b`.
const MINUS: char = '\u{2212}';

/// The words with each `-ROLE` of `pando server roles` shielded from being read as flags.
pub(crate) fn shielded(words: &[OsString]) -> Vec<OsString> {
    let pair = words.windows(2).position(|pair| pair[0] == "server" && pair[1] == "roles");
    let from = pair.map_or(words.len(), |place| place + 2);
    let shield = |(place, word): (usize, &OsString)| match taken_role(word) {
        Some(role) if place >= from => format!("{MINUS}{role}").into(),
        _ => word.clone(),
    };
    words.iter().enumerate().map(shield).collect()
}

/// `web` of `-web`. One letter is a flag, and so is whatever begins with two hyphens.
fn taken_role(word: &OsStr) -> Option<&str> {
    let role = word.to_str()?.strip_prefix('-')?;
    (role.len() > 1 && RoleName::new(role).is_ok()).then_some(role)
}

/// `+worker` or `-web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleChange {
    Add(RoleName),
    Remove(RoleName),
}

impl FromStr for RoleChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |text: &str| RoleName::new(text).map_err(|error| error.to_string());
        if let Some(role) = text.strip_prefix('+') {
            return Ok(Self::Add(name(role)?));
        }
        match text.strip_prefix(['-', MINUS]) {
            Some(role) => Ok(Self::Remove(name(role)?)),
            None => Err(format!("say `+{text}` to give that role, `-{text}` to take it")),
        }
    }
}

/// What is to be given, and what is to be taken.
pub(crate) fn roles_of(changes: &[RoleChange]) -> (BTreeSet<RoleName>, BTreeSet<RoleName>) {
    let (mut add, mut remove) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        match change {
            RoleChange::Add(role) => add.insert(role.clone()),
            RoleChange::Remove(role) => remove.insert(role.clone()),
        };
    }
    (add, remove)
}

/// `zone=a` or `zone-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelChange {
    Set(String, String),
    Remove(String),
}

impl FromStr for LabelChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((key, value)) = text.split_once('=') {
            return Ok(Self::Set(key.to_owned(), value.to_owned()));
        }
        let removed = text.strip_suffix('-').filter(|key| !key.is_empty());
        removed
            .map(|key| Self::Remove(key.to_owned()))
            .ok_or_else(|| format!("`{text}` is neither KEY=VALUE nor KEY-"))
    }
}

/// What is to be set, and what is to be removed.
pub(crate) fn labels_of(changes: &[LabelChange]) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for change in changes {
        match change {
            LabelChange::Set(key, value) => drop(set.insert(key.clone(), value.clone())),
            LabelChange::Remove(key) => drop(remove.insert(key.clone())),
        }
    }
    (set, remove)
}

impl ServerAddArgs {
    /// Without who logs in.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.rsplit('@').next().unwrap_or_default()
    }
}

/// A word that ssh can't take for one of its options, nor a shell for more than a word.
fn ssh_host(text: &str) -> Result<String, String> {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@' | '%' | '[' | ']');
    let named = !text.rsplit('@').next().unwrap_or_default().is_empty();
    if text.starts_with('-') || !named || !text.chars().all(plain) {
        return Err("it is no [USER@]HOST".to_owned());
    }
    Ok(text.to_owned())
}

fn ssh_user(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    if fits { Ok(text.to_owned()) } else { Err("it is no name of a user".to_owned()) }
}

/// Start this server's daemon, after a boot without systemd
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pando server start")]
pub(crate) struct ServerStartArgs {
    /// Where everything that must last lies
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pando")]
    pub(crate) state_dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_given_with_plus_and_taken_with_minus() {
        let role = |name| RoleName::new(name).unwrap();
        assert_eq!("+worker".parse(), Ok(RoleChange::Add(role("worker"))));
        assert_eq!("-web".parse(), Ok(RoleChange::Remove(role("web"))));
        for bad in ["worker", "+", "-", "+Web", ""] {
            assert!(bad.parse::<RoleChange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn taken_roles_are_no_flags() {
        let shielded = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let words = shielded(&words);
            words
                .iter()
                .map(|word| word.to_str().unwrap().replace(MINUS, "MINUS "))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let roles = "pando --json server roles main -cron +web --force -c x.yaml -cx.yaml -h";
        assert_eq!(shielded(roles), roles.replace("-cron", "MINUS cron"));
        for line in ["pando logs -web", "pando server labels main -cron", "pando server add -p 22"] {
            assert_eq!(shielded(line), line);
        }
    }

    #[test]
    fn labels_are_set_with_a_value_and_removed_with_a_minus() {
        let set = |key: &str, value: &str| Ok(LabelChange::Set(key.to_owned(), value.to_owned()));
        assert_eq!("zone=a".parse(), set("zone", "a"));
        assert_eq!("zone=".parse(), set("zone", ""));
        assert_eq!("a=b=c-".parse(), set("a", "b=c-"));
        assert_eq!("zone-".parse(), Ok(LabelChange::Remove("zone".to_owned())));
        for bad in ["zone", "-", ""] {
            assert!(bad.parse::<LabelChange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_no_options_and_no_shell() {
        for good in ["app-2", "root@10.0.0.2", "me@app.example.com", "fe80::1%eth0", "[::1]"] {
            assert!(ssh_host(good).is_ok(), "{good}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "root@"] {
            assert!(ssh_host(bad).is_err(), "{bad}");
        }
    }
}
