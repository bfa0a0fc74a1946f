//! What becomes of commands when somebody leaves: the caller, or the agent.

use futures_util::future::join_all;
use pando_api::stream::Channel;
use pando_api::{ClientError, ErrorCode};

use super::support::{Served, beside, is_alive, read, read_pid, send, until_gone, within};

#[tokio::test]
async fn a_caller_that_leaves_takes_the_whole_session_with_it() {
    let served = Served::start().await;
    for command in [
        "echo $$; exec sleep 1000",
        "sleep 1000 & echo $!; wait",
        "trap '' TERM HUP; echo $$; while true; do sleep 1; done",
        "yes & echo $!; wait",
    ] {
        let mut running = served.exec(&beside(command)).await;
        let pid = if command.starts_with("yes") {
            first_number(&mut running).await
        } else {
            read_pid(&mut running).await
        };
        assert!(is_alive(pid), "{command}");
        drop(running);
        until_gone(pid).await;
    }
}

/// Among `y` lines.
async fn first_number(running: &mut pando_api::client::ExecStream) -> u32 {
    let mut text = String::new();
    loop {
        text.push_str(&super::support::read_until(running, "\n").await);
        let mut lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
        if let Some(pid) = lines.find_map(|line| line.parse().ok()) {
            return pid;
        }
    }
}

#[tokio::test]
async fn also_when_the_command_does_not_read_what_was_sent() {
    let served = Served::start().await;
    let mut running = served.exec(&beside("echo $$; exec sleep 1000")).await;
    let pid = read_pid(&mut running).await;
    // More than the command's pipe holds, and less than the caller's kernel would keep back for want of room.
    for _ in 0..3 {
        send(&mut running, Channel::Stdin, vec![b'x'; 50_000]).await;
    }
    drop(running);
    until_gone(pid).await;
}

#[tokio::test]
async fn the_33rd_command_at_once_is_refused_until_one_has_ended() {
    let served = Served::start().await;
    let mut running = join_all((0..32).map(|_| async { served.exec(&beside("echo $$; cat")).await })).await;
    let pids = join_all(running.iter_mut().map(read_pid)).await;
    let Err(ClientError::Refused(busy)) = served.client().exec(&beside("true")).await else {
        panic!("a 33rd command")
    };
    assert_eq!((busy.code, busy.message.as_str()), (ErrorCode::Busy, "32 commands run here already"));
    drop(running.pop());
    until_gone(pids[31]).await;
    let again = async {
        loop {
            match served.client().exec(&beside("echo again")).await {
                Ok(mut stream) => return read(&mut stream).await,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    assert_eq!(within(again).await.out(), "again\n");
}

#[tokio::test]
async fn the_agents_end_ends_commands_and_tells_their_callers() {
    let served = Served::start().await;
    let mut running = served.exec(&beside("trap '' TERM; echo $$; while true; do sleep 1; done")).await;
    let pid = read_pid(&mut running).await;
    served.shutdown.begin();
    let end = read(&mut running).await.end;
    assert!(end.code == 137 && end.error.unwrap().contains("the agent on its server ends"));
    assert!(!is_alive(pid));
    within(served.serving).await.unwrap();
}
