//! The scripts, and the connections that they go over, against a real Redis.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::AtomicU32,
};

use bytes::Bytes;

use super::*;
use crate::config::{RedisPlace, RedisUrl, UpstreamTls};

const KEEP: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a socket file of its own; dropped, it is gone.
struct Server {
    dir: PathBuf,
    child: Child,
}

impl Server {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidegate-redis-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let child = Self::spawn(&dir, options);
        Self { dir, child }
    }

    fn spawn(dir: &PathBuf, options: &[&str]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"]);
        command.args(options);
        let started = command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        started.expect("redis-server is there (the package of that name)")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// With nothing of what it knew.
    fn again(&mut self) {
        self.child = Self::spawn(&self.dir, &[]);
    }

    fn settings(&self) -> config::Redis {
        config::Redis {
            url: RedisUrl { place: RedisPlace::Unix(self.dir.join("redis.sock")), user: None, database: 0 },
            password_file: None,
            tls: UpstreamTls::default(),
            prefix: "t".to_owned(),
            lease: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }

    async fn fleet(&self) -> Fleet {
        let fleet = Fleet::start(&self.settings()).unwrap();
        within(fleet.up()).await;
        fleet
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

fn name(text: &str) -> Name {
    Name::of([text.as_bytes()])
}

fn messages(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

/// Writes messages from an offset on, all of which are kept.
async fn append(log: &Log, token: Token, epoch: u64, first: u64, texts: &[&'static str]) -> Option<usize> {
    let write = Write { messages: (first, &messages(texts)), oldest: 1, ..Write::default() };
    log.write(token, epoch, &write, KEEP).await.unwrap()
}

fn texts(view: &View) -> Vec<(u64, &str)> {
    view.messages.iter().map(|(offset, message)| (*offset, str::from_utf8(message).unwrap())).collect()
}

const ONE: Token = Token(1);
const TWO: Token = Token(2);
/// Far above what a Lua number holds exactly.
const EPOCH: u64 = u64::MAX - 1;

#[tokio::test]
async fn one_writes_and_all_read_the_same() {
    let server = Server::start();
    let (a, b) = (server.fleet().await, server.fleet().await);
    let (a, b) = (a.log(&name("x")).await.unwrap(), b.log(&name("x")).await.unwrap());
    assert_eq!(a.look(None, true).await, Ok(View::default()));
    assert_eq!(a.take(ONE, EPOCH, Existing::GoesOn, KEEP).await, Ok(true));
    assert_eq!(a.take(ONE, 7, Existing::GoesOn, KEEP).await, Ok(true), "it has it");
    assert_eq!(b.take(TWO, 7, Existing::GoesOn, KEEP).await, Ok(false));
    let write = Write { head: Some(b"head"), ..Write::default() };
    assert_eq!(a.write(ONE, EPOCH, &write, KEEP).await, Ok(Some(2)), "both listen");
    assert_eq!(append(&a, ONE, EPOCH, 1, &["a", "b"]).await, Some(2));
    assert_eq!(append(&a, ONE, EPOCH, 1, &["a", "b"]).await, Some(2), "said again");
    within(b.nudged()).await;
    let view = b.look(None, true).await.unwrap();
    assert_eq!((view.is_held, view.epoch, view.head.as_deref()), (true, Some(EPOCH), Some(&b"head"[..])));
    assert_eq!(texts(&view), [(1, "a"), (2, "b")]);
    assert_eq!(append(&a, ONE, EPOCH, 3, &["c"]).await, Some(2));
    let view = b.look(Some((EPOCH, 1)), false).await.unwrap();
    assert_eq!((texts(&view), &view.head, &view.end), (vec![(2, "b"), (3, "c")], &None, &None));
    assert_eq!(b.look(Some((7, 1)), false).await.unwrap().messages, [], "of another epoch");

    let write = Write { end: Some(b"end"), ..Write::default() };
    assert_eq!(a.write(ONE, EPOCH, &write, KEEP).await, Ok(Some(2)));
    let view = b.look(Some((EPOCH, 3)), false).await.unwrap();
    assert_eq!((view.is_held, view.end.as_deref()), (false, Some(&b"end"[..])));
    assert_eq!(append(&a, ONE, EPOCH, 4, &["d"]).await, None, "nothing follows the end");

    // Whoever wants the stream then has another one.
    assert_eq!(b.take(TWO, EPOCH, Existing::Same, KEEP).await, Ok(false));
    assert_eq!(b.take(TWO, 7, Existing::GoesOn, KEEP).await, Ok(true));
    let view = a.look(Some((EPOCH, 3)), true).await.unwrap();
    assert_eq!(view, View { is_held: true, epoch: Some(7), ..View::default() });
}

#[tokio::test]
async fn what_is_written_without_the_lease_goes_nowhere() {
    let server = Server::start();
    let fleet = server.fleet().await;
    let log = fleet.log(&name("x")).await.unwrap();
    assert_eq!(append(&log, ONE, EPOCH, 1, &["a"]).await, None, "nobody has it");
    assert_eq!(log.take(ONE, EPOCH, Existing::GoesOn, KEEP).await, Ok(true));
    assert_eq!(append(&log, TWO, EPOCH, 1, &["b"]).await, None);
    assert_eq!(append(&log, ONE, 7, 1, &["b"]).await, None, "of another epoch");
    log.release(TWO).await.unwrap();
    assert!(log.look(None, false).await.unwrap().is_held, "it is not theirs to give up");
    assert_eq!(append(&log, ONE, EPOCH, 1, &["a"]).await, Some(1));
    log.release(ONE).await.unwrap();
    within(log.nudged()).await;
    for (token, existing, taken, epoch, known) in [
        // Of what there is, another one goes on with.
        (TWO, Existing::Same, false, EPOCH, 1),
        (TWO, Existing::GoesOn, true, EPOCH, 1),
        (ONE, Existing::MakesRoom, true, 9, 0),
    ] {
        assert_eq!(log.take(token, 9, existing, KEEP).await, Ok(taken));
        let view = log.look(None, false).await.unwrap();
        assert_eq!((view.is_held, view.epoch, view.messages.len()), (taken, Some(epoch), known));
        log.release(token).await.unwrap();
    }
    assert_eq!(append(&log, TWO, EPOCH, 2, &["b"]).await, None);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_lapses_and_what_nobody_reads_goes() {
    let server = Server::start();
    let settings = config::Redis { lease: Duration::from_millis(200), ..server.settings() };
    let fleet = Fleet::start(&settings).unwrap();
    within(fleet.up()).await;
    let log = fleet.log(&name("x")).await.unwrap();
    let keep = Duration::from_millis(600);
    assert_eq!(log.take(ONE, EPOCH, Existing::GoesOn, keep).await, Ok(true));
    for _ in 0..10 {
        assert_eq!(log.write(ONE, EPOCH, &Write::default(), keep).await, Ok(Some(1)));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    within(async { while log.look(None, false).await.unwrap().is_held {} }).await;
    assert_eq!(log.look(None, false).await.unwrap().epoch, Some(EPOCH));
    within(async { while log.look(None, false).await.unwrap().epoch.is_some() {} }).await;
}

#[tokio::test]
async fn reading_is_bounded_and_what_is_old_is_forgotten() {
    let server = Server::start();
    let fleet = server.fleet().await;
    let log = fleet.log(&name("x")).await.unwrap();
    log.take(ONE, EPOCH, Existing::GoesOn, KEEP).await.unwrap();
    let many: Vec<_> = (1..=100u32).map(|n| Bytes::from(n.to_string())).collect();
    let write = Write { messages: (1, &many), oldest: 11, ..Write::default() };
    log.write(ONE, EPOCH, &write, KEEP).await.unwrap();
    let view = log.look(None, false).await.unwrap();
    assert_eq!((view.messages[0].0, view.messages.len(), view.more), (11, 64, true));
    let view = log.look(Some((EPOCH, 74)), false).await.unwrap();
    assert_eq!((view.messages.len(), view.more), (26, false));
    // By bytes: one too many, and one that is too large alone.
    let large =
        vec![Bytes::from(vec![b'x'; 700 << 10]), Bytes::from(vec![b'x'; 700 << 10]), Bytes::from(vec![b'x'; 4 << 20])];
    let write = Write { messages: (101, &large), oldest: 101, ..Write::default() };
    log.write(ONE, EPOCH, &write, KEEP).await.unwrap();
    for (after, read) in [(0, 1), (101, 1), (102, 1), (103, 0)] {
        let view = log.look(Some((EPOCH, after)), false).await.unwrap();
        assert_eq!((view.messages.len(), view.more), (read, after < 102), "{after}");
    }
}

#[tokio::test]
async fn redis_may_go_and_come_back() {
    let mut server = Server::start();
    let fleet = server.fleet().await;
    let log = fleet.log(&name("x")).await.unwrap();
    log.take(ONE, EPOCH, Existing::GoesOn, KEEP).await.unwrap();
    server.kill();
    within(async { while log.look(None, false).await.is_ok() {} }).await;
    within(async {
        while fleet.state().is_up {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(fleet.log(&name("y")).await.map(drop), Err(Down), "at once");
    assert!(fleet.state().errors > 0);
    server.again();
    within(fleet.up()).await;
    // It has forgotten everything; whoever listened still does.
    within(log.nudged()).await;
    assert_eq!(append(&log, ONE, EPOCH, 1, &["a"]).await, None);
    let other = server.fleet().await.log(&name("x")).await.unwrap();
    assert_eq!(other.take(TWO, 9, Existing::GoesOn, KEEP).await, Ok(true));
    assert_eq!(append(&other, TWO, 9, 1, &["a"]).await, Some(2));
    within(log.nudged()).await;
}

#[tokio::test]
async fn who_is_gone_is_not_nudged() {
    let server = Server::start();
    let fleet = server.fleet().await;
    let log = fleet.log(&name("x")).await.unwrap();
    log.take(ONE, EPOCH, Existing::GoesOn, KEEP).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        let other = server.fleet().await;
        others.push((other.log(&name("x")).await.unwrap(), other.log(&name("x")).await.unwrap(), other));
    }
    let listeners = async || log.write(ONE, EPOCH, &Write::default(), KEEP).await.unwrap();
    assert_eq!(listeners().await, Some(4), "a process is one");
    for left in [3, 2, 1] {
        let (one, two, fleet) = others.pop().unwrap();
        drop(one);
        assert_eq!(listeners().await, Some(left + 1));
        drop(two);
        within(async { while listeners().await != Some(left) {} }).await;
        // And again.
        let again = fleet.log(&name("x")).await.unwrap();
        assert_eq!(listeners().await, Some(left + 1));
        drop(again);
        within(async { while listeners().await != Some(left) {} }).await;
    }
}

/// Any gateway may stop at any moment, sleep beyond its lease and go on as if nothing had been: whatever was taken by Redis was
/// written by the one that held the lease, and a reader sees a run without holes of whichever stream there is.
#[tokio::test]
async fn writers_that_sleep_and_wake_leave_no_hole() {
    let server = Server::start();
    let fleet = server.fleet().await;
    for seed in 0..40 {
        let log = fleet.log(&name(&seed.to_string())).await.unwrap();
        let mut random = crate::upstream::Random::new(seed);
        let mut below = |max: u64| random.draw() % max;
        // What each believes: epoch and newest message, while it believes to hold the lease.
        let mut writers: [Option<(u64, u64)>; 3] = [None; 3];
        let mut holder = None;
        let (mut epoch, mut newest, mut read) = (0, 0, (0, 0));
        for step in 0..200 {
            let at = format!("seed {seed}, step {step}");
            let which = below(3) as usize;
            let token = Token(which as u128);
            match below(10) {
                0..3 => {
                    let existing = [Existing::GoesOn, Existing::MakesRoom][below(2) as usize];
                    let fresh = 1 + below(u64::MAX - 1);
                    let taken = log.take(token, fresh, existing, KEEP).await.unwrap();
                    assert_eq!(taken, holder.is_none_or(|holder| holder == which), "{at}");
                    if taken && holder.is_none() {
                        if epoch == 0 || existing == Existing::MakesRoom {
                            (epoch, newest) = (fresh, 0);
                        }
                        (holder, writers[which]) = (Some(which), Some((epoch, newest)));
                    }
                }
                3..8 => {
                    let Some((own, last)) = &mut writers[which] else { continue };
                    let count = 1 + below(5);
                    let batch: Vec<_> = (1..=count).map(|n| Bytes::from((*last + n).to_string())).collect();
                    let write = Write { messages: (*last + 1, &batch), oldest: 1, ..Write::default() };
                    let taken = log.write(token, *own, &write, KEEP).await.unwrap();
                    assert_eq!(taken.is_some(), holder == Some(which) && *own == epoch, "{at}");
                    match taken {
                        Some(_) => {
                            *last += count;
                            newest = *last;
                        }
                        None => writers[which] = None,
                    }
                }
                8 => {
                    // It lapses; the writer does not know. Any token may release what it holds: as if time had passed.
                    if let Some(which) = holder.take() {
                        log.release(Token(which as u128)).await.unwrap();
                    }
                }
                _ => {
                    let view = log.look(Some(read).filter(|(epoch, _)| *epoch != 0), false).await.unwrap();
                    assert_eq!(view.epoch, Some(epoch).filter(|epoch| *epoch != 0), "{at}");
                    if read.0 != epoch {
                        read = (epoch, 0);
                        continue;
                    }
                    for (offset, message) in view.messages {
                        read.1 += 1;
                        assert_eq!((offset, str::from_utf8(&message).unwrap()), (read.1, &*read.1.to_string()), "{at}");
                    }
                    assert!(view.more || read.1 == newest, "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn messages_that_redis_put_out_are_missed_by_nobody() {
    let server = Server::start();
    let fleet = server.fleet().await;
    let log = fleet.log(&name("x")).await.unwrap();
    log.take(ONE, EPOCH, Existing::GoesOn, KEEP).await.unwrap();
    append(&log, ONE, EPOCH, 1, &["a"]).await;
    log.release(ONE).await.unwrap();
    let mut link = fleet.0.link().unwrap();
    redis::cmd("DEL").arg(&log.stream).query_async::<()>(&mut link.commands).await.unwrap();
    // Offsets would begin anew, and mean something else to whoever knows them.
    assert_eq!(log.take(TWO, 9, Existing::GoesOn, KEEP).await, Ok(true));
    assert_eq!(log.look(None, false).await.unwrap().epoch, Some(9));
}

#[tokio::test]
async fn a_password_and_tls_are_for_who_is_configured_so() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = Server::start();
    let (cert, key) = (files.dir.join("cert.pem"), files.dir.join("key.pem"));
    fs::write(&cert, certificate.cert.pem()).unwrap();
    fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let password = files.dir.join("password");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (text, [cert, key]) = (port.to_string(), [&cert, &key].map(|path| path.to_str().unwrap()));
    let tls = ["--tls-port", &text, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"];
    let user = ["--requirepass", "secret", "--user", "me", "on", ">other", "~*", "&*", "+@all"];
    let _server = Server::with(&[&tls[..], &user].concat());
    let place = RedisPlace::Tls { host: "localhost".to_owned(), port };
    let trusted = UpstreamTls { ca: Some(cert.into()), server_name: None };
    for (user, told, tls, is_let_in) in [
        (None, "secret\n", trusted.clone(), true),
        (Some("me"), "other", trusted.clone(), true),
        (Some("me"), "secret", trusted.clone(), false),
        (None, "secret", UpstreamTls::default(), false),
        (None, "secret", UpstreamTls { server_name: Some("example.com".to_owned()), ..trusted.clone() }, false),
    ] {
        fs::write(&password, told).unwrap();
        let url = RedisUrl { place: place.clone(), user: user.map(str::to_owned), database: 1 };
        let password_file = Some(password.clone());
        let fleet = Fleet::start(&config::Redis { url, password_file, tls, ..files.settings() }).unwrap();
        if is_let_in {
            within(fleet.up()).await;
            let log = fleet.log(&name("x")).await.unwrap();
            assert_eq!(log.look(None, false).await.map(|view| view.is_held), Ok(false), "{user:?} {told:?}");
        } else {
            // Twice: the server may have been too slow for the first.
            within(async {
                while fleet.state().errors < 2 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert!(!fleet.state().is_up, "{user:?} {told:?}");
        }
    }
}
