//! Commands about the file: what is wrong with it, and a first one.

use super::place::Place;

#[test]
fn every_problem_of_the_file_is_told_at_once() {
    let place = Place::empty();
    place.write(
        "pando.yaml",
        "name: Hits!\nsource: .\nreplica: 3\nport: eighty\nprocesses: {web: {command: bin/web}}\n",
    );
    insta::assert_snapshot!(place.pando(&["check"]));
    let said = place.pando(&["check"]).stderr;
    for args in [&["deploy"][..], &["dev"]] {
        assert_eq!(place.pando(args).expect(2).stderr, said, "{args:?}");
    }
    // Where the file only names the app, there is another way to do that.
    for args in [&["status"][..], &["logs"], &["rollback"]] {
        let expected = format!("{said}  help: `--app NAME` does without the file\n");
        assert_eq!(place.pando(args).expect(2).stderr, expected, "{args:?}");
    }
    let error = &place.pando(&["deploy", "--json"]).expect(2).json()["error"];
    assert_eq!(error["code"], "invalid_file");
    let lines: Vec<_> =
        error["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!(lines, [1, 3, 4]);
}

#[test]
fn a_missing_unreadable_or_odd_file_is_told() {
    let place = Place::empty();
    for args in [&["check"][..], &["deploy"], &["logs"], &["dev"]] {
        let said = place.pando(args);
        assert!(
            said.expect(2).stderr.contains("there is no pando.yaml here or in a directory above"),
            "{args:?}: {said}"
        );
    }
    let named = place.pando(&["check", "-c", "other.yaml"]);
    assert!(
        named.expect(2).stderr.contains("other.yaml") && named.stderr.contains("no such file"),
        "{named}"
    );
    place.write("pando.yaml", "name: a\nsource: .\n");
    place.write("pando.json", "{}");
    let both = place.pando(&["check"]);
    assert!(both.expect(2).stderr.contains("both `pando.yaml` and `pando.json`"), "{both}");
}

#[test]
fn what_would_break_on_a_second_server_is_a_warning() {
    let place = Place::with_app();
    assert_eq!(place.pando(&["check"]).expect(0).stdout, "pando.yaml: all is well\n");
    place.write(
        "pando.yaml",
        "name: hits\nsource: .\nenv:\n  - {name: DATABASE_URL, value: \"sqlite:///srv/hits.db\"}\nprocesses: {web: {command: bin/web}}\n",
    );
    insta::assert_snapshot!(place.pando(&["check"]));
    let told = place.pando(&["check", "--json"]).expect(0).json();
    assert_eq!((&told["valid"], &told["problems"][0]["severity"]), (&true.into(), &"warning".into()));
}

#[test]
fn what_this_version_can_not_run_is_refused_with_its_places() {
    let place = Place::empty();
    place.write(
        "pando.yaml",
        "name: hits\nsource: .\ndeployment_strategy: blue_green\nprocesses: {web: {command: bin/web}}\n",
    );
    insta::assert_snapshot!(place.pando(&["check"]));
    let deploy = place.pando(&["deploy", "--cluster", "http://127.0.0.1:1"]);
    assert!(deploy.expect(2).stderr.contains("pando.yaml:3:22"), "{deploy}");
}

#[test]
fn the_nearest_file_above_is_used() {
    let place = Place::with_app();
    place.write("app/models/user.rb", "");
    let mut command = place.command(&["check"]);
    let said = place.said(&command.current_dir(place.path("app/models")).output().unwrap());
    assert_eq!(said.expect(0).stdout, "../../pando.yaml: all is well\n");
}

#[test]
fn init_writes_a_valid_file_from_what_is_there() {
    let place = Place::empty();
    place.write("Procfile", "web: bin/web -p $PORT\nworker: bin/work\nrelease: bin/migrate\n");
    let said = place.pando(&["init", "--name", "shop"]);
    assert_eq!(
        said.expect(0).stdout,
        "wrote `pando.yaml` from `Procfile`; next: `pando check`, then `pando dev`\n",
        "{said}"
    );
    assert!(place.read("pando.yaml").contains("name: shop"), "{}", place.read("pando.yaml"));
    place.pando(&["check"]).expect(0);
    let again = place.pando(&["init"]);
    assert!(again.expect(4).stderr.contains("`--force` writes over it"), "{again}");
    place.pando(&["init", "--force"]).expect(0);
}

#[test]
fn init_says_what_it_could_not_carry_over() {
    let place = Place::empty();
    place.write(
        "compose.yaml",
        "services:\n  web:\n    image: my-org/web:1\n    ports: ['80:3000']\n    cap_add: [NET_ADMIN]\n",
    );
    let said = place.pando(&["init", "--json", "--name", "shop"]);
    let notes = said.expect(0).json()["notes"].to_string();
    assert!(notes.contains("cap_add"), "{said}");
    let told = place.pando(&["init", "--force", "--name", "shop"]);
    assert!(told.expect(0).stderr.contains("cap_add"), "{told}");
    assert!(place.read("pando.yaml").contains("cap_add"));
}

#[test]
fn init_reads_several_files_and_makes_apps_of_their_services() {
    let place = Place::empty();
    place.write(
        "compose.yaml",
        "services:\n  web: {build: ., ports: ['80:3000'], environment: {DATABASE_URL: 'postgres://a@db/a', KEY: '${KEY}'}}\n  \
         api: {build: ./api, ports: ['4000']}\n  db: {image: 'postgres:16'}\n",
    );
    place.write("compose.prod.yaml", "services: {web: {command: bin/web}}");
    place.write("Dockerfile", "FROM scratch\n");
    place.write("api/Dockerfile", "FROM scratch\n");
    let said =
        place.pando(&["init", "--from", "compose.yaml", "--from", "compose.prod.yaml", "--name", "shop"]);
    assert_eq!(
        said.expect(0).stdout,
        "wrote `pando.yaml` from `compose.yaml` and `compose.prod.yaml`; next: `pando check`, then `pando dev`\n"
    );
    assert!(place.read("pando.yaml").contains("command: bin/web"));
    assert!(said.stderr.contains("--from compose.yaml --service api -c api/pando.yaml"), "{said}");
    place.pando(&["check"]).expect(0);
    place.pando(&["init", "--from", "compose.yaml", "--service", "api", "-c", "api/pando.yaml"]).expect(0);
    let api = place.read("api/pando.yaml");
    assert!(api.contains("name: api") && api.contains("context: ../api\n"), "{api}");
    place.pando(&["check", "-c", "api/pando.yaml"]).expect(0);
    place.write("odd.txt", "service: shop\nimage: a/b\n");
    let told = place.pando(&["init", "--force", "--from", "odd.txt", "--kind", "kamal"]);
    assert!(told.expect(0).stdout.contains("odd.txt"), "{told}");
    let nobody = place.pando(&["init", "--force", "--from", "compose.yaml", "--service", "nobody"]);
    assert!(nobody.expect(2).stderr.contains("no service `nobody`"), "{nobody}");
}

#[test]
fn init_in_an_empty_directory_writes_a_template_that_is_valid() {
    let place = Place::empty();
    place.pando(&["init", "--name", "new-app"]).expect(0);
    place.pando(&["check"]).expect(0);
    let refused = place.pando(&["init", "--force", "--from", "notes.txt"]);
    refused.expect(2);
    assert!(place.read("pando.yaml").contains("new-app"), "a refusal changes nothing");
}
