//! Certificates: judged where the files are, listed with whom they serve, removed when nobody is left without.

use pando_model::time::Timestamp;
use serde_json::{Value, json};

use super::fake::{Answer, Fake};
use super::place::Place;

fn info(name: &str, days: i64, apps: &[&str]) -> Value {
    json!({
        "name": name, "source": "imported", "domains": [name], "names": [name, "spare.example"], "issuer": "R11, Let's Encrypt",
        "not_before": "2026-01-01T00:00:00Z", "not_after": Timestamp::from_millis(noon().as_millis() + days * 86_400_000),
        "key": "ECDSA P-256", "fingerprint": "ab".repeat(32), "added_at": "2026-01-01T00:00:00Z", "added_by": "ci", "apps": apps,
    })
}

fn noon() -> Timestamp {
    serde_json::from_value(json!("2026-02-01T12:00:00Z")).unwrap()
}

fn list() -> Value {
    let mut automatic = info("auto.example", 60, &["hits"]);
    automatic["source"] = json!("automatic");
    json!({
        "now": noon(),
        "certificates": [info("*.shop.example", 9, &["shop"]), automatic, info("old.example", -3, &[]), info("x.example", 1, &["hits"])],
        "missing": [{ "domain": "hits.example.com", "app": "hits" }],
    })
}

/// Files `cert.pem` and `key.pem`, for these names.
fn files(place: &Place, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
}

const IMPORT: [&str; 6] = ["cert", "import", "--cert", "cert.pem", "--key", "key.pem"];

#[test]
fn certificates_are_listed_with_what_is_left_and_who_has_none() {
    let fake = Fake::new(|_| Answer::ok(list()));
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["cert", "ls"]));
    let told = place.pando(&["cert", "ls", "--json"]).expect(0).json();
    assert_eq!(told["missing"][0]["domain"], "hits.example.com");
    let none = Fake::new(|_| Answer::ok(json!({ "now": noon(), "certificates": [], "missing": [] })));
    let said = Place::with(&none).pando(&["cert", "ls"]);
    assert_eq!(said.expect(0).stdout, "no certificates; `pando cert import` brings one\n");
}

#[test]
fn an_import_sends_both_files_and_says_until_when() {
    let fake = Fake::new(|_| {
        let certificate = info("shop.example", 60, &["shop"]);
        Answer::ok(
            json!({ "certificate": certificate, "replaced": ["www.shop.example"], "remarks": ["it is odd"] }),
        )
    });
    let place = Place::with(&fake);
    files(&place, &["shop.example", "*.shop.example"]);
    insta::assert_snapshot!(
        place.pando(&[&IMPORT[..], &["--domain", "x.shop.example", "--domain", "Shop.example"]].concat())
    );
    let sent = fake.only("POST /v1/certificates").json();
    assert_eq!(sent["domains"], json!(["x.shop.example", "shop.example"]));
    assert_eq!(sent["chain_pem"], place.read("cert.pem"));
    assert_eq!((&sent["key_pem"], &sent["force"]), (&json!(place.read("key.pem")), &json!(false)));
    let told = place.pando(&[&IMPORT[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(told["certificate"]["name"], "shop.example");
}

#[test]
fn files_are_judged_before_anybody_is_asked() {
    let fake = Fake::new(|_| Answer::refused(500, "internal", "nobody was to ask"));
    let place = Place::with(&fake);
    files(&place, &["shop.example"]);
    let good = place.pando(&[&IMPORT[..], &["--dry-run"]].concat());
    assert!(good.expect(0).stdout.contains("can be served: for shop.example"), "{good}");
    assert!(good.stderr.contains("warning: nobody vouches for it but itself"), "{good}");
    let foreign = place.pando(&[&IMPORT[..], &["--domain", "b.example"]].concat());
    insta::assert_snapshot!("a_foreign_domain", foreign);
    insta::assert_snapshot!(
        "no_such_file",
        place.pando(&["cert", "import", "--cert", "gone.pem", "--key", "key.pem"])
    );
    let turned = place.pando(&["cert", "import", "--cert", "key.pem", "--key", "cert.pem"]);
    insta::assert_snapshot!("files_in_the_wrong_places", turned);
    let key = place.read("key.pem");
    files(&place, &["shop.example"]);
    place.write("key.pem", &key);
    insta::assert_snapshot!("the_key_of_another", place.pando(&IMPORT));
    place.write("key.pem", &"x".repeat(1 << 20));
    assert!(place.pando(&IMPORT).expect(2).stderr.contains("at most 16384"));
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn what_the_control_plane_refuses_is_told() {
    let fake = Fake::new(|asked| match asked.query.as_str() {
        "force=true" => Answer::ok(json!(null)),
        _ => Answer::Json(
            409,
            json!({
                "code": "harmful", "message": "shop.example would be left without a certificate: visitors would be warned off",
                "hint": "import one for it first, or say `--force`",
            }),
        ),
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["cert", "rm", "*.shop.example"]));
    assert_eq!(
        place.pando(&["cert", "rm", "*.shop.example", "--force"]).expect(0).stdout,
        "removed *.shop.example\n"
    );
    assert_eq!(fake.lines(), ["DELETE /v1/certificates/*.shop.example"; 2]);
    assert!(place.pando(&["cert", "rm", "../tokens"]).expect(2).stderr.contains("is not a host"));
}
