//! The inputs that fuzzing has kept.

use std::fs;
use std::path::PathBuf;

fn corpus(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "corpus", name].iter().collect()
}

#[test]
fn every_kept_input_holds_its_property() {
    for (name, property) in pando_fuzz::ALL {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            std::panic::catch_unwind(|| property(&data))
                .unwrap_or_else(|_| panic!("{}: {:?}", path.display(), String::from_utf8_lossy(&data)));
            inputs += 1;
        }
        assert!(inputs >= 10, "{name} has {inputs} inputs");
    }
}
