//! The program on disk is replaced by a newer one while it runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::bed::{Bed, Settings, kill};
use super::load::Load;
use crate::answer::told;

#[test]
fn e2e_an_update_replaces_the_load_balancer_and_nobody_notices() {
    let bed = Bed::prepare(Settings::default());
    let program = bed.path("bin/pando");
    install(&program);
    let port = bed.port.to_string();
    let mut up = Command::new(&program);
    up.args(["dev", "--detach", "--port", &port]).current_dir(bed.dir()).stdin(Stdio::null());
    let up = up.env_remove("PANDO_CLUSTER_URL").env_remove("PANDO_TOKEN").output().unwrap();
    assert!(up.status.success(), "{}", told(&up));
    bed.wait_until_settled(3);
    let load = Load::start(&bed.address(), 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("ws://{}/ws", bed.address());
    let (mut socket, _) = runtime.block_on(tokio_tungstenite::connect_async(&url)).unwrap();
    for round in 0..2 {
        let before = bed.proxy_pid();
        install(&program);
        // The daemon is started again by whoever keeps it, from what is installed now.
        kill(bed.daemon_pid());
        let deadline = Instant::now() + Duration::from_secs(30);
        while bed.proxy_pid() == before {
            assert!(Instant::now() < deadline, "the load balancer is not replaced: {}", bed.daemon_log());
            std::thread::sleep(Duration::from_millis(20));
        }
        load.wait_for_requests(100);
        assert!(Path::new(&format!("/proc/{before}")).exists(), "it has a WebSocket yet");
        runtime.block_on(async {
            let text = format!("after update {round}");
            socket.send(Message::text(text.clone())).await.unwrap();
            let heard = async {
                while let Some(message) = socket.next().await {
                    if message.expect("the WebSocket is open").to_text().is_ok_and(|got| got.contains(&text))
                    {
                        return;
                    }
                }
                panic!("the WebSocket was closed");
            };
            tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
        });
    }
    let requests = load.stop_flawless();
    println!("2 updates of the program: {requests} requests, 0 failed, the WebSocket lives");
    bed.wait_until_settled(3);
}

/// Another file in the same place, as package managers do it.
fn install(program: &Path) {
    let beside = program.with_extension("new");
    std::fs::copy(env!("CARGO_BIN_EXE_pando"), &beside).unwrap();
    std::fs::rename(&beside, program).unwrap();
}
