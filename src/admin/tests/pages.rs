//! Health, metrics, the snapshot and the page.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::admin::tests::{Port, fixture};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::release::Release;
use crate::engine::verdict::{Breach, StreamName, Verdict};
use crate::engine::window::{RouteWindow, Window};

#[tokio::test]
async fn metrics_are_well_named_and_add_up() {
    let port = Port::open(None).await;
    port.publish();
    port.shared.publish(fixture::decided(), &fixture::window(2, 50, 0));
    let page = port.get("/metrics").await;
    assert_eq!(
        (page.status, page.field("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let text = &page.body;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value(r#"outrigger_requests_total{method="GET",status="2xx",outcome="answered"}"#), 147.0);
    assert_eq!(value("outrigger_request_latency_seconds_count"), 150.0);
    let users = r#"{method="GET",route="/users/{id}""#;
    assert_eq!(value(&format!("outrigger_route_observations_total{users}}}")), 150.0);
    assert_eq!(value(&format!("outrigger_route_failures_total{users}}}")), 3.0);
    assert_eq!(value(&format!("outrigger_route_client_errors_total{users},status=\"404\"}}")), 3.0);
    assert_eq!(value(&format!("outrigger_route_latency_seconds_bucket{users},le=\"0.05\"}}")), 100.0);
    assert_eq!(value(&format!("outrigger_route_latency_seconds_count{users}}}")), 150.0);
    assert_eq!(value("outrigger_request_duration_seconds_count"), 150.0);
    assert_eq!(value(r#"outrigger_upstream_wait_seconds_bucket{le="0.0005"}"#), 150.0);
    assert_eq!((value("outrigger_retries_total"), value("outrigger_health_checks_total")), (2.0, 6.0));
    assert_eq!(value("outrigger_worker_lag_seconds"), 0.002);
    assert_eq!(value(r#"outrigger_verdict{verdict="undecided"}"#), 1.0);
    assert_eq!(value(r#"outrigger_decisions_total{decision="roll_back",progress="accepted"}"#), 1.0);
    for line in text.lines().filter(|l| l.starts_with("# TYPE")) {
        let (name, kind) = line["# TYPE ".len()..].split_once(' ').unwrap();
        assert!(name.starts_with("outrigger_") || name == "process_start_time_seconds", "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
        assert!(!name.ends_with("_requests_total") || name == "outrigger_requests_total", "{name}");
    }
    check_with_promtool(text);
}

/// The real linter, where it is installed.
fn check_with_promtool(text: &str) {
    let command = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        eprintln!("promtool is not installed: its check is left out");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test]
async fn routes_are_told_by_how_often_they_are_asked_for() {
    let port = Port::open(None).await;
    assert_eq!(port.get("/api/routes").await.json()["count"], 0);
    let now = port.shared.clock.now();
    let routes =
        vec![fixture::route("/", 40, 0), fixture::route("/users/{id}", 400, 8), fixture::route("/a", 1, 0)];
    port.shared.publish(fixture::live(), &Window { to: now, routes, ..Window::default() });
    let page = port.get("/api/routes?limit=2").await;
    assert_eq!((page.status, page.field("cache-control")), (200, Some("no-store")));
    let json = page.json();
    let names: Vec<_> =
        json["routes"].as_array().unwrap().iter().map(|r| r["route"].as_str().unwrap()).collect();
    assert_eq!((names, json["count"].as_u64()), (vec!["/users/{id}", "/"], Some(3)));
    assert_eq!(
        (json["routes"][0]["error_rate"].as_f64(), json["routes"][0]["method"].as_str()),
        (Some(0.02), Some("GET"))
    );
    for wrong in ["limit=0", "limit=201", "limit=x", "top=3"] {
        assert_eq!(port.get(&format!("/api/routes?{wrong}")).await.status, 400, "{wrong}");
    }
    let edge = port.send("GET", "/api/routes", &[("x-railway-edge", "railway/us-west2")], "").await;
    assert_eq!(edge.status, 403);
}

/// All routes that there can be, with all that can be counted of them.
#[test]
fn the_series_of_routes_are_bounded() {
    let (shared, _asked) = fixture::shared(None);
    for second in 0..300 {
        let mut window = fixture::window(second, 0, 0);
        window.routes =
            vec![RouteWindow { watched: [1; 7], ..fixture::route(&format!("/r-{second}"), 9, 1) }];
        shared.publish(fixture::live(), &window);
    }
    let text = crate::admin::metrics::render(&shared);
    let series = text.lines().filter(|line| line.starts_with("outrigger_route_")).count();
    assert_eq!(series, 200 * 21 + 1, "and the one of requests without a route");
}

#[tokio::test]
async fn the_snapshot_tells_the_state_and_on_request_the_series() {
    let port = Port::open(None).await;
    let early = port.get("/api/snapshot").await;
    assert_eq!((early.status, early.field("retry-after")), (503, Some("1")));
    port.publish();
    let plain = port.get("/api/snapshot").await.json();
    assert_eq!((plain["verdict"]["label"].as_str(), plain.get("series")), (Some("undecided"), None));
    assert_eq!((plain["totals"]["failed"].as_u64(), plain["in_flight"].as_u64()), (Some(3), Some(4)));
    assert_eq!(plain["evidence"][4]["stream"], "latency_p99");
    let full = port.get("/api/snapshot?series=1").await.json();
    assert_eq!(full["series"][0]["requests"], 100);
}

#[tokio::test]
async fn the_snapshot_tells_whose_fault_it_is_and_how_each_limit_was_made() {
    let port = Port::open(None).await;
    let mut live = fixture::live();
    live.engine.verdict = Verdict::Degraded {
        breach: Breach::Route { stream: StreamName::RouteErrors, route: "GET /users/{id}".into() },
        since: fixture::START,
    };
    live.engine.diagnosis = Some(Diagnosis::Dependency {
        probe: "postgres".into(),
        since: fixture::START,
        until: fixture::START + Duration::from_secs(180),
        hold_ended: false,
    });
    live.engine.worse_dependencies = vec!["postgres".into()];
    port.shared.publish(live, &fixture::window(1, 1, 0));
    let json = port.get("/api/snapshot").await.json();
    assert_eq!(
        (json["verdict"]["breach"].as_str(), json["verdict"]["route"].as_str()),
        (Some("route_errors"), Some("GET /users/{id}"))
    );
    assert!(json["verdict"]["changes"].as_str().unwrap().contains("12 good ticks"));
    let diagnosis = &json["diagnosis"];
    assert_eq!(
        (diagnosis["label"].as_str(), diagnosis["blames_release"].as_bool()),
        (Some("dependency"), Some(false))
    );
    assert_eq!(
        (diagnosis["dependency"].as_str(), diagnosis["hold_ended"].as_bool()),
        (Some("postgres"), Some(false))
    );
    assert_eq!(diagnosis["hold_until"], "2025-11-22T22:03:00.000Z");
    assert_eq!(
        (json["score"].as_f64(), json["worse_dependencies"][0].as_str()),
        (Some(0.62), Some("postgres"))
    );
    assert_eq!(json["outlook"]["doubled_errors_seconds"], 395.0);
    let groups: Vec<_> =
        json["evidence"].as_array().unwrap().iter().map(|e| e["group"].as_str().unwrap()).collect();
    assert_eq!(
        groups.join(" "),
        "all all all all all statuses statuses resources resources resources routes routes"
    );
    assert!(json["evidence"][4]["guard"].as_str().unwrap().contains("1.5 times 120 ms"));
    assert_eq!(json["baseline"]["dependencies"][0]["p50_us"], 1800);
    let metrics = port.get("/metrics").await.body;
    for line in [
        "outrigger_health_score 0.62",
        "outrigger_diagnosis{diagnosis=\"dependency\"} 1",
        "outrigger_diagnosis{diagnosis=\"none\"} 0",
        "outrigger_dependency_worse{dependency=\"postgres\"} 1",
        "outrigger_dependency_worse{dependency=\"redis\"} 0",
        "outrigger_stream_evidence_ratio{stream=\"crashes\"} 0.25",
        "outrigger_stream_evidence_ratio{stream=\"status_404\"} 0.1",
    ] {
        assert!(metrics.lines().any(|l| l.starts_with(line)), "{line} is missing in {metrics}");
    }
    assert!(!metrics.lines().any(|l| l.starts_with("outrigger_stream_evidence") && l.contains("users")));
}

#[tokio::test]
async fn releases_are_told_newest_first_with_what_they_have_shown() {
    let port = Port::open(None).await;
    assert_eq!(port.get("/api/releases").await.status, 503);
    port.publish();
    let json = port.get("/api/releases").await.json();
    let releases = json["releases"].as_array().unwrap();
    let names: Vec<_> = releases.iter().map(|r| r["release"].as_str().unwrap()).collect();
    assert_eq!(names.join(" "), "v42 v41 v40 v39 v38");
    assert_eq!(
        (releases[0]["running"].as_bool(), releases[1]["running"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(
        (releases[3]["standing"].as_str(), releases[3]["figures"]["p95_us"].as_u64()),
        (Some("rolled_back"), Some(80_000))
    );
    assert!(releases[4]["figures"].is_null() && releases[4]["score"].is_null());
}

#[tokio::test]
async fn the_page_is_whole_cached_by_its_content_and_runs_nothing_from_elsewhere() {
    let port = Port::open(None).await;
    let page = port.get("/").await;
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    let tag = page.field("etag").unwrap();
    let again = port.send("GET", "/", &[("if-none-match", tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    for path in [
        "/",
        "/style.css",
        "/app.js",
        "/charts.js",
        "/dependencies.js",
        "/host.js",
        "/parachute.js",
        "/peers.js",
        "/records.js",
        "/releases.js",
        "/routes.js",
        "/streams.js",
        "/words.js",
    ] {
        let file = port.get(path).await;
        assert!(file.status == 200 && file.body.len() > 500, "{path}");
        let addresses = file.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !addresses.contains("http://") && !addresses.contains("https://"),
            "{path} names another host"
        );
    }
}

#[tokio::test]
async fn markup_in_names_stays_text() {
    let port = Port::open(None).await;
    let mut live = fixture::paused();
    live.engine.release = Release::new("</script><img/src=x/onerror=alert(1)>").unwrap();
    live.engine.pause.as_mut().unwrap().reason = "\"><script>alert(1)</script>".to_owned();
    port.shared.publish(live, &fixture::window(1, 1, 0));
    let answer = port.get("/api/snapshot").await;
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.json()["pause"]["reason"], "\"><script>alert(1)</script>");
    let metrics = port.get("/metrics").await.body;
    assert!(metrics.contains(r#"release="</script><img/src=x/onerror=alert(1)>""#));
    // The page must never hand text to the browser as markup.
    for path in [
        "/",
        "/app.js",
        "/charts.js",
        "/dependencies.js",
        "/host.js",
        "/parachute.js",
        "/peers.js",
        "/records.js",
        "/releases.js",
        "/routes.js",
        "/streams.js",
        "/words.js",
    ] {
        let source = port.get(path).await.body;
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "javascript:"]
        {
            assert!(!source.contains(sink), "{path} uses {sink}");
        }
    }
}
