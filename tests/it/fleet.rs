//! Several gateways with one Redis: one of them has each upstream stream, and whoever dies, no client misses anything.

use prost::Message;
use serde_json::json;

use crate::{
    backend::{RawBackend, RawCall},
    harness::{Config, Gateway, Redis, Via, within},
    proto::StreamReq,
    share::{Events, say, until},
};

const ROUTES: &str = "routes:
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: own } }
    share: { fleet: false }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: brief } }
    share: { linger: 0s }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: brief-resume } }
    share: { linger: 0s, replay: 100 }
    sse: { resume: { event_id: n, request: after } }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: plain } }
    share: {}
  - match: { method: tidegate.test.v1.Echo/Down }
    share: { linger: 1m, key: [ x-tenant ] }
    sse: { resume: { event_id: n, request: after } }";

/// A lease that lapses within a test, and one that does not.
const SHORT: &str = "lease: 1s, timeout: 400ms";
const LONG: &str = "lease: 1h";

struct Fleet {
    redis: Redis,
    backend: RawBackend,
    gateways: Vec<Gateway>,
}

impl Fleet {
    async fn start(count: usize, lease: &str) -> Self {
        let (redis, backend) = (Redis::start().await, RawBackend::start().await);
        let mut fleet = Self { redis, backend, gateways: Vec::new() };
        for _ in 0..count {
            fleet.add(lease).await;
        }
        fleet
    }

    async fn add(&mut self, lease: &str) {
        let config = Config::to(self.backend.address).section(ROUTES).section(&self.redis.section(lease));
        let gateway = Gateway::start(config).await;
        until(&gateway, "tidegate_redis_up", 1).await;
        self.gateways.push(gateway);
    }

    /// A client of each gateway; the first one's has the upstream stream.
    async fn clients(&mut self, headers: &[(&str, &str)]) -> (Vec<Events>, RawCall) {
        let mut clients = Vec::new();
        let mut call = None;
        for gateway in &self.gateways {
            clients.push(Events::open(gateway, Via::H2c, headers).await);
            if call.is_none() {
                call = Some(self.backend.call().await);
                until(gateway, "tidegate_redis_leases", 1).await;
            }
        }
        (clients, call.expect("there is a gateway"))
    }
}

/// What the upstream is asked for that goes on behind a message.
fn after(n: i32) -> Vec<u8> {
    StreamReq { text: "t".to_owned(), after: Some(n), ..StreamReq::default() }.encode_to_vec()
}

/// Each client gets this message; with which id.
async fn all_see(clients: &mut [Events], n: i64) -> String {
    let mut ids = Vec::new();
    for client in clients {
        let (seen, id) = client.message().await;
        assert_eq!(seen, n);
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    ids.swap_remove(0)
}

async fn back(gateway: &Gateway, id: &str, headers: &[(&str, &str)]) -> Events {
    Events::open(gateway, Via::H2c, &[headers, &[("last-event-id", id)]].concat()).await
}

#[tokio::test]
async fn one_upstream_stream_is_enough_for_all_gateways() {
    let mut fleet = Fleet::start(3, LONG).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    for n in 1..=200 {
        say(&mut call, n);
    }
    let mut ids = Vec::new();
    for n in 1..=200 {
        ids.push(all_see(&mut clients, n).await);
    }
    for (gateway, leases) in fleet.gateways.iter().zip([1, 0, 0]) {
        until(gateway, "tidegate_redis_leases", leases).await;
    }
    // Whoever comes to another gateway goes on there, whether it knows the stream already or not.
    fleet.add(LONG).await;
    for gateway in &fleet.gateways {
        let mut again = back(gateway, &ids[149], &[]).await;
        for n in 151..=200 {
            assert_eq!(again.message().await, (n, ids[n as usize - 1].clone()));
        }
        clients.push(again);
        let mut unknown = back(gateway, "~0000000000000001-7", &[]).await;
        assert_eq!(unknown.next().await, (ids[199].clone(), "~gap".to_owned(), json!({"reason": "HISTORY_GONE"})));
        clients.push(unknown);
    }
    say(&mut call, 201);
    all_see(&mut clients, 201).await;
    call.trailers(&[("grpc-status", "9"), ("grpc-message", "enough")]);
    for client in &mut clients {
        let status = client.status().await;
        assert_eq!((&status["code"], &status["message"]), (&json!(9), &json!("enough")));
    }
    for gateway in &fleet.gateways {
        until(gateway, "tidegate_redis_leases", 0).await;
        until(gateway, "tidegate_shared_streams", 0).await;
        until(gateway, "tidegate_redis_errors_total", 0).await;
        gateway.assert_nothing_internal();
    }
    // And then there is another one.
    let _late = back(&fleet.gateways[2], &ids[199], &[]).await;
    fleet.backend.call().await;
}

#[tokio::test]
async fn nobody_sees_what_an_upstream_says_to_another_and_redis_knows_no_secret() {
    let mut fleet = Fleet::start(2, LONG).await;
    let mut kept = Vec::new();
    for headers in [
        &[][..],
        &[("authorization", "Bearer secret-a")],
        &[("authorization", "Bearer secret-b")],
        &[("cookie", "session=secret-c")],
        &[("x-tenant", "secret-d")],
    ] {
        let (clients, call) = fleet.clients_of(headers).await;
        kept.push((clients, call));
    }
    for (place, (clients, call)) in kept.iter_mut().enumerate() {
        let place = i32::try_from(place).expect("few") + 1;
        call.head();
        say(call, place);
        all_see(clients, place.into()).await;
    }
    let keys = fleet.redis.ask(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 15, "{keys:?}");
    for key in &keys {
        let hash = key.strip_prefix("tidegate:{").and_then(|rest| rest.split_once("}:")).expect("a hash").0;
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        let value = [fleet.redis.ask(&["DUMP", key]).await, fleet.redis.ask(&["HGETALL", key]).await].concat();
        assert!(!value.iter().any(|line| line.contains("secret")), "{key}: {value:?}");
        let left = &fleet.redis.ask(&["PTTL", key]).await[0];
        assert!(!left.starts_with('-'), "{key} goes by itself: {left}");
    }
    // A route may keep to itself.
    let own = [("x-route", "own")];
    let _one = Events::open(&fleet.gateways[0], Via::H2c, &own).await;
    fleet.backend.call().await;
    let _two = Events::open(&fleet.gateways[1], Via::H2c, &own).await;
    fleet.backend.call().await;
}

impl Fleet {
    /// The same of streams beside others.
    async fn clients_of(&mut self, headers: &[(&str, &str)]) -> (Vec<Events>, RawCall) {
        let first = Events::open(&self.gateways[0], Via::H2c, headers).await;
        let call = self.backend.call().await;
        let mut clients = vec![first];
        for gateway in &self.gateways[1..] {
            clients.push(Events::open(gateway, Via::H2c, headers).await);
        }
        (clients, call)
    }
}

#[tokio::test]
async fn a_gateway_that_dies_leaves_no_hole() {
    let mut fleet = Fleet::start(3, SHORT).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    let mut homes: Vec<_> = fleet.gateways.iter().map(|gateway| gateway.plain).collect();
    let mut last = 0;
    // Twice: whoever took the stream over may die as well.
    for _ in 0..2 {
        let mut ids = Vec::new();
        for n in last + 1..=last + 5 {
            say(&mut call, n);
            ids.push(all_see(&mut clients, n.into()).await);
        }
        last += 5;
        let holder = holder(&fleet.gateways).await;
        let mut gateway = fleet.gateways.remove(holder);
        gateway.process.signal("KILL");
        gateway.process.exit().await;
        let (stay, left): (Vec<_>, Vec<_>) =
            clients.into_iter().zip(homes).partition(|(_, home)| *home != gateway.plain);
        (clients, homes) = stay.into_iter().unzip();
        // Its clients had seen all but two.
        for _ in left {
            let mut again = back(&fleet.gateways[0], &ids[2], &[]).await;
            for n in [last - 1, last] {
                assert_eq!(again.message().await, (n.into(), ids[(n - last + 4) as usize].clone()));
            }
            clients.push(again);
            homes.push(fleet.gateways[0].plain);
        }
        call = fleet.backend.call().await;
        assert_eq!(call.requests().await, [after(last)]);
        call.head();
        last += 1;
        say(&mut call, last);
        let id = all_see(&mut clients, last.into()).await;
        assert_eq!(
            id.split_once('-').expect("a place").0,
            ids[0].split_once('-').expect("a place").0,
            "the same stream"
        );
    }
    for gateway in &fleet.gateways {
        gateway.assert_nothing_internal();
    }
}

/// The place of the one that has the upstream stream.
async fn holder(gateways: &[Gateway]) -> usize {
    let mut holders = Vec::new();
    for (place, gateway) in gateways.iter().enumerate() {
        if gateway.admin_get("/metrics").await.text().lines().any(|line| line == "tidegate_redis_leases 1") {
            holders.push(place);
        }
    }
    assert_eq!(holders.len(), 1, "{holders:?}");
    holders[0]
}

#[tokio::test]
async fn a_writer_that_slept_beyond_its_lease_writes_no_more() {
    let mut fleet = Fleet::start(2, SHORT).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    say(&mut call, 1);
    all_see(&mut clients, 1).await;
    fleet.gateways[0].process.signal("STOP");
    let mut second = fleet.backend.call().await;
    assert_eq!(second.requests().await, [after(1)]);
    second.head();
    say(&mut second, 2);
    assert_eq!(clients[1].message().await.0, 2);
    // What the sleeper is told meanwhile is for nobody.
    say(&mut call, 77);
    fleet.gateways[0].process.signal("CONT");
    assert_eq!(clients[0].message().await.0, 2);
    say(&mut second, 3);
    all_see(&mut clients, 3).await;
    call.cancelled().await;
    assert_eq!(holder(&fleet.gateways).await, 1);
}

#[tokio::test]
async fn who_is_ahead_of_its_new_gateway_waits_for_it_to_catch_up() {
    let mut fleet = Fleet::start(2, LONG).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    say(&mut call, 1);
    all_see(&mut clients, 1).await;
    for round in 0..5 {
        // The other gateway is told of the new message and of the client at the same moment.
        fleet.gateways[1].process.signal("STOP");
        let n = round + 2;
        say(&mut call, n);
        let (seen, id) = clients[0].message().await;
        assert_eq!(seen, i64::from(n));
        let address = fleet.gateways[1].address(Via::H2c);
        let conn = tokio::spawn(async move { crate::harness::Conn::open(address, Via::H2c).await });
        fleet.gateways[1].process.signal("CONT");
        let mut again = Events::on(within(conn).await.expect("a connection"), &[("last-event-id", &id)]).await;
        say(&mut call, 100 + n);
        assert_eq!(again.message().await.0, i64::from(100 + n), "no gap, and nothing twice");
        assert_eq!(clients[0].message().await.0, i64::from(100 + n));
    }
}

#[tokio::test]
async fn a_gateway_that_stops_in_order_hands_its_streams_over_at_once() {
    let mut fleet = Fleet::start(2, LONG).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    say(&mut call, 1);
    let id = all_see(&mut clients, 1).await;
    fleet.gateways[0].process.signal("TERM");
    assert_eq!(clients[0].status().await["code"], 14);
    let mut second = fleet.backend.call().await;
    assert_eq!(second.requests().await, [after(1)]);
    assert_eq!(fleet.gateways[0].process.exit().await.code(), Some(0));
    clients[0] = back(&fleet.gateways[1], &id, &[]).await;
    second.head();
    say(&mut second, 2);
    all_see(&mut clients, 2).await;
}

#[tokio::test]
async fn a_gateway_that_nobody_listens_to_leaves_the_stream_to_others_if_they_can_go_on() {
    let mut fleet = Fleet::start(2, LONG).await;
    let route = [("x-route", "brief-resume")];
    let (mut clients, mut call) = fleet.clients(&route).await;
    call.head();
    say(&mut call, 1);
    all_see(&mut clients, 1).await;
    drop(clients.remove(0));
    let mut second = fleet.backend.call().await;
    assert_eq!(second.requests().await, [after(1)]);
    second.head();
    say(&mut second, 2);
    all_see(&mut clients, 2).await;
    drop(clients);
    second.cancelled().await;

    // Otherwise it goes on for them.
    let route = [("x-route", "brief")];
    let (mut clients, mut call) = fleet.clients(&route).await;
    call.head();
    say(&mut call, 1);
    all_see(&mut clients, 1).await;
    drop(clients.remove(0));
    until(&fleet.gateways[0], "tidegate_shared_subscribers", 0).await;
    for n in 2..=3 {
        say(&mut call, n);
        all_see(&mut clients, n.into()).await;
    }
    drop(clients);
    call.cancelled().await;
}

#[tokio::test]
async fn where_nobody_can_go_on_all_are_told() {
    let mut fleet = Fleet::start(2, SHORT).await;
    let route = [("x-route", "plain")];
    let (mut clients, mut call) = fleet.clients(&route).await;
    call.head();
    say(&mut call, 1);
    let id = all_see(&mut clients, 1).await;
    fleet.gateways[0].process.signal("KILL");
    let status = clients[1].status().await;
    assert_eq!((&status["code"], &status["details"][0]["reason"]), (&json!(14), &json!("UPSTREAM_UNAVAILABLE")));
    let mut again = back(&fleet.gateways[1], &id, &route).await;
    let mut call = fleet.backend.call().await;
    call.head();
    say(&mut call, 5);
    let (gap, name, _) = again.next().await;
    assert!(name == "~gap" && gap.ends_with("-0") && gap[..17] != id[..17], "{gap} after {id}");
    assert_eq!(again.message().await.0, 5);
}

#[tokio::test]
async fn without_redis_each_gateway_is_on_its_own_until_it_is_back() {
    let mut fleet = Fleet::start(2, SHORT).await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    say(&mut call, 1);
    let id = all_see(&mut clients, 1).await;
    fleet.redis.kill().await;
    for client in &mut clients {
        assert_eq!(client.status().await["code"], 14);
    }
    call.cancelled().await;
    let mut alone = Vec::new();
    for gateway in &fleet.gateways {
        until(gateway, "tidegate_redis_up", 0).await;
        let mut client = back(gateway, &id, &[]).await;
        let mut call = fleet.backend.call().await;
        call.head();
        say(&mut call, 9);
        let (gap, name, _) = client.next().await;
        assert!(name == "~gap" && gap[..17] != id[..17]);
        assert_eq!(client.message().await.0, 9);
        alone.push((client, call));
    }
    fleet.redis.again().await;
    for gateway in &fleet.gateways {
        until(gateway, "tidegate_redis_up", 1).await;
    }
    // What began alone goes on so; what begins now is shared.
    for (client, call) in &mut alone {
        say(call, 10);
        assert_eq!(client.message().await.0, 10);
    }
    let (mut clients, mut call) = fleet.clients(&[("x-tenant", "new")]).await;
    call.head();
    say(&mut call, 1);
    all_see(&mut clients, 1).await;
    for gateway in &fleet.gateways {
        let said = |words: &str| gateway.process.stderr.all().iter().filter(|line| line.contains(words)).count();
        assert_eq!(
            (said("Redis is not reached"), said("Redis is reached")),
            (1, 2),
            "{}",
            gateway.process.transcript()
        );
    }
}

#[tokio::test]
async fn a_redis_that_comes_back_soon_and_knows_nothing_is_told_again() {
    let mut fleet = Fleet::start(2, "lease: 10s, timeout: 400ms").await;
    let (mut clients, mut call) = fleet.clients(&[]).await;
    call.head();
    say(&mut call, 1);
    let id = all_see(&mut clients, 1).await;
    fleet.redis.kill().await;
    say(&mut call, 2);
    fleet.redis.again().await;
    let mut second = fleet.backend.call().await;
    assert_eq!(second.requests().await, [after(1)]);
    second.head();
    for n in 2..=3 {
        say(&mut second, n);
        let next = all_see(&mut clients, n.into()).await;
        assert_eq!(next, format!("{}-{n}", id.split_once('-').expect("a place").0));
    }
    // And it is known to whoever comes.
    fleet.add(LONG).await;
    let mut third = back(&fleet.gateways[2], &format!("{}-2", id.split_once('-').expect("a place").0), &[]).await;
    assert_eq!(third.message().await.0, 3);
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_refuses_nothing_for_it() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let mut backend = RawBackend::start().await;
    let config = Config::to(backend.address).section(ROUTES).section(&redis.section(SHORT));
    let gateway = Gateway::start(config).await;
    until(&gateway, "tidegate_redis_up", 0).await;
    let mut client = Events::open(&gateway, Via::H1, &[]).await;
    let mut call = backend.call().await;
    call.head();
    say(&mut call, 1);
    assert_eq!(client.message().await.0, 1);
    let ready = gateway.admin_get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
}

/// A ticket that a gateway gives for a token.
async fn ticket(gateway: &Gateway, token: &str) -> String {
    let headers = [("authorization", token)];
    let answer = gateway.connect(Via::H2Tls).await.whole("POST", "/-/ticket", &headers, None).await;
    answer.json()["ticket"].as_str().unwrap_or_else(|| panic!("no ticket: {answer:?}")).to_owned()
}

#[tokio::test]
async fn a_ticket_is_redeemed_once_and_by_any_gateway() {
    let mut fleet = Fleet::start(2, SHORT).await;
    for (giver, taker) in [(0, 1), (1, 0), (0, 0)] {
        let shown = ticket(&fleet.gateways[giver], "Bearer secret").await;
        let keys = fleet.redis.ask(&["KEYS", "*:ticket:*"]).await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        let value = fleet.redis.ask(&["GET", &keys[0]]).await.concat();
        assert!(!value.contains("secret") && !keys[0].contains(&shown[4..]), "{}: {value}", keys[0]);
        let left = &fleet.redis.ask(&["PTTL", &keys[0]]).await[0];
        assert!(!left.starts_with('-'), "it goes by itself: {left}");

        let target = format!("/echo/down?text={giver}-{taker}&ticket={shown}");
        let mut conn = fleet.gateways[taker].connect(Via::H2Tls).await;
        let _stream = conn.begin("GET", &target, &[("accept", "text/event-stream")], None).await;
        assert_eq!(fleet.backend.call().await.headers()["authorization"], "Bearer secret");
        for gateway in &fleet.gateways {
            assert_eq!(gateway.get(Via::H2Tls, &target).await.status, 401, "once");
        }
    }
    // Without Redis a ticket is good where it was given.
    let lost = ticket(&fleet.gateways[0], "Bearer lost").await;
    fleet.redis.kill().await;
    until(&fleet.gateways[0], "tidegate_redis_up", 0).await;
    let own = ticket(&fleet.gateways[0], "Bearer own").await;
    let target = |ticket: &str| format!("/echo/down?text=own&ticket={ticket}");
    assert_eq!(fleet.gateways[1].get(Via::H2Tls, &target(&own)).await.status, 401);
    assert_eq!(fleet.gateways[0].get(Via::H2Tls, &target(&lost)).await.status, 401);
    let mut conn = fleet.gateways[0].connect(Via::H2Tls).await;
    let _stream = conn.begin("GET", &target(&own), &[("accept", "text/event-stream")], None).await;
    assert_eq!(fleet.backend.call().await.headers()["authorization"], "Bearer own");
}
