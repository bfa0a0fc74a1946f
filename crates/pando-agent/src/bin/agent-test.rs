//! For this crate's tests: the leader and the shim as an executable of their own, an agent that can be killed, and a small
//! web server to be a replica; and both ends of connections, to see who reaches whom.

#[path = "agent-test/knock.rs"]
mod knock;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use pando_agent::{Agent, Leader, Settings, Trust};
use pando_api::auth::Bearer;
use pando_rt::shutdown::{Shutdown, termination};
use pando_runtime::logs::LogSettings;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_runtime::shim;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["leader", ..] => Err(pando_agent::leader::become_leader(std::env::args_os().skip(2)).into()),
        ["shim", "run", "--dir", dir] => return shim::run_shim(Path::new(dir)),
        ["agent", server, state_dir, control, users] => {
            let order = Order { users: users == "users", ..Order::new(server, state_dir, control) };
            agent(order)
        }
        ["filter", server, state_dir, control, address] => filter(server, state_dir, control, address),
        ["listen", ref ports @ ..] => knock::listen(ports),
        ["knock", ref places @ ..] => knock::knock(places),
        ["web"] => web(),
        _ => Err("unknown words".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent-test: {error}");
            ExitCode::from(126)
        }
    }
}

/// What an agent is told.
struct Order<'a> {
    server: &'a str,
    state_dir: &'a Path,
    control: &'a str,
    users: bool,
    address: IpAddr,
    listen: SocketAddr,
    firewall: bool,
}

impl<'a> Order<'a> {
    fn new(server: &'a str, state_dir: &'a str, control: &'a str) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            server,
            state_dir: Path::new(state_dir),
            control,
            users: false,
            address,
            listen: SocketAddr::new(address, 0),
            firewall: false,
        }
    }
}

/// An agent that is reached at an address of its own, whose packet filter it keeps. It speaks with the control plane through a
/// relay: in clear that is done with this machine alone.
fn filter(server: &str, state_dir: &str, control: &str, address: &str) -> Result<(), Failure> {
    let address = address.parse()?;
    let control = format!("http://{}", knock::relay(control.parse()?)?);
    let listen = SocketAddr::new(address, 7421);
    agent(Order { address, listen, firewall: true, ..Order::new(server, state_dir, &control) })
}

/// An agent over real processes, until SIGTERM.
fn agent(order: Order<'_>) -> Result<(), Failure> {
    let Order { server, state_dir, control, users, address, listen, firewall } = order;
    let program = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let processes = ProcessRuntime::open(process_settings(state_dir, &program), &shutdown)?;
        let logs = processes.logs();
        let settings = Settings {
            server: server.parse()?,
            name: "main".parse()?,
            state_dir: state_dir.to_owned(),
            control_url: control.to_owned(),
            listener: tokio::net::TcpListener::bind(listen).await?,
            trust: Trust::Tokens {
                control: Bearer::new("pando_for-control")?,
                own: Bearer::new("pando_for-the-agent")?,
            },
            proxy_socket: None,
            entry_keeper: None,
            users,
            address,
            firewall,
            leader: Leader { program, args: vec!["leader".into()] },
            commands: Some(processes.commands()),
            containers: None,
            default_env: BTreeMap::new(),
            engine: pando_image::engine::DEFAULT_SOCKET.into(),
            prune_below: 0,
        };
        std::fs::write(state_dir.join("api"), settings.listener.local_addr()?.to_string())?;
        let ending = shutdown.clone();
        tokio::spawn(async move {
            // Without signals it is killed, which is what it is for.
            let _ = termination().await;
            ending.begin();
        });
        Ok(Agent::run(settings, Arc::new(processes), logs, shutdown).await?)
    })
}

fn process_settings(state_dir: &Path, program: &Path) -> ProcessSettings {
    ProcessSettings {
        state_dir: state_dir.to_owned(),
        shim_program: PathBuf::from(program),
        shim_args: vec!["shim".to_owned()],
        log: LogSettings::default(),
        use_cgroups: false,
        default_env: BTreeMap::new(),
    }
}

/// Answers every request on `PORT` with its process id; with 503 while there is a file `sick` in its directory.
fn web() -> Result<(), Failure> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening on {port}");
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 4096];
        // Probes may say nothing.
        let _ = stream.read(&mut request);
        let status = if Path::new("sick").exists() { "503 Sick" } else { "200 OK" };
        let pid = std::process::id().to_string();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{pid}", pid.len());
        let _ = stream.write_all(answer.as_bytes());
    }
}
