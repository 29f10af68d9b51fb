//! The admin server: liveness, readiness, metrics, and the command to drain; on a thread of its own, so that busy workers do not make it slow.
//!
//! Knows what it shows only through closures.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::drain::{Drain, Shed};

/// What the admin server shows.
#[derive(Clone)]
pub struct Admin {
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The exposition text of all metrics (OpenMetrics where it ends in `# EOF`, else Prometheus 0.0.4).
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What is known of every upstream's schema, in JSON.
    pub schemas: Arc<dyn Fn() -> String + Send + Sync>,
    /// The clients that are furthest behind, in JSON.
    pub slow_readers: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Whether calls can be answered, and what is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    /// One sentence each, as `upstream liker: no schema yet`. Some are in nobody's way.
    pub problems: Vec<String>,
}

/// Why there is no admin server.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the admin server cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the admin server cannot be started: {0}")]
    Start(io::Error),
}

/// Serves on a thread of its own until the drain has finished, and gives the real address.
///
/// # Errors
/// Where the address is taken, or a thread cannot be started.
pub fn spawn(address: SocketAddr, admin: Admin, drain: Drain) -> Result<SocketAddr, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
    let bind_failed = |source| AdminError::Bind { address, source };
    let socket = runtime.block_on(TcpListener::bind(address)).map_err(bind_failed)?;
    let bound = socket.local_addr().map_err(bind_failed)?;
    let serve = async move {
        tokio::select! {
            () = accept(socket, admin, &drain) => {}
            // Until then it still tells that the process drains, and how that goes.
            () = drain.finished() => {}
        }
    };
    thread::Builder::new().name("admin".into()).spawn(move || runtime.block_on(serve)).map_err(AdminError::Start)?;
    Ok(bound)
}

async fn accept(socket: TcpListener, admin: Admin, drain: &Drain) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match socket.accept().await {
            Ok((tcp, _)) => {
                let (admin, drain) = (admin.clone(), drain.clone());
                tokio::spawn(async move {
                    serve(tcp, admin, drain).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, admin: Admin, drain: Drain) {
    let service = service_fn(|request: Request<Incoming>| {
        let (admin, drain) = (&admin, &drain);
        async move {
            Ok::<_, Infallible>(match request.uri().path() {
                DRAIN => command(request, drain).await,
                path => answer(request.method(), path, admin, drain),
            })
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_header_size(HEADER_BYTES_MAX);
    if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
        tracing::debug!(%error, "an admin connection broke");
    }
}

fn answer(method: &Method, path: &str, admin: &Admin, drain: &Drain) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/livez" | "/readyz" | "/metrics" | "/schemas" | "/slow-readers") {
        return text(StatusCode::NOT_FOUND, "there is no such page; / lists them\n");
    }
    if method != Method::GET && method != Method::HEAD {
        return not_allowed("GET, HEAD", "only GET and HEAD\n");
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok"),
        "/readyz" => readyz((admin.ready)(), drain.is_announced()),
        "/metrics" => metrics((admin.metrics)()),
        "/schemas" => response(StatusCode::OK, "application/json", (admin.schemas)()),
        "/slow-readers" => response(StatusCode::OK, "application/json", (admin.slow_readers)()),
        _ => text(StatusCode::OK, INDEX),
    }
}

/// What of the gateway is to drain.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainRequest {
    /// This share, 0 to 1, of the connections in use; none: the whole process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// `POST /drain`.
async fn command(request: Request<Incoming>, drain: &Drain) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return not_allowed("POST", "only POST\n");
    }
    if request.headers().contains_key(header::ORIGIN) {
        // A browser on this machine may be anybody's (RFC 6454 §7.3: it names the page with every POST).
        return text(StatusCode::FORBIDDEN, "no page may ask for this\n");
    }
    let body = timeout(HEADER_TIMEOUT, Limited::new(request.into_body(), COMMAND_BYTES_MAX).collect());
    let Ok(Ok(body)) = body.await else {
        return text(StatusCode::BAD_REQUEST, "the body is too long, or did not come\n");
    };
    let body = body.to_bytes();
    let asked = if body.is_empty() { Ok(DrainRequest::default()) } else { serde_json::from_slice(&body) };
    let told = match asked {
        Ok(DrainRequest { share: None }) => {
            drain.ask();
            json!({ "draining": true })
        }
        Ok(DrainRequest { share: Some(share) }) if share > 0.0 && share <= 1.0 => {
            let Shed { asked, in_use } = drain.shed(share);
            tracing::info!(share, asked, in_use, "connections are asked to leave, the oldest first");
            json!({ "asked": asked, "in_use": in_use })
        }
        Ok(_) => return text(StatusCode::BAD_REQUEST, "share: above 0 and at most 1\n"),
        Err(error) => {
            let text = format!("the body is not {{}} or {{\"share\": 0.2}}: {error}\n");
            return response(StatusCode::BAD_REQUEST, TEXT, text);
        }
    };
    response(StatusCode::OK, "application/json", told.to_string())
}

fn not_allowed(allowed: &'static str, what: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, what);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn readyz(mut readiness: Readiness, draining: bool) -> Response<Full<Bytes>> {
    if draining {
        readiness.problems.insert(0, "draining: the process is about to end".into());
    }
    if readiness == (Readiness { ready: true, problems: Vec::new() }) {
        return text(StatusCode::OK, "ok");
    }
    let ready = readiness.ready && !draining;
    let body = json!({ "ready": ready, "problems": readiness.problems }).to_string();
    response(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "application/json", body)
}

fn metrics(exposition: String) -> Response<Full<Bytes>> {
    let is_open_metrics = exposition.trim_end().ends_with("# EOF");
    let kind = if is_open_metrics { OPEN_METRICS } else { PROMETHEUS };
    response(StatusCode::OK, kind, exposition)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, body)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const INDEX: &str = "\
Tidegate admin

/livez         ok while the process runs
/readyz        ok while calls can be answered, else what is in the way
/schemas       what is known of every upstream's schema
/slow-readers  the clients that are furthest behind in what is kept for them
/metrics       every metric, in the text format of OpenMetrics

POST /drain                  the process ends when its calls have
POST /drain {\"share\": 0.2}   a fifth of the connections in use is asked to leave
";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The path of the only command.
pub const DRAIN: &str = "/drain";
const COMMAND_BYTES_MAX: usize = 1 << 10;

/// Probes and scrapers are few; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use futures_util::FutureExt;

    use super::*;
    use crate::drain::Connection;

    fn get(address: SocketAddr, request_line: &str) -> String {
        ask(address, request_line, "", "")
    }

    fn ask(address: SocketAddr, request_line: &str, headers: &str, body: &str) -> String {
        let mut tcp = TcpStream::connect(address).unwrap();
        write!(tcp, "{request_line} HTTP/1.1\r\nhost: admin\r\n{headers}connection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    }

    fn start(readiness: Readiness, exposition: &'static str) -> (SocketAddr, Drain) {
        let drain = Drain::new();
        let admin = Admin {
            ready: Arc::new(move || readiness.clone()),
            metrics: Arc::new(move || exposition.to_owned()),
            schemas: Arc::new(|| r#"{"upstreams":[]}"#.to_owned()),
            slow_readers: Arc::new(|| r#"{"slow_readers":[]}"#.to_owned()),
        };
        let address = spawn("127.0.0.1:0".parse().unwrap(), admin, drain.clone()).unwrap();
        (address, drain)
    }

    fn ready() -> Readiness {
        Readiness { ready: true, problems: Vec::new() }
    }

    #[test]
    fn every_page_answers_get_and_only_get() {
        let (address, _drain) = start(ready(), "a_total 1\n# EOF\n");
        for (request, status, part) in [
            ("GET /livez", "200 OK", "\r\n\r\nok"),
            ("GET /readyz", "200 OK", "\r\n\r\nok"),
            ("GET /readyz?verbose", "200 OK", "\r\n\r\nok"),
            ("GET /metrics", "200 OK", "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
            ("GET /metrics", "200 OK", "a_total 1\n# EOF\n"),
            ("GET /schemas", "200 OK", "content-type: application/json"),
            ("GET /schemas", "200 OK", r#"{"upstreams":[]}"#),
            ("GET /slow-readers", "200 OK", r#"{"slow_readers":[]}"#),
            ("GET /", "200 OK", "/readyz"),
            ("HEAD /livez", "200 OK", "content-length: 2"),
            ("GET /metrics/", "404 Not Found", "no such page"),
            ("POST /livez", "405 Method Not Allowed", "allow: GET, HEAD"),
        ] {
            let answer = get(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(answer.contains(part), "{request}: {answer}");
        }
    }

    #[test]
    fn the_command_to_drain_is_for_programs_and_says_what_it_did() {
        let (address, drain) = start(ready(), "");
        let registry = drain.registry();
        let connections: Vec<_> = (0..5).map(|_| registry.enter()).collect();
        let _busy: Vec<_> = connections.iter().map(Connection::begin_request).collect();
        for (headers, body, status, part) in [
            ("", r#"{"share":0.4}"#, "200 OK", r#"{"asked":2,"in_use":5}"#),
            ("", r#"{"share":0}"#, "400 Bad Request", "above 0 and at most 1"),
            ("", r#"{"share":1.1}"#, "400 Bad Request", "above 0 and at most 1"),
            ("", r#"{"share":"20%"}"#, "400 Bad Request", "the body is not"),
            ("", r#"{"shares":0.2}"#, "400 Bad Request", "unknown field `shares`"),
            ("", &" ".repeat(2 * COMMAND_BYTES_MAX), "400 Bad Request", "too long"),
            ("origin: http://localhost\r\n", "", "403 Forbidden", "no page"),
        ] {
            let length = body.len();
            let answer = ask(address, "POST /drain", &format!("{headers}content-length: {length}\r\n"), body);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{body}: {answer}");
            assert!(answer.contains(part), "{body}: {answer}");
        }
        let asked = drain.clone();
        let is_asked = || asked.asked().now_or_never().is_some();
        assert!(get(address, "GET /drain").contains("allow: POST\r\n"));
        assert!(!is_asked(), "by nothing so far");
        assert!(ask(address, "POST /drain", "", "").ends_with(r#"{"draining":true}"#));
        assert!(is_asked());
    }

    #[test]
    fn metrics_without_an_end_mark_are_told_as_prometheus_text() {
        let (address, _drain) = start(ready(), "a 1\n");
        assert!(get(address, "GET /metrics").contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    }

    #[test]
    fn what_is_in_the_way_of_readiness_is_named() {
        let problems = vec!["upstream liker: no schema yet".to_owned()];
        let (address, _drain) = start(Readiness { ready: false, problems }, "");
        let answer = get(address, "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"problems":["upstream liker: no schema yet"],"ready":false}"#), "{answer}");
    }

    #[test]
    fn a_problem_that_is_in_nobodys_way_is_told_all_the_same() {
        let problems = vec!["upstream liker: the new schema is refused".to_owned()];
        let (address, _drain) = start(Readiness { ready: true, problems }, "");
        let answer = get(address, "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.ends_with(r#"{"problems":["upstream liker: the new schema is refused"],"ready":true}"#),
            "{answer}"
        );
    }

    #[test]
    fn while_it_drains_the_process_is_alive_but_not_ready_and_then_nobody_listens() {
        let (address, drain) = start(ready(), "");
        let in_flight = drain.hold();
        drain.begin();
        assert!(get(address, "GET /livez").starts_with("HTTP/1.1 200 "));
        let answer = get(address, "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("draining"), "{answer}");

        let mut open = TcpStream::connect(address).unwrap();
        drop(in_flight);
        // The server drops every connection as it ends: a real event to wait for.
        let mut rest = Vec::new();
        let _ = open.read_to_end(&mut rest);
        assert!(rest.is_empty());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let page = Arc::new(String::new);
        let (metrics, schemas, slow_readers) = (page.clone(), page.clone(), page);
        let admin = Admin { ready: Arc::new(ready), metrics, schemas, slow_readers };
        let error = spawn(address, admin, Drain::new()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("the admin server cannot listen on {address}: ")), "{error}");
    }
}
