//! A server under its requests: what it answers, what it changes, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends with its first surprise")]

use fieldfit_delta::Provenance;
use fieldfit_serve::{Server, ServerOptions, Stopper};
use fieldfit_store::{AdaptationPhase, AdaptationStatus, LatencyHistogram, RuntimeStatus, StepLoss, Store, unix_time};
use fieldfit_tests::deltas;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// The base of the store.
const BASE: [u8; 32] = [1; 32];

/// A whole delta of a few hundred bytes, another one for each `seed`.
fn delta(seed: u64) -> Vec<u8> {
    deltas::small(BASE, Provenance { seed, ..Provenance::default() }, ["cat", "dog"])
}

/// A server of a store with two versions, of which the second is active, on trial.
struct Serving {
    store: Store,
    address: SocketAddr,
    token: String,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Serving {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create_or_open(folder.path().join("robot")).unwrap();
        store.fix_base(&BASE).unwrap();
        for seed in [1, 2] {
            let version = store.add(&delta(seed)).unwrap();
            store.activate(version).unwrap();
        }
        let options = ServerOptions::default().with_listen("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(store.clone(), options).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let token = server.url().split_once("#token=").unwrap().1.to_owned();
        let thread = Some(thread::spawn(|| server.run().unwrap()));
        Self { store, address, token, stopper, thread, _folder: folder }
    }

    /// Sends a request with the token, and returns the status and the body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        self.send(method, path, &headers, body)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let host = self.address;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        raw(self.address, &request)
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Sends bytes, and returns the status and the body of what is answered.
fn raw(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // What a server refuses to read may end in a reset after the answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn runtime_status() -> RuntimeStatus {
    let mut latency = LatencyHistogram { seconds: 0.05, ..LatencyHistogram::default() };
    latency.counts[LatencyHistogram::bucket(Duration::from_millis(5))] = 10;
    RuntimeStatus {
        process: 7,
        started: unix_time(),
        updated: unix_time(),
        version: Some(2),
        running: "version 2".into(),
        task: "classification".into(),
        frames: 10,
        failures: 1,
        latency,
        confidence: Some(0.75),
        agreement: None,
        compared: 0,
    }
}

/// Catches: a status that hides a version, a process or an adaptation, or shows one that is no longer there.
#[test]
fn the_status_is_that_of_the_store() {
    let serving = Serving::begin();
    let status = serving.json("/api/status");
    assert_eq!((&status["active"], &status["versions"][1]["state"]), (&2.into(), &"trial".into()));
    assert_eq!(status["versions"][0]["details"]["classes"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!((&status["runtimes"], &status["adaptation"]), (&Value::Array(Vec::new()), &Value::Null));
    assert!(serving.store.is_watched(), "runtimes do not learn that somebody watches");

    serving.store.publish_runtime(0, &runtime_status()).unwrap();
    serving.store.publish_runtime(1, &RuntimeStatus { updated: unix_time() - 60.0, ..runtime_status() }).unwrap();
    let _work = serving.store.work_dir().unwrap();
    let losses = vec![StepLoss { step: 1, loss: 0.5 }];
    let phase = AdaptationPhase::Training;
    let running = AdaptationStatus { updated: unix_time(), steps: 9, losses, phase, ..AdaptationStatus::default() };
    serving.store.publish_adaptation(&running).unwrap();
    thread::sleep(Duration::from_millis(300));
    let status = serving.json("/api/status");
    let runtimes = status["runtimes"].as_array().unwrap();
    assert_eq!(runtimes.len(), 1, "{runtimes:?}");
    assert_eq!((&runtimes[0]["frames"], &runtimes[0]["median"]), (&10.into(), &0.006.into()));
    assert_eq!((&status["adapting"], &status["adaptation"]["phase"]), (&true.into(), &"training".into()));

    let history = serving.json("/api/history");
    assert_eq!(history[0]["text"], "version 2 was made active");
}

/// Catches: a button that does nothing, does something else, or whose refusal looks like success.
#[test]
fn buttons_change_the_store() {
    let serving = Serving::begin();
    assert_eq!(serving.ask("POST", "/api/confirm", r#"{"version":2}"#), (200, r#"{"active":2}"#.to_owned()));
    assert_eq!(serving.store.version(2).unwrap().state.name(), "confirmed");
    assert_eq!(serving.ask("POST", "/api/rollback", ""), (200, r#"{"active":1}"#.to_owned()));
    assert_eq!(serving.store.active().unwrap(), Some(1));
    assert_eq!(serving.ask("POST", "/api/activate", r#"{"version":2}"#), (200, r#"{"active":2}"#.to_owned()));
    assert_eq!(serving.json("/api/status")["active"], 2);
    assert_eq!(serving.ask("POST", "/api/pause", "").0, 200);
    assert!(serving.store.is_pause_wanted());
    assert_eq!(serving.ask("POST", "/api/resume", "").0, 200);
    assert!(!serving.store.is_pause_wanted());

    let (status, body) = serving.ask("POST", "/api/activate", r#"{"version":9}"#);
    assert!(status == 404 && body.contains('9'), "{status} {body}");
    assert_eq!(serving.ask("POST", "/api/activate", r#"{"version":-1}"#).0, 400);
    assert_eq!(serving.ask("POST", "/api/activate", "").0, 400);
    assert_eq!(serving.ask("GET", "/api/rollback", "").0, 405);
    serving.store.rollback().unwrap();
    serving.store.rollback().unwrap();
    let (status, body) = serving.ask("POST", "/api/rollback", "");
    assert!(status == 409 && body.contains("error"), "{status} {body}");
}

/// Catches: a change by who has no token, a wrong one, or another page's visitor; a page under an attacker's name.
#[test]
fn who_has_no_business_here_is_refused() {
    let serving = Serving::begin();
    let bearer = format!("Authorization: Bearer {}\r\n", serving.token);
    for path in ["/api/status", "/api/history", "/api/collection", "/api/images/00", "/events", "/metrics"] {
        assert_eq!(serving.send("GET", path, "", "").0, 401, "{path}");
    }
    for path in ["/api/rollback", "/api/confirm", "/api/activate", "/api/pause", "/api/resume"] {
        assert_eq!(serving.send("POST", path, "", "").0, 401, "{path}");
        assert_eq!(serving.send("POST", path, "Authorization: Bearer 0000\r\n", "").0, 401, "{path}");
        let foreign = format!("{bearer}Origin: http://evil.example\r\n");
        assert_eq!(serving.send("POST", path, &foreign, "").0, 403, "{path}");
    }
    let own = format!("{bearer}Origin: http://{}\r\n", serving.address);
    assert_eq!(serving.send("POST", "/api/rollback", &own, "").0, 200);
    assert_eq!(serving.store.active().unwrap(), Some(1));
    let rebound =
        format!("GET / HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n", serving.address.port());
    assert_eq!(raw(serving.address, &rebound).0, 421);
    let (status, page) = serving.send("GET", "/", "", "");
    assert!(status == 200 && page.contains("<!DOCTYPE html>") && !page.contains(&serving.token));
    assert_eq!(serving.ask("GET", "/../state", "").0, 404);
}

/// Catches: a body that fills memory, and a flood that is answered at any rate.
#[test]
fn long_and_many_requests_are_refused() {
    let serving = Serving::begin();
    let long = format!(
        "POST /api/activate HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 10000000\r\n\r\n{}",
        serving.address,
        serving.token,
        "x".repeat(100_000),
    );
    assert_eq!(raw(serving.address, &long).0, 413);
    let chunked = format!(
        "POST /api/activate HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n2000\r\n{}\r\n0\r\n\r\n",
        serving.address,
        serving.token,
        "x".repeat(0x2000),
    );
    assert_eq!(raw(serving.address, &chunked).0, 413);
    let pipelined = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", serving.address).repeat(2000);
    let closing = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", serving.address);
    let mut stream = TcpStream::connect(serving.address).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answers = thread::spawn(move || {
        let mut answers = String::new();
        reader.read_to_string(&mut answers).unwrap();
        answers
    });
    stream.write_all((pipelined + &closing).as_bytes()).unwrap();
    let answers = answers.join().unwrap();
    assert!(answers.contains("HTTP/1.1 429"), "2001 requests at once are all answered");
}

/// Catches: listeners that hear nothing of a change, or that hold the server up when it ends.
#[test]
fn listeners_hear_of_changes() {
    let serving = Serving::begin();
    let mut stream = TcpStream::connect(serving.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (host, token) = (serving.address, &serving.token);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut heard = String::new();
    let mut until = |wanted: &str| {
        let mut bytes = [0; 65536];
        while !heard.contains(wanted) {
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the stream ends: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    until(r#""active":2"#);
    serving.store.rollback().unwrap();
    until(r#""active":1"#);
}

/// Catches: figures that are missing, or in a format that no scraper reads.
#[test]
fn figures_are_in_the_text_format() {
    let serving = Serving::begin();
    // Runtimes publish once somebody watches.
    assert_eq!(serving.ask("GET", "/metrics", "").0, 200);
    serving.store.publish_runtime(0, &runtime_status()).unwrap();
    thread::sleep(Duration::from_millis(300));
    let (status, text) = serving.ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    for line in [
        r#"fieldfit_frames_total{process="7",version="2"} 10"#,
        r#"fieldfit_failures_total{process="7",version="2"} 1"#,
        r#"fieldfit_infer_seconds_bucket{le="0.004",process="7",version="2"} 0"#,
        r#"fieldfit_infer_seconds_bucket{le="0.006",process="7",version="2"} 10"#,
        r#"fieldfit_infer_seconds_bucket{le="+Inf",process="7",version="2"} 10"#,
        r#"fieldfit_infer_seconds_sum{process="7",version="2"} 0.05"#,
        r#"fieldfit_version_state{version="2",state="trial"} 1.0"#,
        "fieldfit_active_version 2.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
