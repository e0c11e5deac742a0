//! Tests of `serve`: the page of a store, from its start to Ctrl-C.

use crate::scene::Scene;
use fieldfit::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Catches: an address that is not that of the page, a token that is not its, and a server that outlives Ctrl-C.
#[test]
fn the_page_is_served_until_ctrl_c() {
    let scene = Scene::new();
    Store::create_or_open(scene.folder().join("store")).unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"))
        .args(["serve", "--store", "store", "--listen", "127.0.0.1:0", "--json"])
        .current_dir(scene.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let (address, token) = listening["url"].as_str().unwrap().split_once("/#token=").unwrap();
    let answer = request(address, token, "GET /api/status", "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""active":null"#), "{answer}");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Catches: a camera whose frames are not collected, an adaptation to other images, a page of another store, a button that the
/// robot does not follow.
#[test]
fn the_live_demo_is_rolled_back_on_its_page() {
    let scene = Scene::new();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"))
        .args(["demo", "--live", "--linger", "3", "--listen", "127.0.0.1:0", "--json", "--out", "out"])
        .current_dir(scene.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let page = events.next().unwrap();
    let (address, token) = page["url"].as_str().unwrap().split_once("/#token=").unwrap();
    let collected = events.next().unwrap();
    assert!(collected["classes"] == 15 && collected["images"].as_u64() > Some(200), "{collected}");
    let adapted = events.next().unwrap();
    let is_active = adapted["active"].as_bool().unwrap();
    if is_active {
        let answer =
            request(address, token, "POST /api/rollback", &format!("Origin: {address}\r\nContent-Length: 0\r\n"));
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let answered = events.next().unwrap();
    let versions: Vec<_> = answered["tallies"].as_array().unwrap().iter().map(|tally| &tally["version"]).collect();
    match is_active {
        true => assert_eq!(versions, [&Value::Null, &1.into(), &Value::Null], "{answered}"),
        // Rounding on another processor can change the gate's verdict.
        false => assert_eq!(versions, [&Value::Null], "{answered}"),
    }
    assert_eq!(child.wait().unwrap().code(), Some(i32::from(!is_active)));
}

/// Sends a request with the page's token, and returns the answer.
fn request(address: &str, token: &str, line: &str, headers: &str) -> String {
    let host = address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let headers = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n{headers}Connection: close\r\n\r\n");
    write!(stream, "{line} HTTP/1.1\r\n{headers}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Catches: a taken port or a missing store that ends in a panic, or in a page of nothing.
#[test]
fn a_taken_port_and_a_missing_store_are_named() {
    let scene = Scene::new();
    assert!(scene.refused("serve --store nowhere").contains("nowhere"));
    Store::create_or_open(scene.folder().join("store")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = scene.refused(&format!("serve --store store --listen {address}"));
    assert!(refused.contains(&address.to_string()) && refused.contains("--listen"), "{refused}");
}
