//! Connections: a bounded number at once, each closed once nothing was written to it for a while, so that clients that never end a
//! request take neither the process's files nor the page from others.

use axum::serve::Listener;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Maximum connections at once.
pub(crate) const MOST_CONNECTIONS: usize = 64;
/// Time without a byte of an answer after which a connection is closed; streams of events send one more often.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// Listener that accepts a connection when fewer than the maximum are open.
pub(crate) struct BoundedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
    silence: Duration,
}

impl BoundedListener {
    pub const fn new(listener: TcpListener, free: Arc<Semaphore>, silence: Duration) -> Self {
        Self { listener, free, silence }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let deadline = Box::pin(tokio::time::sleep(self.silence));
        (Connection { stream, silence: self.silence, deadline, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Stream that ends once nothing was written to it for a while, however much was read.
pub(crate) struct Connection {
    stream: TcpStream,
    silence: Duration,
    deadline: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Ends an operation that waits beyond the deadline.
    fn in_time<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => polled,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.in_time(context, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            this.deadline.as_mut().reset(Instant::now() + this.silence);
        }
        this.in_time(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use std::io::{Read, Write};
    use std::thread;

    /// Catches: requests that never end and hold their connections for ever, and with them the page, or all of the process's files.
    #[test]
    fn half_requests_give_their_places_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (most, silence) = (2, Duration::from_millis(200));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = BoundedListener::new(listener, Arc::new(Semaphore::new(most)), silence);
        let page = Router::new().route("/", get(async || "whole"));
        let connect = move |request: &str| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        };
        let client = thread::spawn(move || {
            let halves = ["GET / HT", ""].map(connect);
            let mut answer = String::new();
            connect("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").read_to_string(&mut answer).unwrap();
            let ended = halves.map(|mut half| half.read_to_end(&mut Vec::new()));
            (answer, ended.map(|read| read.unwrap_or_else(|error| panic!("still open: {error}"))))
        });
        runtime.spawn(async { axum::serve(listener, page).await });
        let (answer, ended) =
            runtime.block_on(async { tokio::task::spawn_blocking(|| client.join()).await }).unwrap().unwrap();
        assert!(answer.ends_with("whole"), "{answer}");
        assert_eq!(ended, [0, 0]);
    }
}
