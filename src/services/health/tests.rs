//! What endpoints answer, what is made of it, and how often they are asked.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    config,
    gateway::{Assets, Snapshot},
    schema::{UpstreamSchema, fixtures::compile},
    services::in_memory,
    upstream::Pool,
};

/// An endpoint that says what it is told to say, by service.
#[derive(Clone, Default)]
struct Backend {
    says: Arc<Mutex<HashMap<String, Result<i32, Status>>>>,
    asked: Arc<AtomicUsize>,
}

impl Backend {
    fn say(&self, service: &str, answer: Result<ServingStatus, tonic::Code>) {
        let answer = answer.map(i32::from).map_err(|code| Status::new(code, "no"));
        self.says.lock().unwrap().insert(service.to_owned(), answer);
    }

    fn pool(&self) -> Pool {
        Pool::new(in_memory(Routes::new(HealthServer::new(self.clone())).prepare()))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Health for Backend {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.says.lock().unwrap().get(&request.get_ref().service).cloned();
        match answer {
            Some(answer) => Ok(Response::new(HealthCheckResponse { status: answer? })),
            None => std::future::pending().await,
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// The checks of a gateway before upstreams `a`, `b`, … with the service `S` in a package of their name.
fn checks(upstreams: &[&[&Backend]]) -> (Checks, Drain) {
    let names: Vec<String> = ('a'..).take(upstreams.len()).map(String::from).collect();
    let upstreams: Vec<_> =
        names.iter().zip(upstreams).map(|(name, endpoints)| (name.as_str(), Some(name.as_str()), *endpoints)).collect();
    checks_with(&upstreams, "")
}

/// Of upstreams by their names, with the service `S` in a package or without a schema.
fn checks_with(upstreams: &[(&str, Option<&str>, &[&Backend])], routes: &str) -> (Checks, Drain) {
    let upstream = |(name, package, _): &(&str, Option<&str>, _)| {
        let schema = if package.is_some() { "reflection" } else { "none" };
        format!("  {name}: {{ endpoints: [ http://x ], schema: {schema} }}\n")
    };
    let lines: String = upstreams.iter().map(upstream).collect();
    let text = format!("listeners: [ {{ address: 127.0.0.1:0 }} ]\nupstreams:\n{lines}{routes}");
    let schema = |(_, package, _): &(&str, Option<&str>, _)| UpstreamSchema {
        set: package.map(|package| {
            let text = format!("package {package}; message M {{}} service S {{ rpc C(M) returns (M); }}");
            compile(&[(&format!("{package}.proto"), &text)]).into()
        }),
        ..Default::default()
    };
    let schemas: Vec<_> = upstreams.iter().map(schema).collect();
    let assets = Arc::new(Assets::load(&[]).unwrap());
    let snapshot = Snapshot::build(&config::parse(&text, "f").unwrap(), &schemas, assets).unwrap();
    let pools = |endpoints: &[&Backend]| endpoints.iter().map(|endpoint| endpoint.pool()).collect();
    let pools = upstreams.iter().map(|(.., endpoints)| pools(endpoints)).collect();
    let drain = Drain::new();
    let board = Board::new(Arc::new(ArcSwap::from_pointee(snapshot)), || true, pools);
    (Checks { board, drain: drain.clone() }, drain)
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_answers_is_what_it_is() {
    use ServingStatus::*;
    use tonic::Code;
    for (of_service, of_all, expected) in [
        (Some(Ok(Serving)), None, true),
        (Some(Ok(NotServing)), Some(Ok(Serving)), false),
        (Some(Ok(Unknown)), Some(Ok(Serving)), false),
        (Some(Ok(ServiceUnknown)), None, false),
        (Some(Err(Code::NotFound)), Some(Ok(Serving)), true),
        (Some(Err(Code::NotFound)), Some(Ok(NotServing)), false),
        (Some(Err(Code::NotFound)), Some(Err(Code::NotFound)), true),
        (Some(Err(Code::NotFound)), Some(Err(Code::Unavailable)), false),
        (Some(Err(Code::Unimplemented)), None, true),
        (Some(Err(Code::Unauthenticated)), None, true),
        (Some(Err(Code::PermissionDenied)), None, true),
        (Some(Err(Code::Unavailable)), Some(Ok(Serving)), false),
        (Some(Err(Code::Internal)), Some(Ok(Serving)), false),
        (None, Some(Ok(Serving)), false),
    ] {
        let backend = Backend::default();
        of_service.into_iter().for_each(|answer| backend.say("a.S", answer));
        of_all.into_iter().for_each(|answer| backend.say("", answer));
        let started = Instant::now();
        assert_eq!(probe::is_serving(&backend.pool(), "a.S").await, expected, "{of_service:?} {of_all:?}");
        assert!(started.elapsed().as_secs() <= 2, "{of_service:?} {of_all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_needs_one_good_endpoint_and_all_need_every_upstream() {
    use ServingStatus::*;
    let (a1, a2, b) = (Backend::default(), Backend::default(), Backend::default());
    let (checks, _drain) = checks(&[&[&a1, &a2], &[&b]]);
    for (says, expected) in [
        ([Serving, Serving, Serving], [Serving, Serving, Serving]),
        ([NotServing, Serving, Serving], [Serving, Serving, Serving]),
        ([Serving, NotServing, Serving], [Serving, Serving, Serving]),
        ([NotServing, NotServing, Serving], [NotServing, NotServing, Serving]),
        ([Serving, Serving, NotServing], [NotServing, Serving, NotServing]),
    ] {
        for (backend, status) in [&a1, &a2, &b].into_iter().zip(says) {
            for service in ["", "a.S", "b.S"] {
                backend.say(service, Ok(status));
            }
        }
        for (service, expected) in ["", "a.S", "b.S"].into_iter().zip(expected) {
            assert_eq!(checks.status(service).await.unwrap(), expected, "{says:?} {service:?}");
        }
        assert_eq!(checks.status("grpc.health.v1.Health").await.unwrap(), Serving);
        // What was found counts for a moment.
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(checks.status("c.S").await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn of_upstreams_that_share_a_service_one_is_enough_and_a_mirror_is_nobody() {
    use ServingStatus::*;
    let (old, new, mirror) = (Backend::default(), Backend::default(), Backend::default());
    let routes = "routes:\n  - { match: { service: s }, upstreams: { old: 9, new: 1 }, mirror: { upstream: mirror } }";
    let upstreams = [("old", Some("s"), &[&old][..]), ("new", Some("s"), &[&new]), ("mirror", None, &[&mirror])];
    let (checks, _drain) = checks_with(&upstreams, routes);
    for (says, expected) in [
        ([Serving, Serving, Serving], Serving),
        ([Serving, NotServing, NotServing], Serving),
        ([NotServing, Serving, NotServing], Serving),
        ([NotServing, NotServing, Serving], NotServing),
    ] {
        for (backend, status) in [&old, &new, &mirror].into_iter().zip(says) {
            ["", "s.S"].iter().for_each(|service| backend.say(service, Ok(status)));
        }
        for service in ["", "s.S"] {
            assert_eq!(checks.status(service).await.unwrap(), expected, "{says:?} {service:?}");
        }
        sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whether_there_is_a_service_without_a_schema_those_know_who_may_have_it() {
    use tonic::Code;
    let backend = Backend::default();
    let routes = "routes:\n  - { match: { service: far. }, upstream: far }";
    let (checks, _drain) = checks_with(&[("far", None, &[&backend])], routes);
    backend.say("far.Well", Ok(ServingStatus::Serving));
    backend.say("far.Ill", Ok(ServingStatus::NotServing));
    backend.say("far.Away", Err(Code::NotFound));
    for (service, expected) in [
        ("far.Well", Ok(ServingStatus::Serving)),
        ("far.Ill", Ok(ServingStatus::NotServing)),
        ("far.Silent", Ok(ServingStatus::NotServing)),
        ("far.Away", Err(Code::NotFound)),
        ("near.Any", Err(Code::NotFound)),
    ] {
        assert_eq!(checks.status(service).await.map_err(|status| status.code()), expected, "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_checks_are_one_question_and_none_is_asked_when_nobody_wants_to_know() {
    let backend = Backend::default();
    backend.say("", Ok(ServingStatus::Serving));
    let (checks, _drain) = checks(&[&[&backend]]);
    let all = future::join_all((0..1000).map(|_| checks.status(""))).await;
    assert!(all.into_iter().all(|status| status.unwrap() == ServingStatus::Serving));
    assert_eq!(backend.asked(), 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(backend.asked(), 1);
    checks.status("").await.unwrap();
    assert_eq!(backend.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_changes_once_and_ends_with_the_gateway() {
    let backend = Backend::default();
    backend.say("a.S", Ok(ServingStatus::Serving));
    let (checks, drain) = checks(&[&[&backend]]);
    let request = |service: &str| Request::new(HealthCheckRequest { service: service.to_owned() });
    let mut watch = checks.watch(request("a.S")).await.unwrap().into_inner();
    let mut unknown = checks.watch(request("no.S")).await.unwrap().into_inner();
    let told = async |watch: &mut <Checks as Health>::WatchStream| Some(watch.next().await?.unwrap().status());
    assert_eq!(told(&mut watch).await, Some(ServingStatus::Serving));
    assert_eq!(told(&mut unknown).await, Some(ServingStatus::ServiceUnknown));
    sleep(Duration::from_secs(10)).await;
    backend.say("a.S", Ok(ServingStatus::NotServing));
    assert_eq!(told(&mut watch).await, Some(ServingStatus::NotServing));
    backend.say("a.S", Ok(ServingStatus::Serving));
    assert_eq!(told(&mut watch).await, Some(ServingStatus::Serving));
    drain.begin();
    for watch in [&mut watch, &mut unknown] {
        assert_eq!(told(watch).await, Some(ServingStatus::NotServing));
        assert_eq!(told(watch).await, None);
    }
    assert_eq!(checks.status("a.S").await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_knows_are_watched_only_in_so_many() {
    let (checks, _drain) = checks(&[&[&Backend::default()]]);
    let watched: Vec<_> = (0..256).map(|n| checks.board.look_at(&format!("no.S{n}")).unwrap()).collect();
    assert_eq!(checks.board.look_at("no.S256").unwrap_err().code(), tonic::Code::ResourceExhausted);
    assert!(checks.board.look_at("no.S255").is_ok() && checks.board.look_at("a.S").is_ok());
    drop(watched);
    sleep(Duration::from_secs(5)).await;
    assert!(checks.board.look_at("no.S256").is_ok());
}
