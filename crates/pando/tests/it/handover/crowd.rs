//! A crowd at a load balancer that may open few files.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::stage::{self, Stage, until};

/// Of these, the load balancer keeps 128 for itself.
const FILES: usize = 400;

fn hold(stage: &Stage) -> TcpStream {
    let mut client = TcpStream::connect(stage.address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        let mut some = [0; 512];
        let count = client.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend(&some[..count]);
    }
    client.set_nonblocking(true).unwrap();
    client
}

fn is_open(client: &mut TcpStream) -> bool {
    client.read(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Who waits for nothing takes one file, not two; where there are none left, some of these go, and requests are answered.
#[test]
fn those_who_wait_for_nothing_take_one_file_each_and_make_room() {
    let stage = Stage::new();
    let program = stage.path("few-files");
    let script = format!("#!/bin/sh\nulimit -n {FILES}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_pando"));
    stage::install_script(&program, &script);
    let serving = stage.start_program(&program, &["--workers", "1"], &[]);
    stage.wait_until_served();
    let mut crowd: Vec<TcpStream> = (0..230).map(|_| hold(&stage)).collect();
    assert!(crowd.iter_mut().all(is_open), "more than half as many as there are files");
    let mut more = Vec::new();
    for _ in 0..150 {
        let mut client = TcpStream::connect(stage.address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        more.push(client);
        stage.wait_until_served();
    }
    assert!(crowd.iter_mut().map(is_open).filter(|open| *open).count() > 150, "half heads go first");
    let next = stage.start_program(&program, &["--upgrade", "--workers", "1"], &[]);
    stage.wait_for_log(&serving, "a successor serves");
    stage.wait_until_served();
    drop((crowd, more));
    until("the elder has ended", || !serving.is_running());
    assert!(next.is_running(), "{}", next.log());
}
