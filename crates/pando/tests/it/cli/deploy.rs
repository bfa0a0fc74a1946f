//! Deploying, and everything that it may come to.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake::{Answer, Asked, Fake};
use super::place::Place;
use super::world::{DEPLOYMENT, app, deployment, replica, takes_deploys, traffic, view};

/// A control plane that shows one view after the other, and the traffic of before and after.
pub(super) fn shows(views: Vec<Value>, traffics: [Value; 2]) -> Fake {
    let (views_told, traffic_told) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let next = |told: &AtomicUsize, all: &[Value]| {
        let index = told.fetch_add(1, Ordering::SeqCst).min(all.len() - 1);
        Some(Answer::ok(all[index].clone()))
    };
    Fake::new(move |asked| {
        takes_deploys(asked, |asked: &Asked| match asked.path.as_str() {
            "/v1/traffic" => next(&traffic_told, &traffics),
            path if path.ends_with(DEPLOYMENT) => next(&views_told, &views),
            _ => None,
        })
    })
}

pub(super) fn rolling(cursor: u64) -> Value {
    view(
        cursor,
        &deployment(json!({ "phase": "rolling" }), None),
        &[(1, "deploying v43"), (2, "web-1 of v43 is ready")],
        &["web: 1 of 3 ready"],
        &[replica(1, 43, "serving"), replica(2, 42, "serving")],
    )
}

pub(super) fn done() -> Value {
    let events = [(1, "deploying v43"), (2, "web-1 of v43 is ready"), (15, "v43 is live: 3 replicas")];
    let replicas = [replica(1, 43, "serving"), replica(2, 43, "serving"), replica(3, 43, "serving")];
    view(9, &deployment(json!({ "phase": "done", "replaced": 3 }), Some("15.250")), &events, &[], &replicas)
}

pub(super) fn good() -> Fake {
    shows(vec![rolling(1), done()], [traffic(1, 100, 2), traffic(1, 41_308, 2)])
}

#[test]
fn a_good_deploy_tells_each_step_and_proves_itself() {
    let fake = good();
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["deploy", "--note", "fix the counter"]));
    let request = fake.only("POST /v1/apps/hits/deployments").json();
    assert_eq!((&request["kind"], &request["note"]), (&"deploy".into(), &"fix the counter".into()));
    assert_eq!(request["if_busy"], "wait");
    let sent: Vec<Asked> = fake.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    assert!(
        sent[0].path.ends_with(request["artifact"].as_str().unwrap()),
        "what was sent is what is deployed"
    );
    assert_eq!(&sent[0].body[..2], [0x1f, 0x8b], "gzip");
}

#[test]
fn the_result_is_told_to_programs() {
    let told = Place::with(&good()).pando(&["deploy", "--json"]).expect(0).json();
    let served = json!({ "requests": 41_208, "failed": 0, "early": 0, "retries": 0, "p99_micros": 11_264, "complete": true });
    assert_eq!(
        told,
        json!({ "app": "hits", "release": 43, "deployment": DEPLOYMENT, "phase": "done", "replaced": 3, "servers": 2,
                "millis": 14_250, "traffic": served, "warnings": [] })
    );
}

#[test]
fn what_replicas_lose_is_said_once_at_the_end_where_servers_pulled_the_image() {
    let mut last = done();
    for replica in last["replicas"].as_array_mut().unwrap() {
        replica["unmounted"] = json!(["/data"]);
    }
    let told = |args: &[&str]| {
        let fake = shows(vec![last.clone()], [traffic(1, 1, 0), traffic(1, 1, 0)]);
        Place::with(&fake).pando(args)
    };
    let said = "the image declares `/data` as a volume, and none is mounted there";
    let restarted = told(&["restart"]);
    assert_eq!(restarted.expect(0).stderr.matches(&format!("warning: {said}")).count(), 1, "{restarted}");
    assert!(restarted.stderr.contains("volumes: [\"data:/data\"]"), "{restarted}");
    let for_programs = told(&["restart", "--json"]).expect(0).json();
    assert!(for_programs["warnings"][0].as_str().unwrap().starts_with(said), "{for_programs}");
    // What was sent from here was looked at before.
    let sent = told(&["deploy"]);
    assert!(!sent.expect(0).stderr.contains(said), "{sent}");
}

#[test]
fn what_the_cluster_has_is_not_sent_again() {
    let fake = Fake::new(|asked| {
        takes_deploys(asked, |asked| match asked.method.as_str() {
            "HEAD" => Some(Answer::ok(Value::Null)),
            _ if asked.path.ends_with(DEPLOYMENT) => Some(Answer::ok(done())),
            _ => None,
        })
    });
    let said = Place::with(&fake).pando(&["deploy"]);
    assert!(said.expect(0).stderr.contains("the cluster has it already"), "{said}");
    assert!(!fake.lines().iter().any(|line| line.starts_with("PUT")), "{:?}", fake.lines());
}

#[test]
fn a_load_balancer_that_was_started_anew_is_told() {
    let fake = shows(vec![done()], [traffic(1, 100, 0), traffic(2, 7, 1)]);
    let said = Place::with(&fake).pando(&["deploy"]);
    let line = "7 requests were served meanwhile, 1 failed (p99 11 ms); a load balancer was started anew, and its last count is missing";
    assert!(said.expect(0).stdout.contains(line), "{said}");
}

/// As the API tells a failed deployment of v43 whose replica crashed.
pub(super) fn failed(replicas: &[Value]) -> Value {
    let failure = json!({
        "message": "web-1 on app-2 ended 5 times: exit code 1", "replica": "web-1", "server": "app-2", "check": "connection refused",
        "exit": { "code": 1, "signal": null, "out_of_memory": false, "last_lines": ["starting", "no such table: hits"] },
    });
    let events = [
        (1, "deploying v43"),
        (9, "v43 failed: web-1 on app-2 ended 5 times: exit code 1"),
        (10, "going back to v42"),
    ];
    view(5, &deployment(json!({ "phase": "failed", "failure": failure }), Some("11")), &events, &[], replicas)
}

#[test]
fn a_failed_deploy_says_what_where_why_and_what_serves() {
    let fake = shows(
        vec![failed(&[replica(1, 43, "backing_off"), replica(2, 42, "serving")])],
        [Value::Null, Value::Null],
    );
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["deploy"]));
    let error = &place.pando(&["deploy", "--json"]).expect(1).json()["error"];
    assert_eq!((&error["code"], &error["exit_code"]), (&"deployment_failed".into(), &1.into()));
    assert_eq!(error["deployment"]["phase"]["failure"]["replica"], "web-1");
}

#[test]
fn a_deploy_that_was_half_way_says_that_it_went_back() {
    let fake = shows(vec![rolling(1), failed(&[replica(2, 42, "serving")])], [Value::Null, Value::Null]);
    let said = Place::with(&fake).pando(&["deploy"]);
    assert!(said.expect(1).stderr.contains("\n  went back to v42\n"), "{said}");
}

#[test]
fn a_dry_run_prints_the_plan_and_sends_nothing() {
    let fake = Fake::new(|asked| {
        takes_deploys(asked, |asked| {
            let plan = json!({ "answer": "dry_run", "release": 43, "plan": ["start web-1 of v43 on app-1", "drain web-1 of v42"] });
            (asked.method == "POST").then(|| Answer::ok(plan))
        })
    });
    let place = Place::with(&fake);
    insta::assert_snapshot!(place.pando(&["deploy", "--dry-run"]));
    let request = fake.only("POST /v1/apps/hits/deployments").json();
    assert_eq!((&request["dry_run"], &request["artifact"]), (&true.into(), &Value::Null));
    assert!(!fake.lines().iter().any(|line| line.starts_with("PUT")), "{:?}", fake.lines());
}

#[test]
fn a_detached_deploy_returns_once_it_is_recorded() {
    let fake = good();
    let place = Place::with(&fake);
    let said = place.pando(&["deploy", "--detach"]);
    assert_eq!(said.expect(0).stdout, "hits v43 is under way; `pando status` shows it\n");
    assert!(!fake.lines().iter().any(|line| line.ends_with(DEPLOYMENT)), "{:?}", fake.lines());
}

#[test]
fn a_busy_app_is_refused_when_asked_to() {
    let fake = Fake::new(|asked| {
        takes_deploys(asked, |asked| {
            (asked.method == "POST").then(|| Answer::refused(409, "busy", "v42 is being deployed"))
        })
    });
    let said = Place::with(&fake).pando(&["deploy", "--no-wait-turn"]);
    assert!(said.expect(4).stderr.contains("error: v42 is being deployed"), "{said}");
    assert_eq!(fake.only("POST /v1/apps/hits/deployments").json()["if_busy"], "refuse");
}

#[test]
fn a_control_plane_that_restarts_meanwhile_is_waited_for() {
    let times = AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        takes_deploys(asked, |asked| {
            if !asked.path.ends_with(DEPLOYMENT) {
                return None;
            }
            Some(match times.fetch_add(1, Ordering::SeqCst) {
                0 => Answer::ok(rolling(1)),
                1..=3 => Answer::refused(503, "unavailable", "it is starting"),
                _ => Answer::ok(done()),
            })
        })
    });
    let said = Place::with(&fake).pando(&["deploy"]);
    assert!(said.expect(0).stdout.contains("hits v43 is live"), "{said}");
    assert_eq!(said.stderr.matches("deploying v43").count(), 1, "nothing is told twice: {said}");
}

#[test]
fn ctrl_c_leaves_the_deploy_going_on() {
    // Answers nothing new for as long as it is asked.
    let fake = shows(vec![rolling(1)], [Value::Null, Value::Null]);
    let place = Place::with(&fake);
    let mut child = place.command(&["deploy"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = String::new();
    let mut stderr = child.stderr.take().unwrap();
    // It follows once it has told the first steps.
    while !heard.contains("is ready") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{heard}");
        heard.push(char::from(byte[0]));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    stderr.read_to_string(&mut heard).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{heard}");
    assert!(heard.contains("the deployment of v43 goes on by itself; `pando status` shows it"), "{heard}");
}

#[test]
fn a_link_that_leads_out_stops_it_before_anything_is_sent() {
    let fake = good();
    let place = Place::with(&fake);
    std::os::unix::fs::symlink("/etc/hostname", place.path("host")).unwrap();
    let said = place.pando(&["deploy"]);
    assert!(said.expect(1).stderr.contains("`host` leads to `/etc/hostname`"), "{said}");
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn rollback_and_restart_follow_alike() {
    let fake = good();
    let place = Place::with(&fake);
    let said = place.pando(&["rollback", "v41"]);
    assert!(
        said.expect(0).stdout.starts_with("hits v43 is live on 2 servers: 3 replicas replaced in 14.2 s\n"),
        "{said}"
    );
    place.pando(&["restart"]).expect(0);
    let wishes: Vec<Value> =
        fake.asked().iter().filter(|asked| asked.method == "POST").map(Asked::json).collect();
    assert_eq!((&wishes[0]["kind"], &wishes[0]["release"]), (&"rollback".into(), &41.into()));
    assert_eq!(wishes[1]["kind"], "restart");
}

#[test]
fn the_first_deploy_starts_and_does_not_replace() {
    let told = AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        takes_deploys(asked, |asked| match asked.path.as_str() {
            "/v1/apps/hits" => Some(Answer::refused(404, "not_found", "there is no app hits")),
            "/v1/traffic" => Some(Answer::ok(if told.fetch_add(1, Ordering::SeqCst) == 0 {
                json!({ "proxies": [] })
            } else {
                traffic(1, 0, 0)
            })),
            path if path.ends_with(DEPLOYMENT) => Some(Answer::ok(done())),
            _ => None,
        })
    });
    let said = Place::with(&fake).pando(&["deploy"]);
    assert_eq!(
        said.expect(0).stdout,
        "hits v43 is live on 2 servers: 3 replicas started in 14.2 s\nno requests came meanwhile\n"
    );
}

#[test]
fn scale_stop_and_start_wait_until_it_is_so() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::new(move |asked| {
        let wish = json!({ "stopped": false, "remove": false, "scale": { "web": 3 } });
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", _) => Answer::ok(wish),
            // One look finds it half way, the next finds it there: running for two commands, then stopped.
            _ => match looks.fetch_add(1, Ordering::SeqCst) {
                0 | 2 => Answer::ok(app(Some(42), "degraded", &[replica(1, 42, "serving")])),
                1 | 3 => Answer::ok(app(Some(42), "running", &[1, 2, 3].map(|n| replica(n, 42, "serving")))),
                4 => Answer::refused(503, "unavailable", "it is starting"),
                5 => Answer::ok(app(Some(42), "stopping", &[replica(1, 42, "stopping")])),
                _ => Answer::ok(app(Some(42), "stopped", &[])),
            },
        }
    });
    let place = Place::with(&fake);
    assert_eq!(
        place.pando(&["scale", "web=3", "worker=file"]).expect(0).stdout,
        "hits web = 3\nhits worker: as the file has it\n"
    );
    assert_eq!(place.pando(&["start"]).expect(0).stdout, "hits is running\n");
    assert_eq!(
        place.pando(&["stop", "--remove-containers"]).expect(0).stdout,
        "hits is stopped and removed; its releases are kept packed\n"
    );
    let bodies: Vec<Asked> = fake.asked().into_iter().filter(|asked| asked.method == "POST").collect();
    assert_eq!(bodies[0].json()["processes"], json!({ "web": 3, "worker": null }));
    assert_eq!(bodies[1].line(), "POST /v1/apps/hits/start");
    assert_eq!(bodies[2].json(), json!({ "remove": true }));
}
