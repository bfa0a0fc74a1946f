//! What a server tells about itself before an image is sent.

use super::support::Served;

#[tokio::test]
async fn a_server_tells_its_platform_and_its_room_without_an_engine_too() {
    let served = Served::start().await;
    std::fs::create_dir_all(served.root.path().join("releases")).unwrap();
    let facts = served.client().host().await.unwrap();
    assert_eq!(facts.platform.os, "linux");
    assert!(!facts.platform.architecture.is_empty());
    assert_eq!(facts.state.path, served.root.path().join("releases").display().to_string());
    assert!(facts.state.total_bytes > 0 && facts.state.free_bytes <= facts.state.total_bytes, "{facts:?}");
    let trouble = facts.trouble.unwrap();
    assert!(trouble.contains("no-engine.sock"), "{trouble}");
    assert_eq!(facts.engine, None);
}
