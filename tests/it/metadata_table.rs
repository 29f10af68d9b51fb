//! What passes, is stripped and is renamed, in each dialect and both ways (PROTOCOLS §3), as `tests/data/metadata.txt` has
//! it: its first column is what is sent, the others are what arrives.

use std::{env, fs, path::PathBuf};

use http::{HeaderMap, HeaderName, Response};
use serde_json::Value;

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{Config, Gateway, Via, http::Headers, ws::WebSocket},
};

const ROUTE: &str = "cors: { origins: [ \"*\" ] }\nroutes:\n  - match: { service: tidegate.test.v1 }\n    \
                     request_headers: [ x-listed ]\n    response_headers: [ x-listed, x-listed-bin ]";

/// A dialect, as a plain HTTP client speaks it.
struct Tongue {
    name: &'static str,
    via: Via,
    method: &'static str,
    target: &'static str,
    headers: Headers<'static>,
}

const META: &str = "/tidegate.test.v1.Echo/Meta";
const DOWN: &str = "/tidegate.test.v1.Echo/Down";

const TONGUES: [Tongue; 7] = [
    Tongue { name: "json", via: Via::H1, method: "GET", target: "/echo/meta", headers: &[] },
    Tongue {
        name: "sse",
        via: Via::H1,
        method: "GET",
        target: "/echo/meta",
        headers: &[("accept", "text/event-stream")],
    },
    Tongue { name: "ws", via: Via::H1, method: "GET", target: "/echo/meta", headers: &[] },
    Tongue {
        name: "grpc",
        via: Via::H2c,
        method: "POST",
        target: META,
        headers: &[("content-type", "application/grpc"), ("te", "trailers")],
    },
    Tongue {
        name: "grpc-web",
        via: Via::H1,
        method: "POST",
        target: META,
        headers: &[("content-type", "application/grpc-web")],
    },
    Tongue {
        name: "connect",
        via: Via::H1,
        method: "POST",
        target: META,
        headers: &[("content-type", "application/proto")],
    },
    Tongue {
        name: "connect-stream",
        via: Via::H1,
        method: "POST",
        target: DOWN,
        headers: &[("content-type", "application/connect+proto")],
    },
];

/// Where metadata of a reply may stand.
type Place = (&'static str, HeaderMap);

impl Tongue {
    /// Makes a call, and tells where its reply may bear metadata.
    async fn speak(&self, gateway: &Gateway, sent: Headers<'_>) -> Vec<Place> {
        let headers = [self.headers, sent].concat();
        if self.name == "ws" {
            let mut socket = WebSocket::open(gateway, Via::H1, self.target, &headers).await.expect("an upgrade");
            socket.next().await;
            return vec![("head", socket.headers)];
        }
        let body = match self.name {
            "grpc" | "grpc-web" | "connect-stream" => Some(framed(b"")),
            _ => (self.method == "POST").then(Default::default),
        };
        let answer = gateway.connect(self.via).await.whole(self.method, self.target, &headers, body).await;
        assert!(answer.status.is_success(), "{}: {answer:?}", self.name);
        let end = match self.name {
            "grpc-web" => trailers_frame(&answer.body),
            "connect-stream" => end_stream(&answer.body),
            _ => HeaderMap::new(),
        };
        vec![("head", answer.headers), ("trailers", answer.trailers), ("end", end)]
    }

    /// The method that its target is of.
    fn called(&self) -> &'static str {
        if self.target == DOWN { "Down" } else { "Meta" }
    }

    /// Whether its HTTP has such a header (RFC 9113 §8.2.2).
    fn can_send(&self, name: &str) -> bool {
        !self.via.is_h2() || !matches!(name, "connection" | "keep-alive" | "x-hop")
    }
}

/// The payload of the first envelope with this flag.
fn envelope(body: &[u8], flag: u8) -> &[u8] {
    let (head, rest) = body.split_at_checked(5).expect("such an envelope");
    let (payload, rest) = rest.split_at(u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
    if head[0] == flag { payload } else { envelope(rest, flag) }
}

fn trailers_frame(body: &[u8]) -> HeaderMap {
    let text = str::from_utf8(envelope(body, 0x80)).expect("text");
    let pairs = text.lines().map(|line| line.split_once(':').expect("a header"));
    pairs.map(|(name, value)| (name_of(name), value.trim().parse().expect("a value"))).collect()
}

fn end_stream(body: &[u8]) -> HeaderMap {
    let end: Value = serde_json::from_slice(envelope(body, 2)).expect("JSON");
    let metadata = end["metadata"].as_object().into_iter().flatten();
    metadata
        .map(|(name, values)| (name_of(name), values[0].as_str().expect("text").parse().expect("a value")))
        .collect()
}

fn name_of(name: &str) -> HeaderName {
    name.parse().expect("a name")
}

/// `=` where the header is there as it was sent, the name that its value has instead, `other` for another value, `-`.
fn arrived(headers: &HeaderMap, name: &str, value: &str) -> String {
    let is = |found: &http::HeaderValue| {
        let found = found.to_str().unwrap_or_default();
        found == value || name.ends_with("-bin") && found.trim_end_matches('=') == value.trim_end_matches('=')
    };
    if headers.get_all(name).iter().any(is) {
        return "=".to_owned();
    }
    match headers.iter().find(|(_, found)| value.len() > 2 && is(found)) {
        Some((renamed, _)) => renamed.to_string(),
        None if headers.contains_key(name) => "other".to_owned(),
        None => "-".to_owned(),
    }
}

type Pair<'a> = (&'a str, &'a str);

/// What the upstream gets of the headers, all sent at once.
async fn requests(sent: &[Pair<'_>], cells: &mut [Vec<String>]) {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTE)).await;
    for tongue in &TONGUES {
        let headers: Vec<_> = sent.iter().copied().filter(|(name, _)| tongue.can_send(name)).collect();
        tongue.speak(&gateway, &headers).await;
        let seen = backend.call(tongue.called()).await;
        for ((name, value), row) in sent.iter().zip(&mut *cells) {
            row.push(if tongue.can_send(name) { arrived(&seen.headers, name, value) } else { ".".to_owned() });
        }
    }
}

/// What the upstream gets of each deadline, sent alone.
async fn deadlines(sent: &[Pair<'_>], cells: &mut [Vec<String>]) {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTE)).await;
    for tongue in &TONGUES {
        for (pair, row) in sent.iter().zip(&mut *cells) {
            tongue.speak(&gateway, &[*pair]).await;
            let seen = backend.call(tongue.called()).await;
            let left = seen.timeout().map(|left| format!("{}s", left.as_secs_f64().ceil()));
            row.push(left.unwrap_or_else(|| "-".to_owned()));
        }
    }
}

/// Where a client finds an upstream's metadata, initial (`head NAME: VALUE`) and trailing (`end NAME: VALUE`).
async fn replies(sent: &[Pair<'_>], cells: &mut [Vec<String>]) {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTE)).await;
    for tongue in &TONGUES {
        let serve = async {
            let mut call = backend.call().await;
            let mut head = Response::builder().header("content-type", "application/grpc");
            for (name, value) in placed(sent, "head ") {
                head = head.header(name, value);
            }
            call.answer(head.body(()).expect("a head"), false);
            call.data(framed(b""));
            let trailers: Vec<_> = placed(sent, "end ").chain([("grpc-status", "0")]).collect();
            call.trailers(&trailers);
        };
        let (places, ()) = tokio::join!(tongue.speak(&gateway, &[]), serve);
        for ((name, value), row) in sent.iter().zip(&mut *cells) {
            let (_, name) = name.split_once(' ').expect("where it is sent");
            row.push(found_in(&places, name, value));
        }
    }
}

fn found_in(places: &[Place], name: &str, value: &str) -> String {
    let found = places.iter().map(|(place, headers)| (*place, arrived(headers, name, value)));
    let (there, elsewhere): (Vec<_>, Vec<_>) = found.filter(|(_, how)| how != "-").partition(|(_, how)| how == "=");
    let there = there.into_iter().map(|(place, _)| place.to_owned());
    let elsewhere = elsewhere.into_iter().map(|(place, how)| format!("{place}:{how}"));
    there.chain(elsewhere).next().unwrap_or_else(|| "-".to_owned())
}

fn placed<'a>(sent: &'a [Pair<'a>], place: &'a str) -> impl Iterator<Item = Pair<'a>> {
    sent.iter().filter_map(move |(name, value)| Some((name.strip_prefix(place)?, *value)))
}

/// The table with its cells as they are found; the comments above it stay.
async fn found(table: &str) -> String {
    let (comments, sections) = table.split_at(table.find("== ").expect("a section"));
    let mut found = comments.to_owned();
    for section in sections.split("\n\n") {
        let rows: Vec<&str> = section.lines().map(|line| line.split("  ").next().unwrap_or(line)).collect();
        let (title, rows) = rows.split_first().expect("a title");
        let sent: Vec<Pair<'_>> = rows.iter().map(|row| row.split_once(": ").expect("NAME: VALUE")).collect();
        let mut cells = vec![Vec::new(); rows.len()];
        match *title {
            "== requests" => requests(&sent, &mut cells).await,
            "== deadlines" => deadlines(&sent, &mut cells).await,
            "== replies" => replies(&sent, &mut cells).await,
            title => panic!("no section: {title}"),
        }
        cells.insert(0, TONGUES.iter().map(|tongue| tongue.name.to_owned()).collect());
        let first = [title].into_iter().chain(rows);
        found += &aligned(first.zip(cells).map(|(first, cells)| [vec![(*first).to_owned()], cells].concat()).collect());
    }
    found
}

/// The lines of a table, and a blank one.
fn aligned(rows: Vec<Vec<String>>) -> String {
    let widths: Vec<usize> =
        (0..=TONGUES.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.into_iter().map(line).collect::<String>() + "\n"
}

#[tokio::test]
async fn metadata_passes_is_stripped_and_is_renamed_as_the_table_says() {
    let path = PathBuf::from_iter([env!("CARGO_MANIFEST_DIR"), "tests", "data", "metadata.txt"]);
    let expected = fs::read_to_string(&path).expect("the fixture is there");
    let found = found(expected.trim_end()).await.trim_end().to_owned() + "\n";
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).expect("the fixture can be written");
        return;
    }
    assert!(found == expected, "other than in {}:\n{found}", path.display());
}
