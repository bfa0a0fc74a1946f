//! How a machine becomes a server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use pando_agent::{Description, JoinError, Joined, join};
use pando_model::id::ServerId;
use pando_trust::{ClusterUrl, Fingerprint, Identity, JoinSecret, JoinWord, Subject};
use uuid::Uuid;

use crate::authority::Cluster;
use crate::control::Control;

struct Bed {
    cluster: Arc<Cluster>,
    control: Control,
    directory: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Self {
        let cluster = Arc::new(Cluster::new());
        let control = Control::certified(Arc::clone(&cluster)).await;
        Self { cluster, control, directory: tempfile::tempdir().unwrap() }
    }

    fn word(&self) -> JoinWord {
        self.word_with(self.cluster.authority.fingerprint(), self.cluster.secret.clone())
    }

    fn word_with(&self, fingerprint: Fingerprint, secret: JoinSecret) -> JoinWord {
        let address = self.control.address();
        JoinWord { url: ClusterUrl::new("127.0.0.1", address.port(), fingerprint).unwrap(), secret }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("identity.json")
    }

    fn record(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("identity.json.join")).unwrap()
    }

    async fn join(&self, word: &JoinWord) -> Result<Joined, JoinError> {
        let description = Description {
            name: "second".parse().unwrap(),
            private_address: "10.0.0.2".parse().unwrap(),
            public_address: None,
            agent_address: "10.0.0.2:7421".parse().unwrap(),
            capacity: pando_agent::capacity::read(),
            version: "0.1.0".to_owned(),
        };
        join(word, &description, &self.file(), &self.cluster.clock).await
    }
}

fn server(n: u128) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(n))
}

#[tokio::test]
async fn a_word_makes_a_server_whose_identity_is_on_disk() {
    let bed = Bed::new().await;
    let joined = bed.join(&bed.word()).await.unwrap();
    assert_eq!((joined.server, joined.name.as_str()), (server(100), "second"));
    assert_eq!(joined.control_url, format!("https://{}", bed.control.address()));
    let kept = Identity::load(&bed.file()).unwrap().unwrap();
    assert_eq!(kept.subject(), Subject::Server(server(100)));
    assert_eq!(kept.certificate_pem(), joined.identity.certificate_pem());
    for name in ["identity.json", "identity.json.join"] {
        let mode = std::fs::metadata(bed.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!bed.record().contains("KEY"), "the key is in one place alone: {}", bed.record());
    assert!(!bed.record().contains(&bed.cluster.secret.reveal()));
    // Once more with the same word: nobody is asked.
    bed.control.go_away().await;
    let again = bed.join(&bed.word()).await.unwrap();
    assert_eq!(
        (again.server, again.name, again.control_url),
        (joined.server, joined.name, joined.control_url)
    );
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_as_the_same_server() {
    let bed = Bed::new().await;
    bed.control.lose_joins(2);
    let joined = bed.join(&bed.word()).await.unwrap();
    assert_eq!((joined.server, bed.control.joined()), (server(100), vec![server(100)]));
}

#[tokio::test]
async fn one_that_was_killed_while_it_asked_goes_on_as_the_same_server() {
    let bed = Bed::new().await;
    bed.control.lose_joins(1);
    let word = bed.word();
    tokio::select! {
        _ = bed.join(&word) => panic!("the answer was lost"),
        () = async { while bed.control.joined().is_empty() { tokio::task::yield_now().await } } => {}
    }
    assert!(Identity::load(&bed.file()).unwrap().is_none());
    let joined = bed.join(&word).await.unwrap();
    assert_eq!((joined.server, bed.control.joined()), (server(100), vec![server(100)]));
}

#[tokio::test]
async fn nobody_but_the_pinned_cluster_hears_the_secret() {
    let bed = Bed::new().await;
    let elsewhere = Cluster::new().authority.fingerprint();
    let error = bed.join(&bed.word_with(elsewhere, bed.cluster.secret.clone())).await.unwrap_err();
    assert!(matches!(error, JoinError::Client(pando_api::ClientError::OtherCluster { .. })), "{error:?}");
    assert!(bed.control.joined().is_empty());
    assert!(Identity::load(&bed.file()).unwrap().is_none());
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_a_new_word_is_a_new_server() {
    let bed = Bed::new().await;
    let fingerprint = bed.cluster.authority.fingerprint();
    let wrong = bed.word_with(fingerprint, JoinSecret::make().unwrap());
    let error = bed.join(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("the token is not known"), "{error}");
    let joined = bed.join(&bed.word()).await.unwrap();
    assert_eq!(joined.server, server(100));
    std::fs::write(bed.directory.path().join("identity.json.join"), "{").unwrap();
    let error = bed.join(&bed.word()).await.unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
}
