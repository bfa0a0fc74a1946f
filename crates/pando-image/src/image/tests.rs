use serde_json::json;

use super::*;

fn digest(letter: char) -> Digest {
    Digest::new(letter.to_string().repeat(64)).unwrap()
}

fn layer(letter: char) -> Layer {
    Layer { diff_id: digest(letter), bytes: 10, packed: digest('f'), packed_bytes: 5 }
}

fn config(letters: &str) -> String {
    let ids: Vec<String> = letters.chars().map(|letter| format!("sha256:{}", digest(letter))).collect();
    json!({ "os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": { "type": "layers", "diff_ids": ids } })
        .to_string()
}

#[test]
fn what_was_written_is_read_again_byte_for_byte() {
    let config = config("aba").replace("\":", "\" :\t");
    let image = Image::new(config.clone(), vec![layer('a'), layer('b'), layer('a')]).unwrap();
    let again = Image::read(&image.encode()).unwrap();
    assert_eq!((&again, again.config()), (&image, config.as_str()));
    assert_eq!(image.encode(), again.encode());
    assert_eq!(image.id(), digest_of(config.as_bytes()));
    assert_eq!(image.platform().to_string(), "linux/arm64/v8");
    assert_eq!(image.distinct_layers(), [&layer('a'), &layer('b')]);
}

#[test]
fn layers_that_the_configuration_does_not_name_are_refused() {
    let other = Layer { bytes: 11, ..layer('a') };
    for layers in
        [vec![], vec![layer('b')], vec![layer('a'), layer('a')], vec![layer('a'), layer('b'), other]]
    {
        assert_eq!(Image::new(config("aba"), layers).unwrap_err(), ImageError::Layers);
    }
}

#[test]
fn what_is_too_large_or_of_another_form_is_refused() {
    let huge = Layer { bytes: MOST_LAYER + 1, ..layer('a') };
    let error = Image::new(config("a"), vec![huge]).unwrap_err();
    assert_eq!(error.to_string(), "the layer has 64 GB; 64 GB are the most");
    let many: String = "a".repeat(MOST_LAYERS + 1);
    let error = Image::new(config(&many), vec![layer('a'); MOST_LAYERS + 1]).unwrap_err();
    assert_eq!(error, ImageError::TooMany { count: 257 });
    let long = format!("{}{}", config(""), " ".repeat(MOST_CONFIG));
    assert!(matches!(Image::new(long, vec![]), Err(ImageError::TooLarge { what: "configuration", .. })));
    let image = Image::new(config("a"), vec![layer('a')]).unwrap();
    let newer = String::from_utf8(image.encode()).unwrap().replace("\"pando_image\":1", "\"pando_image\":2");
    assert!(matches!(Image::read(newer.as_bytes()), Err(ImageError::Form(_))));
    assert!(matches!(Image::read(b"\x1f\x8b"), Err(ImageError::Form(_))));
    assert!(matches!(Image::read(&vec![b' '; MOST_DESCRIPTION + 1]), Err(ImageError::TooLarge { .. })));
}

#[test]
fn a_configuration_says_what_it_runs_on_and_what_it_is_made_of() {
    for wrong in [
        "{}",
        r#"{"os":"linux","architecture":"amd64"}"#,
        r#"{"os":"","architecture":"amd64","rootfs":{"diff_ids":[]}}"#,
        r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["md5:00"]}}"#,
        r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:../../etc"]}}"#,
    ] {
        assert!(matches!(Config::read(wrong.as_bytes()), Err(ImageError::Config(_))), "{wrong}");
    }
    let empty = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null}}"#;
    assert_eq!(Config::read(empty.as_bytes()).unwrap().diff_ids, []);
}

#[test]
fn a_platform_runs_where_it_is_native() {
    let platform = |text: &str| {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
        Platform { os, architecture, variant: parts.next() }
    };
    assert_eq!(Platform::of_machine("x86_64"), platform("linux/amd64"));
    assert_eq!(Platform::of_machine("armv7l"), platform("linux/arm/v7"));
    assert_eq!(Platform::of_machine("riscv64"), platform("linux/riscv64"));
    for (image, there, runs) in [
        ("linux/amd64", "linux/amd64", true),
        ("linux/arm64/v8", "linux/arm64", true),
        ("linux/arm/v7", "linux/arm/v6", false),
        ("linux/arm64", "linux/amd64", false),
        ("windows/amd64", "linux/amd64", false),
    ] {
        assert_eq!(platform(image).runs_on(&platform(there)), runs, "{image} on {there}");
    }
}
