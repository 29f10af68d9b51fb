//! The demo's services through a tonic client, over loopback.

use std::{error::Error, time::Duration};

use prost::Message;
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, Sender},
        oneshot,
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{StreamExt, iter, wrappers::ReceiverStream};
use tonic::{Code, Status, Streaming, transport::Channel};

use super::proto::{
    demo::{
        chat::v1::{ChatEvent, ChatMessage, chat_client::ChatClient, chat_event::Kind as ChatKind},
        liker::v1::{
            GetPictureRequest, GetPostRequest, ImportPostsRequest, LikeRequest, ListPostsRequest, UnlikeRequest,
            WatchLikesRequest, get_picture_request::Format, like_event::Kind, liker_client::LikerClient,
        },
    },
    google::rpc,
};

/// Far more than anything here takes; reached only by a hang.
const HANG: Duration = Duration::from_secs(20);

struct Backend {
    channel: Channel,
    /// Another connection, whose streams hold 64 KiB until somebody reads.
    narrow: Channel,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(super::serve(listener, async {
            let _ = stopped.await;
        }));
        let endpoint = Channel::from_shared(url).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let narrow = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
        Self { channel, narrow, stop, served }
    }

    fn liker(&self) -> LikerClient<Channel> {
        LikerClient::new(self.channel.clone())
    }

    /// Joins a room as a member that can speak later.
    async fn join(&self, room: &str, author: &str) -> (Sender<ChatMessage>, Streaming<ChatEvent>) {
        Self::join_through(&self.channel, room, author).await
    }

    async fn join_through(channel: &Channel, room: &str, author: &str) -> (Sender<ChatMessage>, Streaming<ChatEvent>) {
        let (say, said) = mpsc::channel(8);
        say.send(message(room, author, "")).await.unwrap();
        let events = ChatClient::new(channel.clone()).join(ReceiverStream::new(said)).await.unwrap().into_inner();
        (say, events)
    }

    async fn join_with(&self, messages: Vec<ChatMessage>) -> Result<Vec<ChatEvent>, Status> {
        let events = ChatClient::new(self.channel.clone()).join(iter(messages)).await?.into_inner();
        timeout(HANG, events.collect::<Result<Vec<_>, _>>()).await.unwrap()
    }
}

fn message(room: &str, author: &str, text: &str) -> ChatMessage {
    ChatMessage { room: room.to_owned(), author: author.to_owned(), text: text.to_owned() }
}

async fn next<T>(events: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(HANG, events.message()).await.unwrap()
}

fn like(id: &str, liker: &str) -> LikeRequest {
    LikeRequest { id: id.to_owned(), liker: liker.to_owned() }
}

/// The type names of the details of a failure.
fn details(status: &Status) -> Vec<String> {
    let decoded = rpc::Status::decode(status.details()).unwrap();
    assert_eq!((decoded.code, decoded.message.as_str()), (status.code() as i32, status.message()));
    decoded.details.into_iter().map(|any| any.type_url.replace("type.googleapis.com/google.rpc.", "")).collect()
}

#[tokio::test]
async fn a_like_comes_back_in_the_list_and_to_every_watcher() {
    let backend = Backend::start().await;
    let mut liker = backend.liker();
    let before = liker.list_posts(ListPostsRequest::default()).await.unwrap().into_inner().posts;
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let mut events = liker.watch_likes(WatchLikesRequest::default()).await.unwrap().into_inner();
        for post in &before {
            let event = next(&mut events).await.unwrap().unwrap();
            assert_eq!((event.kind(), event.post.as_ref()), (Kind::Snapshot, Some(post)));
        }
        watchers.push(events);
    }
    let liked = liker.like(like("3", "ann")).await.unwrap().into_inner();
    assert_eq!((liked.likes, liked.liked), (before[2].likes + 1, true));
    for events in &mut watchers {
        let event = next(events).await.unwrap().unwrap();
        assert_eq!((event.kind(), event.post.unwrap().likes), (Kind::Liked, liked.likes));
    }
    let seen = |name: &str| ListPostsRequest { liker: name.to_owned() };
    assert!(liker.list_posts(seen("ann")).await.unwrap().into_inner().posts[2].liked);
    assert!(!liker.list_posts(seen("bob")).await.unwrap().into_inner().posts[2].liked);
    let unliked = liker.unlike(UnlikeRequest { id: "3".to_owned(), liker: "ann".to_owned() }).await.unwrap();
    assert_eq!(unliked.into_inner(), before[2]);
}

#[tokio::test]
async fn a_watcher_that_names_its_last_event_misses_nothing() -> Result<(), Box<dyn Error>> {
    let backend = Backend::start().await;
    let mut liker = backend.liker();
    let mut events = liker.watch_likes(WatchLikesRequest::default()).await?.into_inner();
    let mut after_sequence = 0;
    while after_sequence == 0 {
        after_sequence = next(&mut events).await?.unwrap().sequence;
    }
    drop(events);
    liker.like(like("1", "ann")).await?;
    let mut events = liker.watch_likes(WatchLikesRequest { after_sequence }).await?.into_inner();
    let event = next(&mut events).await?.unwrap();
    assert_eq!((event.kind(), event.sequence), (Kind::Liked, after_sequence + 1));
    Ok(())
}

#[tokio::test]
async fn an_imported_post_is_published_while_the_request_still_streams() {
    let backend = Backend::start().await;
    let mut liker = backend.liker();
    let mut events = liker.watch_likes(WatchLikesRequest::default()).await.unwrap().into_inner();
    for _ in 0..6 {
        next(&mut events).await.unwrap();
    }
    let (send, requests) = mpsc::channel(1);
    let call = tokio::spawn(async move { liker.import_posts(ReceiverStream::new(requests)).await });
    for title in ["first", "second"] {
        let request = ImportPostsRequest { title: title.to_owned(), author: "ann".to_owned() };
        send.send(request).await.unwrap();
        let event = next(&mut events).await.unwrap().unwrap();
        assert_eq!((event.kind(), event.post.unwrap().title.as_str()), (Kind::Published, title));
    }
    drop(send);
    let answer = call.await.unwrap().unwrap().into_inner();
    assert_eq!((answer.imported, answer.ids), (2, vec!["7".to_owned(), "8".to_owned()]));
}

#[tokio::test]
async fn what_the_liker_refuses_it_refuses_with_details() {
    let backend = Backend::start().await;
    let mut liker = backend.liker();
    let unknown = "nope".to_owned();
    let not_found = [
        liker.get_post(GetPostRequest { id: unknown.clone(), ..Default::default() }).await.unwrap_err(),
        liker.like(like("nope", "ann")).await.unwrap_err(),
        liker.unlike(UnlikeRequest { id: unknown.clone(), ..Default::default() }).await.unwrap_err(),
        liker.get_picture(GetPictureRequest { id: unknown, format: 0 }).await.unwrap_err(),
    ];
    for status in not_found {
        assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no post with the id \"nope\""));
        assert_eq!(details(&status), ["ErrorInfo", "ResourceInfo"]);
    }
    let import = ImportPostsRequest { title: " ".to_owned(), author: "ann".to_owned() };
    let invalid = [
        liker.like(like("1", &"x".repeat(65))).await.unwrap_err(),
        liker.import_posts(iter([import])).await.unwrap_err(),
    ];
    for status in invalid {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details(&status), ["ErrorInfo", "BadRequest"]);
    }
}

#[tokio::test]
async fn pictures_have_the_type_that_was_asked_for() {
    let backend = Backend::start().await;
    for (format, content_type, start) in
        [(Format::Svg, "image/svg+xml", &b"<svg "[..]), (Format::Png, "image/png", &b"\x89PNG"[..])]
    {
        let request = GetPictureRequest { id: "1".to_owned(), format: format.into() };
        let picture = backend.liker().get_picture(request).await.unwrap().into_inner();
        assert_eq!(picture.content_type, content_type);
        assert!(picture.data.starts_with(start));
    }
}

#[tokio::test]
async fn two_callers_in_a_room_hear_each_other_and_the_comings_and_goings() {
    let backend = Backend::start().await;
    let (ann_says, mut ann_hears) = backend.join("quay", "ann").await;
    let (bob_says, mut bob_hears) = backend.join("quay", "bob").await;
    ann_says.send(message("quay", "", "hello")).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let event = next(&mut ann_hears).await.unwrap().unwrap();
        heard.push((event.kind(), event.author, event.text));
    }
    let event = |kind, author: &str, text: &str| (kind, author.to_owned(), text.to_owned());
    assert_eq!(
        heard,
        [event(ChatKind::Joined, "ann", ""), event(ChatKind::Joined, "bob", ""), event(ChatKind::Said, "ann", "hello"),]
    );
    next(&mut bob_hears).await.unwrap();
    assert_eq!(next(&mut bob_hears).await.unwrap().unwrap().text, "hello");
    // One leaves by half-closing, the other hears of it; one leaves by going away.
    drop(bob_says);
    assert!(next(&mut bob_hears).await.unwrap().is_none());
    let left = next(&mut ann_hears).await.unwrap().unwrap();
    assert_eq!((left.kind(), left.author.as_str(), left.members), (ChatKind::Left, "bob", 1));
    let (_carl_says, mut carl_hears) = backend.join("quay", "carl").await;
    drop((ann_says, ann_hears));
    let mut kinds = Vec::new();
    while kinds.last() != Some(&ChatKind::Left) {
        kinds.push(next(&mut carl_hears).await.unwrap().unwrap().kind());
    }
    assert_eq!(kinds, [ChatKind::Earlier, ChatKind::Joined, ChatKind::Left]);
}

#[tokio::test]
async fn ones_own_words_come_back_before_the_call_ends() {
    let backend = Backend::start().await;
    let events = backend.join_with(vec![message("quay", "ann", "one"), message("quay", "", "two")]).await.unwrap();
    let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["", "one", "two"]);
}

#[tokio::test]
async fn what_the_chat_refuses_names_the_field() {
    let backend = Backend::start().await;
    let long = "x".repeat(1_001);
    for (messages, said) in [
        (vec![], "room: the first message must name it, and none came"),
        (vec![message("", "ann", "hi")], "room: must have 1 to 64 bytes"),
        (vec![message("quay", "", "hi")], "author: must not be empty"),
        (vec![message("quay", "ann", " ")], "text: must not be empty"),
        (vec![message("quay", "ann", "hi"), message("quay", "ann", "")], "text: must not be empty"),
        (vec![message("quay", "ann", &long)], "text: must have at most 1000 characters, and has 1001"),
        (
            vec![message("quay", "ann", "hi"), message("lighthouse", "ann", "hi")],
            "room: cannot change during the call, and is \"quay\"",
        ),
        (
            vec![message("quay", "ann", "hi"), message("quay", "bob", "hi")],
            "author: cannot change during the call, and is \"ann\"",
        ),
    ] {
        let status = backend.join_with(messages).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, said));
        assert_eq!(details(&status), ["ErrorInfo", "BadRequest"]);
    }
}

#[tokio::test]
async fn a_member_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let backend = Backend::start().await;
    let (_slow_says, mut slow_hears) = Backend::join_through(&backend.narrow, "quay", "slow").await;
    let (ann_says, mut ann_hears) = backend.join("quay", "ann").await;
    next(&mut ann_hears).await.unwrap();
    // Enough to fill the slow member's window, the server's send buffer (400 KiB) and the backlog after that.
    let text = "x".repeat(1_000);
    for _ in 0..1_000 {
        ann_says.send(message("quay", "", &text)).await.unwrap();
        assert_eq!(next(&mut ann_hears).await.unwrap().unwrap().text, text);
    }
    let end = loop {
        match next(&mut slow_hears).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_stop_ends_watchers_and_chats_as_unavailable_and_then_the_service() {
    let backend = Backend::start().await;
    let mut watch = backend.liker().watch_likes(WatchLikesRequest::default()).await.unwrap().into_inner();
    let (_says, mut chat) = backend.join("quay", "ann").await;
    let (_requests, import) = mpsc::channel::<ImportPostsRequest>(1);
    let mut liker = backend.liker();
    let import = tokio::spawn(async move { liker.import_posts(ReceiverStream::new(import)).await });
    next(&mut watch).await.unwrap();
    backend.stop.send(()).unwrap();
    let watched = loop {
        if let Err(status) = next(&mut watch).await {
            break status;
        }
    };
    let chatted = loop {
        if let Err(status) = next(&mut chat).await {
            break status;
        }
    };
    // Where the call had not reached the service yet, the connection itself says that it goes down.
    let imported = timeout(HANG, import).await.unwrap().unwrap().unwrap_err();
    assert_eq!([watched.code(), chatted.code()], [Code::Unavailable; 2]);
    assert_eq!(details(&watched), ["ErrorInfo"]);
    assert!(matches!(imported.code(), Code::Unavailable | Code::Cancelled | Code::Unknown), "{imported:?}");
    timeout(HANG, backend.served).await.unwrap().unwrap().unwrap();
}

#[test]
fn the_descriptor_set_has_the_services_their_rules_and_their_comments() {
    let pool = prost_reflect::DescriptorPool::decode(super::descriptor_set()).unwrap();
    let names: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
    assert_eq!(names, ["demo.liker.v1.Liker", "demo.chat.v1.Chat"]);
    let rule = pool.get_extension_by_name("google.api.http").unwrap();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        assert!(method.options().has_extension(&rule), "{}", method.full_name());
    }
    assert!(pool.files().any(|file| file.file_descriptor_proto().source_code_info.is_some()));
}
