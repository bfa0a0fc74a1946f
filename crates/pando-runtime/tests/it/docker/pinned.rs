//! What is started under a name is what was deployed under it, whatever others call so.

use bollard::query_parameters::{RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use pando_runtime::docker::OneOff;
use pando_runtime::{ImagePlace, RunSpec, Runtime};

use super::bed::{Bed, IMAGE, SOCKET, make_image_as, on_a_thread, spec_in};

/// Two images that say which they are, and a name that is this test's.
struct Two {
    bed: Bed,
    name: String,
    ids: [String; 2],
}

impl Two {
    async fn new(test: &str) -> Self {
        let bed = Bed::new();
        let mut ids = Vec::new();
        for one in ["one", "two"] {
            let reference = format!("pando-test/pinned-{test}-{one}:1");
            let said = format!("ENV WHICH={one}");
            let made = reference.clone();
            on_a_thread(async move { make_image_as(SOCKET.into(), &made, &[&said]).await });
            ids.push(bed.runtime.containers().image(&reference).await.unwrap().id);
        }
        let ids = <[String; 2]>::try_from(ids).unwrap();
        let name = format!("pando-test/pinned-{test}:{}", std::process::id());
        bed.runtime.containers().name(&ids[0], &name).await.unwrap();
        Self { bed, name, ids }
    }

    async fn call(&self, image: &str) {
        let (repository, tag) = self.name.rsplit_once(':').unwrap();
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        self.bed.docker().tag_image(image, Some(options)).await.unwrap();
    }

    fn run(&self) -> RunSpec {
        spec_in(ImagePlace::of(&self.name), "echo $WHICH")
    }

    async fn prints(&mut self) -> Vec<String> {
        let run = self.run();
        self.bed.start(&run).await;
        self.bed.ended(run.key).await;
        let output = self.bed.output("web-1").await;
        self.bed.runtime.forget(run.key).await.unwrap();
        output
    }

    async fn remove(&self, image: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let _ = self.bed.docker().remove_image(image, Some(options), None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_name_gets_its_image_back() {
    let mut two = Two::new("back").await;
    let containers = two.bed.runtime.containers();
    let [one, other] = two.ids.clone();
    // Without a pin, a name is what the engine says.
    two.call(&other).await;
    assert_eq!(two.prints().await, ["two"]);
    containers.pin(&two.name, &one);
    assert_eq!(two.prints().await, ["two", "one"]);
    assert_eq!(containers.image(&two.name).await.unwrap().id, one);
    // Nobody has it any more.
    two.remove(&two.name).await;
    assert_eq!(two.prints().await, ["two", "one", "one"]);
    // One-offs are of the same image.
    two.call(&other).await;
    let one_off = OneOff::of("shop".parse().unwrap(), ImagePlace::of(&two.name));
    let within = pando_runtime::docker::Within::Image(Box::new(one_off));
    let words = ["/bin/sh", "-c", "echo $WHICH"].map(str::to_owned).to_vec();
    let (command, _, mut output) = containers.command(&within, words, &[].into(), None).await.unwrap();
    let piece = output.next().await.unwrap().unwrap();
    assert_eq!(piece.bytes, b"one\n".as_slice());
    command.end().await.unwrap();
    // Once the name is taken away, it means nothing.
    containers.unname(&two.name).await.unwrap();
    two.call(&other).await;
    assert_eq!(two.prints().await.last().unwrap(), "two");
    two.remove(&two.name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_not_replaced_by_what_has_its_name() {
    let two = Two::new("gone").await;
    let containers = two.bed.runtime.containers();
    containers.pin(&two.name, &two.ids[0]);
    two.call(&two.ids[1]).await;
    two.remove(&two.ids[0]).await;
    let said = two.bed.runtime.start(two.run()).await.unwrap_err().to_string();
    assert!(said.contains("calls another image") && said.contains("brought again"), "{said}");
    two.remove(&two.name).await;
    let said = two.bed.runtime.start(two.run()).await.unwrap_err().to_string();
    assert!(said.contains(&format!("has no image `{}`", two.name)), "{said}");
    // Others go on.
    let other = spec_in(ImagePlace::of(IMAGE), "echo up");
    two.bed.start(&other).await;
}
