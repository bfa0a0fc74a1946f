//! What stands before every route.

use pando_api::v1::agents::LogQuery;
use pando_api::{AgentClient, Bearer, ClientError, ErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Served, TOKEN, beside, within};

/// The whole answer to a request as it stands on the wire.
pub(super) async fn ask(served: &Served, request: &str) -> String {
    within(async {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    })
    .await
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn nothing_but_the_sign_of_life_is_open() {
    let served = Served::start().await;
    let upgrade = "upgrade: pando-exec\r\n";
    for line in [
        "GET /v1/logs?app=shop",
        "GET /v1/logs",
        "GET /v1/host",
        "GET /v1/artifacts/0000000000000000000000000000000000000000000000000000000000000000",
        "HEAD /v1/artifacts/x",
        "POST /v1/exec",
        "GET /v1/exec",
        "DELETE /v1/logs",
        "GET /",
        "GET /v1/other",
        "GET /healthz/",
    ] {
        for token in [
            "",
            "authorization: Bearer wrong\r\n",
            "authorization: Bearer pando_agent_toke\r\n",
            "authorization: Basic x\r\n",
        ] {
            let answer = ask(&served, &request(line, &format!("{token}{upgrade}"))).await;
            assert!(
                answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: Bearer"),
                "{line} {answer}"
            );
        }
    }
    let healthy = ask(&served, &request("GET /healthz", "")).await;
    assert!(healthy.starts_with("HTTP/1.1 200 ") && healthy.ends_with("\r\n\r\nok\n"), "{healthy}");
}

#[tokio::test]
async fn the_client_reads_the_refusal() {
    let served = Served::start().await;
    for token in [None, Bearer::new("pando_wrong").ok()] {
        let client = AgentClient::new(served.address, token).unwrap();
        let logs = client.logs(&LogQuery::default()).await.map(|_| ()).unwrap_err();
        let exec = client.exec(&beside("true")).await.map(|_| ()).unwrap_err();
        for error in [logs, exec] {
            assert!(
                matches!(&error, ClientError::Refused(body) if body.code == ErrorCode::Unauthorized),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn with_the_token_what_is_wrong_is_said() {
    let served = Served::start().await;
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for (line, headers, status, said) in [
        ("GET /v1/other", "", 404, "there is no `/v1/other` here"),
        ("DELETE /v1/logs", "", 400, "`/v1/logs` does not take DELETE"),
        ("GET /v1/logs", "", 400, "an app must be named"),
        ("GET /v1/logs?app=A+B", "", 400, "the query is wrong"),
        ("GET /v1/logs?app=shop&process=web&replica=job-1", "", 400, "job-1 is no replica of `web`"),
        ("POST /v1/exec", "", 400, "this needs `Connection: upgrade`"),
        ("POST /v1/exec", "content-length: 3\r\n", 413, "this takes no body"),
    ] {
        let answer = ask(&served, &request(line, &format!("{token}{headers}"))).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(said),
            "{line} {answer}"
        );
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let served = Served::start().await;
    let answer = ask(&served, &format!("GET /healthz HTTP/1.1\r\nhost: {}", "x".repeat(65 * 1024))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
