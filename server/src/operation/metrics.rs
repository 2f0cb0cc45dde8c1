//! `/metrics` for Prometheus and `/healthz` for whoever restarts what is not well, by HTTP on a port of its own.
//!
//! There is no password: the address decides who may read. The figures name no person, no room and no code.

mod families;
mod page;
mod process;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Monitor;
use crate::accepting::ACCEPT_BACKOFF;
use crate::listen::open_tcp;
use crate::statistics::Health;

/// Scrapes answered at a time; one monitoring system asks one at a time, and more wait in the system's queue.
const CONNECTIONS_MAX: usize = 8;
/// Time for a whole scrape, from connect to close; Prometheus gives up after 10 s too.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);
/// Time for the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the head of a request, the least that hyper takes; Prometheus sends 300.
const HEAD_MAX_BYTES: usize = 8 * 1024;

/// Answers scrapes until it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Listens at `address` and answers from what `monitor` sees. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says when the address cannot be listened at.
    pub async fn start(address: SocketAddr, monitor: Monitor) -> io::Result<Self> {
        process::start_secs();
        let listener = TcpListener::from_std(open_tcp(address)?)?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "metrics can be read from other machines, without a password");
        }
        tracing::info!(%address, "metrics");
        Ok(Self { address, task: tokio::spawn(accept(listener, monitor)) })
    }

    /// Where it listens, with the real port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, monitor: Monitor) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Nobody closes the semaphore, so it always answers.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let monitor = monitor.clone();
                tokio::spawn(async move {
                    // One that is too slow or speaks something else is closed, and that is all.
                    let _ = timeout(CONNECTION_PATIENCE, serve(tcp, monitor)).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(ACCEPT_BACKOFF).await,
        }
    }
}

async fn serve(tcp: TcpStream, monitor: Monitor) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let answer = answer(&request, &monitor);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        // One scrape a connection: an idle one would hold a seat.
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(tcp), service)
        .await
}

/// hyper leaves the body of a `HEAD` out by itself.
fn answer(request: &Request<Incoming>, monitor: &Monitor) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut page = text(StatusCode::OK, families::page(&monitor.statistics()));
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page::CONTENT_TYPE));
            page
        }
        "/healthz" => health(monitor.statistics().health),
        _ => text(StatusCode::NOT_FOUND, "/metrics or /healthz\n".into()),
    }
}

/// A server that drains is not well to whoever sends new meetings to it.
fn health(health: Health) -> Response<Full<Bytes>> {
    match health {
        Health::Serving => text(StatusCode::OK, "ok\n".into()),
        Health::Broken | Health::Draining | Health::Stopped => {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{health}\n"))
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
