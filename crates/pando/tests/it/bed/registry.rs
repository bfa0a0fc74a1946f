//! A registry of images on the bed's network, which the servers' engines ask in place of Docker's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::Bed;
use super::server::wait_until;

pub(crate) const PORT: u16 = 5000;

/// Ends with the story.
pub(crate) struct Registry {
    child: Child,
    address: Ipv4Addr,
}

impl Registry {
    pub(crate) fn start(bed: &Bed) -> Self {
        let address = bed.servers[0].link.gateway;
        let (config, root) = (bed.path("registry.yml"), bed.path("registry"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}:{PORT}\"}}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry, which `script/test` installs");
        let registry = Self { child, address };
        wait_until("the registry listens", || TcpStream::connect(SocketAddr::from((address, PORT))).is_ok());
        registry
    }

    /// Puts an image of the machine's engine there under another name, by way of a server, whose engine forgets it.
    pub(crate) fn put(&self, bed: &Bed, image: &str, name: &str) {
        let server = &bed.servers[0];
        let there = format!("{}:{PORT}/{name}", self.address);
        server.load_image(image);
        server.docker(&["tag", image, &there]);
        server.docker(&["push", "--quiet", &there]);
        server.docker(&["rmi", &there, image]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
