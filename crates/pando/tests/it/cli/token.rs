//! Access tokens: what is asked for, and a text that is shown once and alone on stdout.

use serde_json::json;

use super::fake::{Answer, Fake};
use super::place::Place;

fn fake() -> Fake {
    Fake::new(|asked| {
        let info = |scope: &serde_json::Value| {
            let mut info =
                json!({ "id": "0f3a9c5e1b7d2846", "name": "ci", "created_at": "2026-01-01T12:00:00Z" });
            for key in ["scope", "apps"] {
                if let Some(value) = scope.get(key) {
                    info[key] = value.clone();
                }
            }
            info
        };
        match asked.method.as_str() {
            "POST" => Answer::ok(json!({ "token": "pando_secret", "info": info(&asked.json()) })),
            "DELETE" => Answer::ok(json!(null)),
            _ => Answer::ok(
                json!({ "tokens": [info(&json!({ "scope": "deploy", "apps": ["hits", "shop"] })), info(&json!({ "scope": "admin" }))] }),
            ),
        }
    })
}

#[test]
fn a_token_is_made_for_what_it_is_for() {
    let fake = fake();
    let place = Place::with(&fake);
    let said = place.pando(&[
        "token",
        "create",
        "--scope",
        "deploy",
        "--app",
        "hits,shop",
        "--expires",
        "90d",
        "--name",
        "ci",
    ]);
    assert_eq!(said.expect(0).stdout, "pando_secret\n", "nothing but the token: {said}");
    assert!(said.stderr.contains("shown this once") && !said.stderr.contains("secret"), "{said}");
    let request = fake.only("POST /v1/tokens").json();
    assert_eq!(
        request,
        json!({ "name": "ci", "scope": "deploy", "apps": ["hits", "shop"], "expires_in": 7_776_000_000_u64 })
    );
}

#[test]
fn a_scope_that_makes_no_sense_is_refused_before_anything_is_asked() {
    let fake = fake();
    let place = Place::with(&fake);
    let none = place.pando(&["token", "create", "--scope", "deploy"]);
    assert!(none.expect(2).stderr.contains("name them: `--app hits --app shop`"), "{none}");
    let odd = place.pando(&["token", "create", "--scope", "read", "--app", "hits"]);
    assert!(odd.expect(2).stderr.contains("`--app` goes with the scope `deploy`"), "{odd}");
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn tokens_are_listed_and_removed() {
    let fake = fake();
    let place = Place::with(&fake);
    let said = place.pando(&["token", "ls"]);
    let table = said.expect(0).stdout.clone();
    assert!(
        table.contains("0f3a9c5e1b7d2846  ci    deploy hits, shop") && table.contains("admin"),
        "{table}"
    );
    assert_eq!(
        place.pando(&["token", "rm", "0F3A9C5E1B7D2846"]).expect(0).stdout,
        "removed 0f3a9c5e1b7d2846\n"
    );
    fake.only("DELETE /v1/tokens/0f3a9c5e1b7d2846");
}
