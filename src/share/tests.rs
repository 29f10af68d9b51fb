//! Topics with their pumps, over upstreams in memory and a paused clock.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{entry::envelope, *};
use crate::{
    call::{Closed, Replies, ReplyEvent, Requests, Transport, UnaryReply},
    config::OutputSettings,
    limits::Limits,
    status::{Code, Reason, Status},
    telemetry::Telemetry,
};

/// An upstream that does what a test says.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    /// Of the calls to come; none left: they wait for events.
    refusals: VecDeque<Status>,
    calls: Vec<Seen>,
}

struct Seen {
    head: CallHead,
    request: Bytes,
    events: Option<mpsc::UnboundedSender<ReplyEvent>>,
    taken: Arc<AtomicUsize>,
}

struct Up(Fake, usize);
struct Down(mpsc::UnboundedReceiver<ReplyEvent>, Arc<AtomicUsize>);

impl Transport for Fake {
    type Requests = Up;
    type Replies = Down;

    async fn unary(&self, _: CallHead, _: Bytes, _: usize) -> Result<UnaryReply, Status> {
        Err(Status::gateway(Code::Unimplemented, "only streams are shared"))
    }

    async fn open(&self, head: CallHead) -> Result<(Up, Down), Status> {
        let mut all = self.0.lock().unwrap();
        let refusal = all.refusals.pop_front();
        let (events, receiver) = mpsc::unbounded_channel();
        let taken = Arc::new(AtomicUsize::new(0));
        all.calls.push(Seen { head, request: Bytes::new(), events: Some(events), taken: taken.clone() });
        match refusal {
            Some(status) => Err(status),
            None => Ok((Up(self.clone(), all.calls.len() - 1), Down(receiver, taken))),
        }
    }
}

impl Requests for Up {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, envelopes: Bytes) {
        self.0.0.lock().unwrap().calls[self.1].request = envelopes;
    }

    fn finish(&mut self) {}

    fn send_last(&mut self, envelopes: Bytes) {
        self.send(envelopes);
    }
}

impl Replies for Down {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        self.0.poll_recv(cx).map(|event| {
            self.1.fetch_add(1, Relaxed);
            event.expect("a test ends its streams")
        })
    }
}

impl Fake {
    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    fn send(&self, call: usize, event: ReplyEvent) {
        let all = self.0.lock().unwrap();
        all.calls[call].events.as_ref().unwrap().send(event).expect("the call is open");
    }

    fn message(&self, call: usize, text: &str) {
        self.send(call, ReplyEvent::Data(envelope(text.as_bytes())));
    }

    fn is_cancelled(&self, call: usize) -> bool {
        self.0.lock().unwrap().calls[call].events.as_ref().unwrap().is_closed()
    }

    fn request(&self, call: usize) -> Bytes {
        self.0.lock().unwrap().calls[call].request.clone()
    }
}

/// A gateway's worth of what calls are shared with.
struct Bench {
    fake: Fake,
    hub: Hub,
    telemetry: Telemetry,
    settings: config::Share,
    slow_reader: SlowReader,
    resumes: bool,
    drain: Drain,
    start: Start,
    deadline: Option<Instant>,
    metadata: HeaderMap,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Limits::default())
    }

    fn with(limits: &Limits) -> Self {
        Self {
            fake: Fake::default(),
            hub: Hub::new(limits, 7, None),
            telemetry: Telemetry::to(Box::new(std::io::sink()), 1, false),
            settings: config::Share::default(),
            slow_reader: SlowReader::Disconnect,
            resumes: false,
            drain: Drain::new(),
            start: Start::Live,
            deadline: None,
            metadata: HeaderMap::new(),
        }
    }

    fn open(&self, request: &str) -> Download<Fake> {
        let resume: Resume = Arc::new(|request, last| Some(envelope(&[request, b" after ", last].concat())));
        let (mut up, down) = open(Sharing {
            hub: self.hub.clone(),
            transport: self.fake.clone(),
            head: CallHead {
                path: PathAndQuery::from_static("/a.B/Watch"),
                content_type: HeaderValue::from_static("application/grpc"),
                metadata: self.metadata.clone(),
                deadline: None,
            },
            own: Own {
                client: None,
                start: self.start,
                deadline: self.deadline,
                encodings: HeaderMap::new(),
                first: HeaderMap::new(),
            },
            settings: Arc::new(self.settings.clone()),
            slow_reader: self.slow_reader,
            upstream: "u".to_owned(),
            resume: self.resumes.then_some(resume),
            recorder: self.telemetry.recorder(),
            drain: self.drain.clone(),
            request_bytes_max: 100,
            reply_bytes_max: 1 << 20,
        });
        up.send_last(envelope(request.as_bytes()));
        down
    }

    fn metric(&self, name: &str) -> i64 {
        let text = self.telemetry.metrics_text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("there is such a metric");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// The next event, in words; `-` where there is none.
async fn next(down: &mut Download<Fake>) -> String {
    let event = timeout(Duration::from_micros(1), poll_fn(|cx| down.poll_event(cx))).await;
    match event {
        Err(_) => "-".to_owned(),
        Ok(Event::Head(_)) => "head".to_owned(),
        Ok(Event::Skipped(count)) => format!("skipped {count}"),
        Ok(Event::Gap(position)) => format!("gap {}", position.offset),
        Ok(Event::Message(entry)) => {
            format!("{} {}", entry.position().offset, String::from_utf8_lossy(&entry.message()))
        }
        Ok(Event::End(Ok(_))) => "end".to_owned(),
        Ok(Event::End(Err(status))) => {
            let reason = status.reason().map_or("-", Reason::name);
            format!("{} {reason} {}", status.code().name(), status.message())
        }
    }
}

async fn all(down: &mut Download<Fake>) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        match next(down).await {
            event if event == "-" => return events,
            event => events.push(event),
        }
        if events.last().is_some_and(|event| event == "end" || event.contains("UNAVAILABLE")) {
            return events;
        }
    }
}

fn died() -> ReplyEvent {
    ReplyEvent::End(Err(Status::upstream(Code::Unavailable, "died")))
}

#[tokio::test(start_paused = true)]
async fn the_same_call_is_made_once_and_all_get_what_comes_since_they_joined() {
    let bench = Bench::new();
    let mut first = bench.open("q");
    assert_eq!(next(&mut first).await, "-");
    bench.fake.send(0, ReplyEvent::Head(HeaderMap::new()));
    bench.fake.message(0, "a");
    assert_eq!(all(&mut first).await, ["head", "1 a"]);
    let mut second = bench.open("q");
    let mut other = bench.open("r");
    assert_eq!((next(&mut second).await.as_str(), next(&mut other).await.as_str()), ("head", "-"));
    assert_eq!(bench.fake.calls(), 2, "one for each request");
    bench.fake.message(0, "b");
    assert_eq!(all(&mut first).await, ["2 b"]);
    assert_eq!(all(&mut second).await, ["2 b"]);
    assert_eq!(bench.metric("tidegate_shared_subscribers"), 3);
    bench.fake.send(0, ReplyEvent::End(Ok(HeaderMap::new())));
    assert_eq!((all(&mut first).await, all(&mut second).await), (vec!["end".to_owned()], vec!["end".to_owned()]));
    assert_eq!(bench.metric("tidegate_shared_streams"), 1, "the other one");
    assert_eq!(bench.metric("tidegate_shared_messages_total"), 3);
    // What has ended is not joined.
    let mut late = bench.open("q");
    assert_eq!(next(&mut late).await, "-");
    assert_eq!(bench.fake.calls(), 3);
    drop((first, second, other, late));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_key_makes_a_stream_of_its_own() {
    let mut bench = Bench::new();
    let name = HeaderName::from_static("authorization");
    let mut kept = Vec::new();
    for (value, settings, calls) in [
        (None, config::Share::default(), 1),
        (Some("a"), config::Share::default(), 2),
        (Some("b"), config::Share::default(), 3),
        (Some("a"), config::Share::default(), 3),
        (None, config::Share::default(), 3),
        (None, config::Share { public: true, ..config::Share::default() }, 4),
    ] {
        bench.metadata = value.map(|value| (name.clone(), HeaderValue::from_static(value))).into_iter().collect();
        bench.settings = settings;
        let mut call = bench.open("q");
        next(&mut call).await;
        assert_eq!(bench.fake.calls(), calls, "{value:?}");
        kept.push(call);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_goes_on_where_it_stopped_or_is_told_that_it_cannot() {
    let mut bench = Bench::new();
    bench.settings.replay = 3;
    let mut first = bench.open("q");
    next(&mut first).await;
    bench.fake.send(0, ReplyEvent::Head(HeaderMap::new()));
    let mut epoch = 0;
    for text in ["a", "b", "c", "d"] {
        bench.fake.message(0, text);
        if let Ok(Event::Message(entry)) = timeout(Duration::from_secs(1), async {
            loop {
                match poll_fn(|cx| first.poll_event(cx)).await {
                    Event::Head(_) => {}
                    event => break event,
                }
            }
        })
        .await
        {
            epoch = entry.position().epoch;
        }
    }
    for (start, expected) in [
        (Start::After(Position { epoch, offset: 4 }), &["head"][..]),
        (Start::After(Position { epoch, offset: 3 }), &["head", "4 d"]),
        (Start::After(Position { epoch, offset: 1 }), &["head", "2 b", "3 c", "4 d"]),
        (Start::After(Position { epoch, offset: 0 }), &["gap 4", "head"]),
        (Start::After(Position { epoch, offset: 5 }), &["gap 4", "head"]),
        (Start::After(Position { epoch, offset: u64::MAX }), &["gap 4", "head"]),
        (Start::After(Position { epoch: epoch ^ 1, offset: 4 }), &["gap 4", "head"]),
        (Start::Gone, &["gap 4", "head"]),
        (Start::Live, &["head"]),
    ] {
        bench.start = start;
        assert_eq!(all(&mut bench.open("q")).await, expected, "{start:?}");
    }
    // And then live.
    bench.start = Start::Gone;
    let mut late = bench.open("q");
    assert_eq!(all(&mut late).await, ["gap 4", "head"]);
    bench.fake.message(0, "e");
    assert_eq!(all(&mut late).await, ["5 e"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_nothing_is_cut_off_and_harms_nobody() {
    let mut bench = Bench::with(&Limits { stream_buffer_messages_max: 128, ..Limits::default() });
    bench.settings.replay = 10;
    let mut quick = bench.open("q");
    let mut stuck = bench.open("q");
    assert_eq!((next(&mut quick).await, next(&mut stuck).await), ("-".to_owned(), "-".to_owned()));
    for number in 1..=200 {
        bench.fake.message(0, "x");
        assert_eq!(all(&mut quick).await, [format!("{number} x")]);
    }
    let text = "the stream is shared, and went on faster than this client took it";
    assert_eq!(all(&mut stuck).await, [format!("UNAVAILABLE SUBSCRIBER_TOO_SLOW {text}")]);
    assert_eq!(bench.metric("tidegate_cut_off_readers_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_waits_with_the_upstream_and_a_lone_subscriber_misses_nothing() {
    let bench = Bench::new();
    let mut only = bench.open("q");
    next(&mut only).await;
    for number in 0..5000 {
        bench.fake.message(0, &number.to_string());
    }
    sleep(Duration::from_secs(1)).await;
    let taken = bench.fake.0.lock().unwrap().calls[0].taken.load(Relaxed);
    assert!((1..300).contains(&taken), "{taken} messages were taken though nobody read one");
    for number in 0..5000 {
        assert_eq!(next(&mut only).await, format!("{} {number}", number + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_takes_its_subscribers_along_and_the_next_is_another_stream() {
    let mut bench = Bench::new();
    let mut first = bench.open("q");
    let mut second = bench.open("q");
    assert_eq!((next(&mut first).await, next(&mut second).await), ("-".to_owned(), "-".to_owned()));
    bench.fake.message(0, "a");
    bench.fake.send(0, died());
    for call in [&mut first, &mut second] {
        assert_eq!(all(call).await, ["1 a", "UNAVAILABLE - died"]);
    }
    assert_eq!(bench.metric("tidegate_shared_streams"), 0);
    bench.start = Start::Gone;
    let mut again = bench.open("q");
    assert_eq!(all(&mut again).await, ["gap 0"]);
    assert_eq!(bench.fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_it_can_go_on_a_failure_is_not_noticed() {
    let mut bench = Bench::new();
    bench.resumes = true;
    let (mut first, mut second) = (bench.open("q"), bench.open("q"));
    assert_eq!((next(&mut first).await, next(&mut second).await), ("-".to_owned(), "-".to_owned()));
    bench.fake.send(0, ReplyEvent::Head(HeaderMap::new()));
    bench.fake.message(0, "a");
    assert_eq!(all(&mut first).await, ["head", "1 a"]);
    let refused = || Status::upstream(Code::Unavailable, "not yet");
    bench.fake.0.lock().unwrap().refusals = [refused(), refused()].into();
    bench.fake.send(0, died());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.fake.calls(), 4, "refused twice, then open");
    assert_eq!(bench.fake.request(3), envelope(b"q after a"));
    bench.fake.send(3, ReplyEvent::Head(HeaderMap::new()));
    bench.fake.message(3, "b");
    assert_eq!(all(&mut first).await, ["2 b"]);
    assert_eq!(all(&mut second).await, ["head", "1 a", "2 b"]);
    // Another failure is one.
    bench.fake.send(3, ReplyEvent::End(Err(Status::upstream(Code::NotFound, "gone"))));
    assert_eq!(next(&mut first).await, "NOT_FOUND - gone");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_come_back_is_waited_for_only_so_long() {
    let mut bench = Bench::new();
    bench.resumes = true;
    let mut only = bench.open("q");
    next(&mut only).await;
    bench.fake.message(0, "a");
    assert_eq!(next(&mut only).await, "1 a");
    let refused = || Status::upstream(Code::Unavailable, "no");
    bench.fake.0.lock().unwrap().refusals = (0..100).map(|_| refused()).collect();
    bench.fake.send(0, died());
    let began = Instant::now();
    let end = timeout(Duration::from_secs(100), poll_fn(|cx| only.poll_event(cx))).await;
    assert!(matches!(end, Ok(Event::End(Err(status))) if status.message() == "no"));
    assert!((20..=30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // What never began is not tried again.
    let mut next_one = bench.open("q");
    assert_eq!(next(&mut next_one).await, "UNAVAILABLE - no");
}

#[tokio::test(start_paused = true)]
async fn a_deserted_stream_lingers_and_is_cancelled() {
    let mut bench = Bench::new();
    bench.settings.linger = Duration::from_secs(10);
    let mut first = bench.open("q");
    next(&mut first).await;
    bench.fake.message(0, "a");
    next(&mut first).await;
    drop(first);
    sleep(Duration::from_secs(9)).await;
    let mut second = bench.open("q");
    next(&mut second).await;
    sleep(Duration::from_secs(60)).await;
    assert!(!bench.fake.is_cancelled(0) && bench.fake.calls() == 1, "somebody came back in time");
    drop(second);
    bench.fake.message(0, "kept for who comes back");
    sleep(Duration::from_secs(9)).await;
    assert!(!bench.fake.is_cancelled(0));
    sleep(Duration::from_secs(2)).await;
    assert!(bench.fake.is_cancelled(0));
    assert_eq!((bench.metric("tidegate_shared_streams"), bench.hub.bytes()), (0, 0));
    // Going down, nobody is waited for.
    let mut third = bench.open("q");
    next(&mut third).await;
    drop(third);
    bench.drain.begin();
    sleep(Duration::from_millis(1)).await;
    assert!(bench.fake.is_cancelled(1));
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_each_calls_own() {
    let mut bench = Bench::new();
    let mut patient = bench.open("q");
    next(&mut patient).await;
    bench.deadline = Some(Instant::now() + Duration::from_secs(5));
    let mut hasty = bench.open("q");
    assert_eq!(next(&mut hasty).await, "-");
    assert!(bench.fake.0.lock().unwrap().calls[0].head.deadline.is_none());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(next(&mut hasty).await, "DEADLINE_EXCEEDED DEADLINE_EXCEEDED the call's deadline has passed");
    bench.fake.message(0, "a");
    assert_eq!(next(&mut patient).await, "1 a");
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_streams_and_so_many_bytes() {
    let limits = Limits { share_topics_max: 2, ..Limits::default() };
    let bench = Bench::with(&limits);
    let mut kept = [bench.open("a"), bench.open("b"), bench.open("a")];
    for call in &mut kept {
        assert_eq!(next(call).await, "-");
    }
    let text = "UNAVAILABLE OVERLOADED the gateway has as many shared streams as it takes";
    assert_eq!(next(&mut bench.open("c")).await, text);

    let limits =
        Limits { stream_buffer_total_bytes_max: 100_000, stream_buffer_bytes_max: 60_000, ..Limits::default() };
    let bench = Bench::with(&limits);
    let mut calls: Vec<_> = ["a", "b", "c"].iter().map(|request| bench.open(request)).collect();
    for call in &mut calls {
        assert_eq!(next(call).await, "-");
    }
    let long = "x".repeat(2000);
    for _ in 0..100 {
        for (index, call) in calls.iter_mut().enumerate() {
            bench.fake.message(index, &long);
            assert!(next(call).await.ends_with('x'), "who keeps up is never cut off");
            assert!(bench.hub.bytes() < 100_000 + 3 * 2500, "{}", bench.hub.bytes());
        }
    }
    assert!(bench.hub.bytes() > 80_000);
    let expected = if bench.hub.bytes() < 100_000 { "-" } else { text };
    assert_eq!(next(&mut bench.open("d")).await, expected);
    drop(calls);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.hub.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_is_refused() {
    let bench = Bench::new();
    let sharing = |bench: &Bench| bench.open("q");
    let mut down = sharing(&bench);
    next(&mut down).await;
    for (pieces, finishes, expected) in [
        (&[][..], true, "UNIMPLEMENTED INVALID_MESSAGE the method takes one request message, and there was none"),
        (
            &[&b"\0\0\0\0\0\0\0\0\0\0"[..]],
            true,
            "UNIMPLEMENTED INVALID_MESSAGE the method takes one request message, and there was more than one",
        ),
        (
            &[b"\0\0\0\0\x05ab"],
            true,
            "UNIMPLEMENTED INVALID_MESSAGE the method takes one request message, and there was none",
        ),
        (&[b"\x01\0\0\0\0"], true, "INVALID_ARGUMENT INVALID_MESSAGE"),
        (
            &[&[0; 2000]],
            false,
            "UNIMPLEMENTED INVALID_MESSAGE the method takes one request message, and there was more than one",
        ),
        (&[b"\0\0\0\0\x02ab"], false, "CANCELLED REQUEST_ABORTED"),
    ] {
        let (mut up, mut down) = bare(&bench);
        for piece in pieces {
            up.send(Bytes::copy_from_slice(piece));
        }
        if finishes {
            up.finish();
        }
        drop(up);
        let told = next(&mut down).await;
        assert!(told.starts_with(expected), "{pieces:?}: {told}");
    }
    assert_eq!(bench.fake.calls(), 1, "the upstream heard of none");
}

fn bare(bench: &Bench) -> (Upload, Download<Fake>) {
    open(Sharing {
        hub: bench.hub.clone(),
        transport: bench.fake.clone(),
        head: CallHead {
            path: PathAndQuery::from_static("/a.B/Watch"),
            content_type: HeaderValue::from_static("application/grpc"),
            metadata: HeaderMap::new(),
            deadline: None,
        },
        own: Own {
            client: None,
            start: Start::Live,
            deadline: None,
            encodings: HeaderMap::new(),
            first: HeaderMap::new(),
        },
        settings: Arc::default(),
        slow_reader: SlowReader::Disconnect,
        upstream: "u".to_owned(),
        resume: None,
        recorder: bench.telemetry.recorder(),
        drain: bench.drain.clone(),
        request_bytes_max: 100,
        reply_bytes_max: 1 << 20,
    })
}

#[test]
fn an_encoding_is_made_once_for_all_who_want_the_same() {
    let entry = Entry::new(Position { epoch: 1, offset: 1 }, envelope(b"m"));
    let format = |framing| Format { generation: 0, route: 0, framing, output: OutputSettings::default() };
    let make = |text: &'static [u8]| {
        move |out: &mut Vec<u8>| -> Result<(), ()> {
            out.extend_from_slice(text);
            Ok(())
        }
    };
    let (first, made) = entry.encoded(format(1), make(b"one")).unwrap();
    assert_eq!((&first[..], made), (&b"one"[..], 3));
    let (again, made) = entry.encoded(format(1), make(b"never")).unwrap();
    assert_eq!((again.as_ptr(), made), (first.as_ptr(), 0), "the same bytes");
    assert_eq!(entry.encoded(format(2), |_| Err("no")), Err("no"));
    assert_eq!(entry.encoded(format(2), make(b"two")).unwrap(), (Bytes::from_static(b"two"), 3));
    // Clients choose formats: not all of them are kept.
    let kept: usize = (3..40).map(|framing| entry.encoded(format(framing), make(b"more")).unwrap().1).sum();
    assert_eq!(kept, 6 * 4);
    assert_eq!((entry.message(), entry.envelope()), (Bytes::from_static(b"m"), envelope(b"m")));
}

#[tokio::test(start_paused = true)]
async fn the_slowest_are_those_with_the_most_to_read() {
    let mut bench = Bench::new();
    bench.slow_reader = SlowReader::DropOldest;
    let (mut first, mut second, mut other) = (bench.open("q"), bench.open("q"), bench.open("r"));
    for down in [&mut first, &mut second, &mut other] {
        assert_eq!(next(down).await, "-");
    }
    bench.fake.message(1, "a message that weighs more");
    bench.fake.message(0, "x");
    assert_eq!((next(&mut first).await.as_str(), next(&mut other).await.is_empty()), ("1 x", false));
    sleep(Duration::from_secs(5)).await;
    bench.fake.message(0, "y");
    bench.fake.message(1, "z");
    assert_eq!(next(&mut first).await, "2 y");
    sleep(Duration::from_secs(2)).await;
    let slowest = bench.hub.slowest(10);
    let rows: Vec<_> = slowest.iter().map(|row| (row.messages, row.age.as_secs(), row.is_shared)).collect();
    assert_eq!(rows, [(2, 7, true), (1, 2, true)]);
    assert_eq!(slowest[0].caller.path.path(), "/a.B/Watch");
    assert_eq!(bench.hub.slowest(1), slowest[..1]);
    drop((second, other));
    assert_eq!(bench.hub.slowest(10), []);
}

/// What a subscriber of a topic gets now, in words; `-` where there is nothing.
fn now(topic: &topic::Topic, seat: ring::Seat) -> String {
    match topic.poll_event(seat, true, &Context::from_waker(std::task::Waker::noop())) {
        Poll::Pending => "-".to_owned(),
        Poll::Ready(Event::Gap(position)) => format!("gap {}-{}", position.epoch, position.offset),
        Poll::Ready(Event::Message(entry)) => format!("{}", entry.position().offset),
        Poll::Ready(other) => format!("{other:?}"),
    }
}

fn of_the_fleet() -> Arc<topic::Topic> {
    let bounds = ring::Bounds { replay: Some(10), lag: 10, bytes_max: 10_000, slow_reader: SlowReader::Disconnect };
    topic::Topic::new(1, bounds, topic::Others::Gateways, 0, &[&budget::Budget::new(1 << 20)])
}

#[test]
fn who_joins_a_stream_of_the_fleet_is_seated_when_its_place_is_known() {
    let at = |epoch, offset| Start::After(Position { epoch, offset });
    let caller = || Caller { path: PathAndQuery::from_static("/a.B/Watch"), client: None };
    let topic = of_the_fleet();
    let starts = [Start::Live, at(7, 41), at(7, 43), at(7, 44), at(1, 0), Start::Gone];
    let early: Vec<_> = starts.into_iter().map(|start| topic.join(start, caller())).collect();
    assert!(early.iter().all(|seat| now(&topic, *seat) == "-"), "nobody knows anything yet");
    let known = (0..3).map(|_| envelope(b"x")).collect();
    topic.prime(Position { epoch: 7, offset: 43 }, known, topic::Others::Gateways);
    let expected = [&["-"][..], &["42", "43", "-"], &["-"], &["gap 7-43", "-"], &["gap 7-43", "-"], &["gap 7-43", "-"]];
    for (seat, expected) in early.iter().zip(expected) {
        assert_eq!(expected.iter().map(|_| now(&topic, *seat)).collect::<Vec<_>>(), expected);
    }
    // Who is ahead of this gateway has seen what it is about to read; who is known here waits for nothing.
    let ahead = [at(7, 44), at(7, 45), at(8, 1)].map(|start| topic.join(start, caller()));
    let behind = topic.join(at(7, 42), caller());
    topic.publish(envelope(b"x"));
    assert_eq!(ahead.map(|seat| now(&topic, seat)), ["-", "-", "-"]);
    assert_eq!([(); 3].map(|()| now(&topic, behind)), ["43", "44", "-"]);
    topic.seat();
    assert_eq!(ahead.map(|seat| now(&topic, seat)), ["-", "gap 7-44", "gap 7-44"]);
    topic.publish(envelope(b"x"));
    assert_eq!(ahead.map(|seat| now(&topic, seat)), ["45", "45", "45"]);
    // Whatever comes of the question, the end is for all.
    let asking = topic.join(at(7, 99), caller());
    topic.end(Ok(HeaderMap::new()));
    assert_eq!([(); 2].map(|()| now(&topic, asking)), ["gap 7-45", "End(Ok({}))"]);

    let blank = of_the_fleet();
    let seats = [Start::Live, at(7, 1)].map(|start| blank.join(start, caller()));
    blank.end(Ok(HeaderMap::new()));
    assert_eq!(seats.map(|seat| now(&blank, seat)), ["End(Ok({}))", "End(Ok({}))"]);
}
