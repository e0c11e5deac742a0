//! Access: which requests are answered at all. Host, rate, length and token, in this order.

use crate::api::Shared;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Requests a second that are answered in the long run.
const RATE: f64 = 50.0;
/// Requests that are answered at once.
const BURST: f64 = 200.0;
/// Longest body of a request, in bytes.
pub(crate) const MOST_BODY: u64 = 4096;

/// What a browser may do with an answer: show it, and load nothing from anywhere else.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                              img-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers a request, or says why not.
pub(crate) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let refused = refusal(&shared, request.method(), request.uri().path(), request.headers());
    let mut response = match refused {
        Some((status, reason)) => (status, reason).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns why a request is refused, if it is.
fn refusal(shared: &Shared, method: &Method, path: &str, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !shared.hosts.has(host) {
        return Some((StatusCode::MISDIRECTED_REQUEST, "this page is not served under that host's name: see --host\n"));
    }
    if !shared.rate.admits(Instant::now()) {
        return Some((StatusCode::TOO_MANY_REQUESTS, "too many requests\n"));
    }
    let length = text(header::CONTENT_LENGTH).map_or(Some(0), |length| length.parse::<u64>().ok());
    if length.is_none_or(|length| length > MOST_BODY) {
        return Some((StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n"));
    }
    if path == "/" {
        return None;
    }
    let named = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if !named.is_some_and(|named| shared.token.is(named)) {
        return Some((StatusCode::UNAUTHORIZED, "the token of the store is missing or wrong\n"));
    }
    let is_foreign = headers.contains_key(header::ORIGIN) && text(header::ORIGIN) != Some(&format!("http://{host}"));
    if *method != Method::GET && is_foreign {
        return Some((StatusCode::FORBIDDEN, "the request comes from another page\n"));
    }
    None
}

/// Names under which the page is served: others may be an attacker's, who made them mean this machine.
#[derive(Debug)]
pub(crate) struct Hosts {
    address: SocketAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Names of a server at that address: itself, `localhost` and these.
    pub fn new(address: SocketAddr, names: Vec<String>) -> Self {
        Self { address, names }
    }

    /// Returns whether a request to that host is meant for this server.
    fn has(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or_default()),
            _ => (host, 80),
        };
        let is_ours = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => ip == self.address.ip() || self.address.ip().is_unspecified() || ip.is_loopback(),
            Err(_) => name == "localhost" || self.names.iter().any(|known| known.eq_ignore_ascii_case(name)),
        };
        is_ours && port == self.address.port()
    }
}

/// Limit of the rate of requests: a bucket that fills at [`RATE`].
#[derive(Debug)]
pub(crate) struct RateLimit(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl RateLimit {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket { left: BURST, at: now }))
    }

    /// Returns whether another request may be answered.
    fn admits(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = RATE * now.saturating_duration_since(bucket.at).as_secs_f64();
        *bucket = Bucket { left: (bucket.left + gained).min(BURST), at: now };
        let admitted = bucket.left >= 1.0;
        if admitted {
            bucket.left -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Catches: a name that an attacker points at this machine, or another port's.
    #[test]
    fn only_own_names_are_answered() {
        let hosts = Hosts::new("127.0.0.1:7878".parse().unwrap(), vec!["robot.local".into()]);
        for host in ["127.0.0.1:7878", "localhost:7878", "[::1]:7878", "Robot.local:7878"] {
            assert!(hosts.has(host), "{host}");
        }
        for host in ["", "evil.example:7878", "127.0.0.1", "127.0.0.1:78", "localhost", "10.0.0.1:7878", "[::1]"] {
            assert!(!hosts.has(host), "{host}");
        }
        let hosts = Hosts::new("0.0.0.0:80".parse().unwrap(), Vec::new());
        assert!(hosts.has("10.0.0.1") && hosts.has("10.0.0.1:80") && !hosts.has("evil.example"));
    }

    /// Catches: a flood that is answered, and a limit that never ends.
    #[test]
    fn the_rate_is_limited() {
        let start = Instant::now();
        let limit = RateLimit::new(start);
        let admitted = (0..10_000).filter(|_| limit.admits(start)).count();
        assert_eq!(admitted, BURST as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..10_000).filter(|_| limit.admits(later)).count(), RATE as usize);
    }
}
