//! Schemas that are wrong: files are refused before a port is bound, with the place; a server of reflection that lies,
//! loops or stops half-way is told of, and everything else is served.

use std::{fs::File, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::Reason;
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto, field_descriptor_proto,
};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    backend::{Backend, RawBackend, RawCall, framed},
    harness::{Config, Gateway, PATIENCE, Via, temp::TempDir},
    proto::DESCRIPTOR_SET,
};

/// What `tidegate serve` says of an upstream with this schema, which it must not serve.
async fn refused(dir: &TempDir, schema: &str) -> String {
    let config = Config::new().upstream("bad", ([127, 0, 0, 1], 1).into(), &format!("schema: {schema}"));
    Gateway::refused(&config, dir).await
}

fn file(name: &str, imports: &[&str]) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some("p".to_owned()),
        dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
        ..Default::default()
    }
}

/// A file with a service `p.S`, whose methods take and give `google.protobuf.Empty`.
fn service_file(name: &str, imports: &[&str], service: &str) -> FileDescriptorProto {
    let method = MethodDescriptorProto {
        name: Some("M".to_owned()),
        input_type: Some(".google.protobuf.Empty".to_owned()),
        output_type: Some(".google.protobuf.Empty".to_owned()),
        ..Default::default()
    };
    let service = ServiceDescriptorProto { name: Some(service.to_owned()), method: vec![method], ..Default::default() };
    FileDescriptorProto { service: vec![service], ..file(name, imports) }
}

#[tokio::test]
async fn proto_sources_that_cannot_be_compiled_are_refused_with_file_and_line() {
    let dir = TempDir::new();
    for (name, text) in [
        ("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";"),
        ("b.proto", "syntax = \"proto3\";\n\nimport \"a.proto\";"),
        ("self.proto", "syntax = \"proto3\"; import \"self.proto\";"),
        ("missing.proto", "syntax = \"proto3\";\n  import \"nowhere/x.proto\";"),
        ("broken.proto", "syntax = \"proto3\";\nmessage M {\n  strin a = 1;\n}"),
    ] {
        dir.write(name, text);
    }
    for (file, wanted) in [
        ("a.proto", &["a.proto -> b.proto -> a.proto"][..]),
        ("self.proto", &["self.proto -> self.proto"]),
        ("missing.proto", &["missing.proto:2:3", "nowhere/x.proto"]),
        ("broken.proto", &["broken.proto:3:3", "strin"]),
        ("absent.proto", &["absent.proto"]),
    ] {
        let (path, include) = (dir.path().join(file), dir.path());
        let text = refused(&dir, &format!("{{ protos: {{ files: [ {path:?} ], includes: [ {include:?} ] }} }}")).await;
        for wanted in wanted {
            assert!(text.contains(wanted), "{file}: {wanted:?} is not in: {text}");
        }
    }
}

#[tokio::test]
async fn sets_that_make_no_sense_are_refused() {
    let dir = TempDir::new();
    let set = |file: Vec<FileDescriptorProto>| FileDescriptorSet { file }.encode_to_vec();
    let unknown_type = {
        let mut file = service_file("a.proto", &["gone.proto"], "S");
        file.service[0].method[0].input_type = Some(".gone.M".to_owned());
        file
    };
    let huge_number = {
        let mut file = service_file("a.proto", &[], "S");
        let field = prost_types::FieldDescriptorProto {
            name: Some("f".to_owned()),
            number: Some(0),
            r#type: Some(field_descriptor_proto::Type::Int32.into()),
            ..Default::default()
        };
        let message =
            prost_types::DescriptorProto { name: Some("M".to_owned()), field: vec![field], ..Default::default() };
        file.message_type.push(message);
        file
    };
    for (bytes, wanted) in [
        (
            set(vec![service_file("a.proto", &["b.proto"], "S"), file("b.proto", &["a.proto"])]),
            "a.proto → b.proto → a.proto",
        ),
        (set(vec![unknown_type]), "imported files are missing in it: `gone.proto`"),
        (set(vec![huge_number]), "p.M"),
        (b"syntax = \"proto3\";".to_vec(), "not a serialized google.protobuf.FileDescriptorSet"),
        (vec![0xff; 1000], "not a serialized google.protobuf.FileDescriptorSet"),
        (set(vec![service_file("a.proto", &[], "S")]).into_iter().chain([0x0a, 0x7f]).collect(), "damaged"),
    ] {
        let path = dir.write("set.binpb", bytes);
        let text = refused(&dir, &format!("{{ descriptor_set: {path:?} }}")).await;
        assert!(text.contains(wanted), "{wanted:?} is not in: {text}");
    }
}

#[tokio::test]
async fn a_set_of_100_mb_is_refused_before_it_is_read_whole() {
    let dir = TempDir::new();
    let path = dir.path().join("huge.binpb");
    File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let text = refused(&dir, &format!("{{ descriptor_set: {path:?} }}")).await;
    assert!(text.contains("it has 104857600 bytes, more than the limit of 67108864"), "{text}");
}

/// A field of a message on the wire whose number is below 16.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A `ServerReflectionResponse` with the services of this name.
fn services(names: &[&str]) -> Bytes {
    let list: Vec<u8> = names.iter().flat_map(|name| field(1, &field(1, name.as_bytes()))).collect();
    framed(&field(6, &list))
}

/// One with these files.
fn files(files: &[FileDescriptorProto]) -> Bytes {
    let files: Vec<u8> = files.iter().flat_map(|file| field(1, &file.encode_to_vec())).collect();
    framed(&field(4, &files))
}

/// A server of reflection that does as it is told, and answers every other call with an empty message.
struct Liar {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Liar {
    /// `lie` is called for each call of reflection, with how many there were before.
    async fn start(lie: impl Fn(usize, RawCall) -> Option<RawCall> + Send + 'static) -> Self {
        let mut backend = RawBackend::start().await;
        let address = backend.address;
        let task = tokio::spawn(async move {
            // A call that is dropped is reset: whoever should wait, waits.
            let (mut held, mut asked) = (Vec::new(), 0);
            while let Some(mut call) = backend.next_call().await {
                if call.path().contains("ServerReflection") {
                    held.extend(lie(asked, call));
                    asked += 1;
                } else {
                    call.head();
                    call.data(framed(b""));
                    call.trailers(&[("grpc-status", "0")]);
                    held.push(call);
                }
            }
        });
        Self { address, task }
    }

    /// Says the same in every call, and then nothing more.
    async fn saying(answers: Vec<Bytes>) -> Self {
        Self::start(move |_, call| Some(said(call, &answers))).await
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn said(mut call: RawCall, answers: &[Bytes]) -> RawCall {
    call.head();
    for answer in answers {
        call.data(answer.clone());
    }
    call
}

/// Waits for a line of the gateway's log that has all of these words.
async fn told(gateway: &Gateway, words: &[&str]) {
    let line = gateway.process.stderr.find(|line| words.iter().all(|word| line.contains(word)).then_some(()));
    // It never ends by itself: what fails is tried again and again, and told of.
    let found = tokio::time::timeout(PATIENCE, line).await.ok().flatten();
    assert!(found.is_some(), "{words:?} are not told: {}", gateway.process.transcript());
}

#[tokio::test]
async fn a_server_that_lies_loops_or_stops_is_told_of_and_the_rest_is_served() {
    let backend = Backend::start().await;
    let listed = services(&["p.S"]);
    let then = |answers: Vec<Bytes>| std::iter::once(listed.clone()).chain(answers).collect::<Vec<_>>();
    // Each file imports a thousand more.
    let endless = (0..51).map(|index: usize| {
        let imports: Vec<_> = (1..=1000).map(|import| (index * 1000 + import).to_string()).collect();
        let imports: Vec<_> = imports.iter().map(String::as_str).collect();
        let name = index.to_string();
        files(&[if index == 0 { service_file(&name, &imports, "S") } else { file(&name, &imports) }])
    });
    let cycle = [service_file("a.proto", &["b.proto"], "S"), file("b.proto", &["a.proto"])];
    let rule = {
        // `google.api.http` with a template that is none; prost-types drops options, so they are put in by hand.
        let options = field(4, &[&[0x82, 0xd3, 0xe4, 0x93, 0x02, 4][..], &field(2, b"/{")].concat());
        let method =
            [field(1, b"M"), field(2, b".google.protobuf.Empty"), field(3, b".google.protobuf.Empty"), options];
        let service = [field(1, b"R"), field(2, &method.concat())].concat();
        [field(1, b"rule.proto"), field(2, b"q"), field(6, &service)].concat()
    };
    let liars = [
        (
            "other-file",
            Liar::saying(then(vec![files(&[service_file("a.proto", &[], "Other")])])).await,
            "sent other files",
        ),
        ("no-file", Liar::saying(then(vec![files(&[])])).await, "sent other files"),
        (
            "ghost",
            Liar::saying(then(vec![framed(&field(7, &[8, 5]))])).await,
            "knows none of the services that it lists",
        ),
        (
            "garbage-file",
            Liar::saying(then(vec![framed(&field(4, &field(1, &[0xff; 40])))])).await,
            "no FileDescriptorProto",
        ),
        ("garbage", Liar::saying(then(vec![framed(&[0xff; 40])])).await, "not a ServerReflectionResponse"),
        (
            "no-envelope",
            Liar::saying(then(vec![Bytes::from_static(&[9; 40])])).await,
            "larger than the limit of 16777216 bytes",
        ),
        ("other-kind", Liar::saying(then(vec![listed.clone()])).await, "answered with a list of services"),
        ("endless", Liar::saying(then(endless.collect())).await, "more than 50000 files"),
        ("circle", Liar::saying(then(vec![files(&cycle)])).await, "a.proto → b.proto → a.proto"),
        (
            "rule",
            Liar::saying(vec![services(&["q.R"]), framed(&field(4, &field(1, &rule)))]).await,
            "rule.proto: q.R.M: the path template `/{`",
        ),
        ("silent", Liar::saying(then(vec![])).await, "DEADLINE_EXCEEDED"),
        (
            "reset",
            Liar::start(|_, call| {
                said(call, &[services(&["p.S"])]).reset(Reason::INTERNAL_ERROR);
                None
            })
            .await,
            "server reflection: ",
        ),
        (
            "ended",
            Liar::start(|_, call| {
                let mut call = said(call, &[services(&["p.S"])]);
                call.trailers(&[("grpc-status", "0")]);
                Some(call)
            })
            .await,
            "ended the stream after 1 answers, with more to come",
        ),
        (
            "cut",
            Liar::start(|_, call| {
                let call = said(call, &[services(&["p.S"])]);
                call.connection.cut();
                Some(call)
            })
            .await,
            "server reflection: ",
        ),
        ("taken", Liar::saying(then(vec![files(&[service_file("a.proto", &[], "S")])])).await, ""),
        ("taken-too", Liar::saying(then(vec![files(&[service_file("a.proto", &[], "S")])])).await, ""),
    ];
    let schema = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
    let mut config = Config::new().upstream("good", backend.address, &schema);
    for (name, liar, _) in &liars {
        config = config.upstream(name, liar.address, "schema: reflection");
    }
    let gateway = Gateway::start(config).await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    assert_eq!(gateway.admin_get("/livez").await.status, 200);
    for (name, _, wanted) in liars.iter().filter(|(.., wanted)| !wanted.is_empty()) {
        told(&gateway, &[name, wanted]).await;
    }
    // Of two that have the same service, one is served and the other is told of.
    told(&gateway, &["both have the service `p.S`", "`taken`", "`taken-too`"]).await;
    let answer = gateway.connect(Via::H1).await.whole("POST", "/p.S/M", &[], Some("{}".into())).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "{}"), "{answer:?}");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_server_that_stops_lying_is_served() {
    let backend = Backend::start().await;
    let liar = Liar::start(|asked, call| {
        let lie = framed(&field(4, &field(1, &[0xff; 40])));
        let truth = files(&[service_file("a.proto", &[], "S")]);
        Some(said(call, &[services(&["p.S"]), if asked == 0 { lie } else { truth }]))
    })
    .await;
    let schema = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
    let config =
        Config::new().upstream("good", backend.address, &schema).upstream("liar", liar.address, "schema: reflection");
    let gateway = Gateway::start(config).await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    let served = async {
        let mut conn = gateway.connect(Via::H1).await;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while conn.whole("POST", "/p.S/M", &[], Some("{}".into())).await.status != 200 {
            tick.tick().await;
        }
    };
    let served = tokio::time::timeout(PATIENCE, served).await;
    assert!(served.is_ok(), "{}", gateway.process.transcript());
}

#[tokio::test]
async fn what_speaks_no_http2_has_no_schema() {
    let backend = Backend::start().await;
    let (address, _garbage): (SocketAddr, JoinSet<()>) = RawBackend::garbage(b"220 smtp.example.com ESMTP\r\n").await;
    let schema = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
    let config =
        Config::new().upstream("good", backend.address, &schema).upstream("smtp", address, "schema: reflection");
    let gateway = Gateway::start(config).await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    told(&gateway, &["smtp", "reflection"]).await;
}
