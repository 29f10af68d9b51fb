//! The client against servers in memory: honest ones, and ones that lie, loop or stop half-way.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::{
    proto::{
        ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServiceResponse,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    *,
};
use crate::{
    call::{Closed, UnaryReply},
    schema::{Schema, Source, raw},
};

const TEST_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));

/// What a server does about one request.
enum Reaction {
    Answer(MessageResponse),
    /// Bytes of the stream as they are.
    Bytes(Vec<u8>),
    End(Result<HeaderMap, Status>),
    Silence,
}

type Server = dyn Fn(usize, MessageRequest) -> Reaction + Send + Sync;

/// Serves the versions that it has; the others are UNIMPLEMENTED.
struct Fake {
    versions: Vec<&'static str>,
    server: Arc<Server>,
    /// Bytes of one event at most.
    piece: usize,
    /// Ends the stream when the client half-closes.
    ends: bool,
    opened: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Shared {
    events: VecDeque<ReplyEvent>,
    waker: Option<Waker>,
    ended: bool,
}

struct Up {
    shared: Arc<Mutex<Shared>>,
    server: Arc<Server>,
    requests: usize,
    piece: usize,
    ends: bool,
}

struct Down(Arc<Mutex<Shared>>);

impl Shared {
    fn push(&mut self, event: ReplyEvent) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Fake {
    fn new(server: impl Fn(usize, MessageRequest) -> Reaction + Send + Sync + 'static) -> Self {
        let opened = Mutex::default();
        Self { versions: vec!["v1"], server: Arc::new(server), piece: usize::MAX, ends: true, opened }
    }

    /// Tells what a set has, file by file.
    fn honest(set: &[u8]) -> Self {
        let files = files_of(set);
        Self::new(move |_, request| Reaction::Answer(describe(&files, request)))
    }
}

impl Transport for Fake {
    type Requests = Up;
    type Replies = Down;

    async fn unary(&self, _: CallHead, _: Bytes, _: usize) -> Result<UnaryReply, Status> {
        unreachable!("reflection is a stream")
    }

    async fn open(&self, head: CallHead) -> Result<(Up, Down), Status> {
        let path = head.path.as_str().to_owned();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let known = self
            .versions
            .iter()
            .any(|version| path == format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"));
        if !known {
            shared.lock().unwrap().push(ReplyEvent::End(Err(Status::upstream(Code::Unimplemented, "unknown service"))));
        }
        self.opened.lock().unwrap().push(path);
        let up =
            Up { shared: shared.clone(), server: self.server.clone(), requests: 0, piece: self.piece, ends: self.ends };
        Ok((up, Down(shared)))
    }
}

impl Requests for Up {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let ended = matches!(self.shared.lock().unwrap().events.back(), Some(ReplyEvent::End(_)));
        Poll::Ready(if ended { Err(Closed) } else { Ok(()) })
    }

    fn send(&mut self, envelopes: Bytes) {
        let mut deframer = Deframer::new(usize::MAX);
        deframer.push(envelopes);
        let payload = deframer.next_envelope().unwrap().expect("one whole request").payload;
        let request = ServerReflectionRequest::decode(payload).unwrap().message_request.unwrap();
        let mut shared = self.shared.lock().unwrap();
        let bytes = match (self.server)(self.requests, request) {
            Reaction::Silence => return,
            Reaction::End(end) => return shared.push(ReplyEvent::End(end)),
            Reaction::Bytes(bytes) => bytes,
            Reaction::Answer(answer) => framed(answer),
        };
        self.requests += 1;
        for piece in bytes.chunks(self.piece.min(bytes.len().max(1))) {
            shared.push(ReplyEvent::Data(Bytes::copy_from_slice(piece)));
        }
    }

    fn send_last(&mut self, envelopes: Bytes) {
        self.send(envelopes);
        self.finish();
    }

    fn finish(&mut self) {
        if self.ends {
            self.shared.lock().unwrap().push(ReplyEvent::End(Ok(HeaderMap::new())));
        }
    }
}

impl Replies for Down {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        let mut shared = self.0.lock().unwrap();
        assert!(!shared.ended, "asked again after the end");
        let Some(event) = shared.events.pop_front() else {
            shared.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        shared.ended = matches!(event, ReplyEvent::End(_));
        Poll::Ready(event)
    }
}

fn framed(answer: MessageResponse) -> Vec<u8> {
    let message = ServerReflectionResponse { message_response: Some(answer), ..Default::default() };
    let mut out = Vec::new();
    let start = open_envelope(&mut out);
    message.encode(&mut out).unwrap();
    close_envelope(&mut out, start).unwrap();
    out
}

type Files = Vec<(raw::FileHead, Vec<u8>)>;

fn files_of(set: &[u8]) -> Files {
    raw::Fields::of(set)
        .map(|field| {
            let file = field.unwrap().value.unwrap();
            (raw::FileHead::parse(file).unwrap(), file.to_vec())
        })
        .collect()
}

/// Only the file asked for, as Go's server does.
fn describe(files: &Files, request: MessageRequest) -> MessageResponse {
    let found = match request {
        MessageRequest::ListServices(_) => return services(files.iter().flat_map(|(head, _)| head.services.clone())),
        MessageRequest::FileByFilename(name) => files.iter().find(|(head, _)| head.name == name),
        MessageRequest::FileContainingSymbol(name) => files.iter().find(|(head, _)| head.services.contains(&name)),
        _ => None,
    };
    found.map_or_else(not_found, |(_, file)| file_answer([file.clone()]))
}

fn services(names: impl IntoIterator<Item = String>) -> MessageResponse {
    let service = names.into_iter().map(|name| ServiceResponse { name }).collect();
    MessageResponse::ListServicesResponse(ListServiceResponse { service })
}

fn file_answer(files: impl IntoIterator<Item = Vec<u8>>) -> MessageResponse {
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
        file_descriptor_proto: files.into_iter().collect(),
    })
}

fn not_found() -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: 5, error_message: "not found".to_owned() })
}

/// A serialized file with a name, imports, and services of package `p`.
fn file(name: &str, imports: &[&str], services: &[&str]) -> Vec<u8> {
    prost_types::FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some("p".to_owned()),
        dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
        service: services
            .iter()
            .map(|service| prost_types::ServiceDescriptorProto {
                name: Some((*service).to_owned()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

async fn fetch_soon(fake: &Fake) -> Result<Told, Status> {
    /// A worker may fetch beside other tasks.
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    is_send(fetch(fake, Instant::now() + Duration::from_secs(10))).await
}

/// The code and the text of what comes of a server that answers so.
async fn failure(server: impl Fn(usize, MessageRequest) -> Reaction + Send + Sync + 'static) -> (Code, String) {
    let status = fetch_soon(&Fake::new(server)).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SchemaUnavailable));
    (status.code(), status.message().to_owned())
}

/// Lists one service `p.S`, then does something.
fn then(reaction: impl Fn() -> Reaction + Send + Sync) -> impl Fn(usize, MessageRequest) -> Reaction + Send + Sync {
    move |turn, _| if turn == 0 { Reaction::Answer(services(["p.S".to_owned()])) } else { reaction() }
}

#[tokio::test]
async fn an_honest_server_gives_a_schema_that_its_files_give() {
    for piece in [usize::MAX, 1000, 7] {
        let mut fake = Fake::honest(TEST_SET);
        fake.piece = piece;
        let Told { set, unknown } = fetch_soon(&fake).await.unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        let mut sent: Vec<_> = files_of(TEST_SET).into_iter().map(|(_, file)| file).collect();
        let mut got: Vec<_> = files_of(&set).into_iter().map(|(_, file)| file).collect();
        sent.sort();
        got.sort();
        assert!(sent == got, "the files are those that were sent, byte for byte");
        let schema =
            Schema::merge(&[Source { upstream: 0, name: "test", set: &set, service_config: &Default::default() }])
                .unwrap();
        assert!(schema.method("/tidegate.test.v1.Echo/Say").is_some());
        assert_eq!(fake.opened.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_same_files_are_the_same_set_in_whatever_order_they_come() {
    let files = files_of(TEST_SET);
    let all: Vec<_> = files.into_iter().map(|(_, file)| file).collect();
    let sent_at_once = |files: Vec<Vec<u8>>| {
        Fake::new(move |turn, _| match turn {
            0 => Reaction::Answer(services(["tidegate.test.v1.Echo".to_owned()])),
            _ => Reaction::Answer(file_answer(files.clone())),
        })
    };
    let reversed = all.iter().rev().cloned().collect();
    let set = fetch_soon(&sent_at_once(all)).await.unwrap().set;
    assert_eq!(fetch_soon(&sent_at_once(reversed)).await.unwrap().set, set);
    assert_eq!(fetch_soon(&Fake::honest(TEST_SET)).await.unwrap().set, set);
}

#[tokio::test]
async fn a_server_that_sends_imports_along_is_not_asked_for_them() {
    let files = files_of(TEST_SET);
    let all: Vec<_> = files.iter().map(|(_, file)| file.clone()).collect();
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let fake = Fake::new(move |_, request| {
        *count.lock().unwrap() += 1;
        Reaction::Answer(match request {
            MessageRequest::ListServices(_) => describe(&files, request),
            _ => file_answer(all.clone()),
        })
    });
    fetch_soon(&fake).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), 2);
}

#[tokio::test]
async fn v1alpha_is_asked_where_v1_is_not_implemented() {
    let mut fake = Fake::honest(TEST_SET);
    fake.versions = vec!["v1alpha"];
    assert!(fetch_soon(&fake).await.is_ok());
    assert_eq!(fake.opened.lock().unwrap().len(), 2);
    fake.versions = vec![];
    let status = fetch_soon(&fake).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "the server has no server reflection, neither v1 nor v1alpha");
}

#[test]
fn both_versions_are_the_same_on_the_wire() {
    let code = |text: &'static str| text.lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
    let v1 = code(include_str!("../../../proto/grpc/reflection/v1/reflection.proto"));
    let v1alpha = code(include_str!("../../../proto/grpc/reflection/v1alpha/reflection.proto"));
    assert_eq!(v1.replace("reflection.v1;", "reflection.v1alpha;").trim(), v1alpha.trim());
}

#[tokio::test]
async fn imports_in_a_circle_and_missing_imports_end() {
    let mut set = Vec::new();
    for file in [file("a", &["b", "gone"], &["S"]), file("b", &["a", "b"], &[])] {
        raw::push_file(&file, &mut set);
    }
    let told = fetch_soon(&Fake::honest(&set)).await.unwrap();
    assert_eq!((told.set.as_ref(), told.unknown), (set.as_slice(), vec!["the file `gone`".to_owned()]));
}

#[tokio::test]
async fn infrastructure_and_services_that_cannot_be_described_are_left_out() {
    let one = file("a", &[], &["S"]);
    let fake = Fake::new(move |_, request| {
        Reaction::Answer(match request {
            MessageRequest::ListServices(_) => {
                services(["grpc.reflection.v1.ServerReflection", "p.Ghost", "p.S"].map(str::to_owned))
            }
            MessageRequest::FileContainingSymbol(name) if name == "p.S" => file_answer([one.clone()]),
            MessageRequest::FileContainingSymbol(name) if name == "p.Ghost" => not_found(),
            other => panic!("asked for {other:?}"),
        })
    });
    let told = fetch_soon(&fake).await.unwrap();
    assert_eq!((files_of(&told.set).len(), told.unknown), (1, vec!["the file of `p.Ghost`".to_owned()]));
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told() {
    type Case = (Box<dyn Fn() -> Reaction + Send + Sync>, &'static str);
    let cases: Vec<Case> = vec![
        (
            Box::new(|| Reaction::Answer(file_answer([file("x", &[], &["Other"])]))),
            "server reflection: asked for the file of `p.S`, the server sent other files",
        ),
        (
            Box::new(|| Reaction::Answer(file_answer([]))),
            "server reflection: asked for the file of `p.S`, the server sent other files",
        ),
        (
            Box::new(|| Reaction::Answer(services([]))),
            "server reflection: asked for the file of `p.S`, the server answered with a list of services",
        ),
        (
            Box::new(|| Reaction::Answer(file_answer([vec![0x0a, 0xff]]))),
            "server reflection: asked for the file of `p.S`, the server sent what is no FileDescriptorProto",
        ),
        (
            Box::new(|| Reaction::Answer(not_found())),
            "server reflection: the server knows none of the services that it lists",
        ),
        (
            Box::new(|| {
                Reaction::Answer(MessageResponse::ErrorResponse(ErrorResponse {
                    error_code: 7,
                    error_message: "x".repeat(1000),
                }))
            }),
            "server reflection: asked for the file of `p.S`, the server refused with PERMISSION_DENIED: xxx",
        ),
        (
            Box::new(|| Reaction::Bytes(vec![0, 0xff, 0, 0, 0])),
            "server reflection: a message of 4278190080 bytes is larger than the limit of 16777216 bytes",
        ),
        (Box::new(|| Reaction::Bytes(vec![1, 0, 0, 0, 0])), "server reflection: a message's flags are 0x01"),
        (
            Box::new(|| Reaction::Bytes(vec![0, 0, 0, 0, 1, 0xff])),
            "server reflection: an answer is not a ServerReflectionResponse",
        ),
        (
            Box::new(|| Reaction::Bytes(vec![0, 0, 0, 0, 0])),
            "server reflection: asked for the file of `p.S`, the server answered nothing",
        ),
        (
            Box::new(|| Reaction::End(Ok(HeaderMap::new()))),
            "server reflection: the server ended the stream after 1 answers, with more to come",
        ),
    ];
    for (reaction, expected) in cases {
        let (code, message) = failure(then(reaction)).await;
        assert_eq!(code, Code::Internal);
        assert!(message.starts_with(expected), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[tokio::test]
async fn a_call_that_fails_half_way_keeps_its_code() {
    let (code, message) = failure(then(|| Reaction::End(Err(Status::upstream(Code::Unavailable, "gone away"))))).await;
    assert_eq!((code, message.as_str()), (Code::Unavailable, "server reflection: gone away"));
    // Half-way, this no longer means that the version is not there.
    let (code, _) = failure(then(|| Reaction::End(Err(Status::upstream(Code::Unimplemented, "odd"))))).await;
    assert_eq!(code, Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_at_the_deadline() {
    let began = Instant::now();
    let (code, message) = failure(then(|| Reaction::Silence)).await;
    assert_eq!((code, message.as_str()), (Code::DeadlineExceeded, "server reflection did not answer in time"));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_end_the_stream_is_not_waited_for() {
    let mut fake = Fake::honest(TEST_SET);
    fake.ends = false;
    let began = Instant::now();
    assert!(fetch_soon(&fake).await.is_ok());
    assert_eq!(began.elapsed(), END_TIMEOUT);
}

#[tokio::test]
async fn a_server_that_invents_ever_more_imports_is_bounded() {
    let (_, message) = failure(|turn, request| {
        Reaction::Answer(match request {
            MessageRequest::ListServices(_) => services(["p.S".to_owned()]),
            MessageRequest::FileByFilename(name) => {
                let imports: Vec<_> = (0..100).map(|index| format!("{turn}.{index}")).collect();
                file_answer([file(&name, &imports.iter().map(String::as_str).collect::<Vec<_>>(), &[])])
            }
            _ => file_answer([file("first", &["0"], &["S"])]),
        })
    })
    .await;
    assert_eq!(message, "server reflection: the server has more than 50000 files");
}

#[tokio::test]
async fn a_server_with_too_many_services_or_bytes_is_bounded() {
    let (_, message) = failure(|_, _| Reaction::Answer(services((0..10_001).map(|index| format!("p.S{index}"))))).await;
    assert_eq!(message, "server reflection: the server has more than 10000 services");
    let (_, message) = failure(|_, _| Reaction::Answer(services(["s".repeat(5000)]))).await;
    assert_eq!(message, "server reflection: the server has a name of more than 4096 bytes");
    let (_, message) = failure(|turn, request| match request {
        MessageRequest::ListServices(_) => Reaction::Answer(services((0..10).map(|index| format!("p.S{index}")))),
        MessageRequest::FileContainingSymbol(name) => {
            let mut bytes = file(&turn.to_string(), &[], &[&name[2..]]);
            // Source information that says nothing.
            let padding = vec![0; 10 << 20];
            bytes.extend([9 << 3 | 2]);
            crate::wire::varint::write(padding.len() as u64, &mut bytes);
            bytes.extend(padding);
            Reaction::Answer(file_answer([bytes]))
        }
        _ => Reaction::Silence,
    })
    .await;
    assert_eq!(message, "server reflection: the server's files have more than 67108864 bytes");
}
