//! The `Echo` service: an ordinary tonic service that knows nothing of gateways.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    record::Messages,
    script::{Script, failure},
};
use crate::proto::{All, FailReq, HttpBody, Msg, Seen, StreamReq, Sum, echo_server::Echo};

#[derive(Clone, Debug, Default)]
pub struct EchoService {
    /// Messages that `Down` and `DownloadStream` have handed to the connection.
    pub sent: Arc<AtomicU64>,
}

type Reply<T> = Result<Response<T>, Status>;
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a call's head holds for its handler.
struct Head {
    script: Script,
    messages: Messages,
    echo: Option<tonic::metadata::AsciiMetadataValue>,
}

impl Head {
    fn of<T>(request: &Request<T>) -> Self {
        let messages = request.extensions().get::<Messages>().expect("the server records").clone();
        let headers = request.metadata().clone();
        Self { echo: headers.get("x-echo").cloned(), script: Script::read(&headers.into_headers()), messages }
    }

    /// A reply with the initial metadata of every answer.
    fn reply<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        let metadata = response.metadata_mut();
        metadata.insert("x-backend", "echo".parse().expect("ASCII"));
        metadata.insert("etag", "\"v1\"".parse().expect("ASCII"));
        metadata.insert_bin("x-bin-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 1, 0xff]));
        if let Some(value) = &self.echo {
            metadata.insert("x-echo", value.clone());
        }
        response
    }

    async fn one(&self, mut message: Msg) -> Reply<Msg> {
        self.messages.saw(&message.text);
        self.script.reach(0).await?;
        if let Some(bytes) = self.script.big(0) {
            message.data = vec![b'x'; bytes];
        }
        Ok(self.reply(message))
    }
}

/// The state of a stream of replies.
struct Down {
    head: Head,
    request: StreamReq,
    next: u32,
    sent: Arc<AtomicU64>,
}

impl Down {
    async fn step(mut self) -> Option<(Result<Msg, Status>, Self)> {
        let (count, next) = (if self.request.count == 0 { 3 } else { self.request.count }, self.next);
        let index = i32::try_from(next).expect("few messages");
        if let Err(status) = self.head.script.reach(next).await {
            self.end();
            return Some((Err(status), self));
        }
        if index >= count || next == u32::MAX {
            return None;
        }
        if self.request.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.request.delay_ms.unsigned_abs().into())).await;
        }
        if self.request.fail_after > 0 && index >= self.request.fail_after {
            let status = failure(self.request.fail_code.unsigned_abs(), &self.request.fail_message, false);
            self.end();
            return Some((Err(status), self));
        }
        let size = self.head.script.big(next).unwrap_or(usize::try_from(self.request.size).unwrap_or(0));
        let message = Msg { text: self.request.text.clone(), n: index, data: vec![b'x'; size] };
        self.next += 1;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Some((Ok(message), self))
    }

    fn end(&mut self) {
        self.request.count = -1;
        self.head.script = Script::default();
    }
}

/// The state of a conversation.
struct Chat {
    head: Head,
    requests: Streaming<Msg>,
    /// The message that is being repeated, and how often still.
    current: Option<(Msg, i32)>,
    kept: Vec<Msg>,
    sent: u32,
    over: bool,
}

impl Chat {
    async fn step(mut self) -> Option<(Result<Msg, Status>, Self)> {
        let reply = self.reply().await.transpose()?;
        if reply.is_err() {
            (self.over, self.current) = (true, None);
        } else {
            self.sent += 1;
        }
        Some((reply, self))
    }

    async fn reply(&mut self) -> Result<Option<Msg>, Status> {
        if self.over && self.current.is_none() && self.kept.is_empty() {
            return Ok(None);
        }
        self.head.script.reach(self.sent).await?;
        if self.current.is_none() {
            self.current = self.take().await?.map(|message| (message.clone(), message.n.max(1)));
        }
        let Some((message, times)) = &mut self.current else { return Ok(None) };
        let mut message = message.clone();
        *times -= 1;
        if *times == 0 {
            self.current = None;
        }
        if let Some(bytes) = self.head.script.big(self.sent) {
            message.data = vec![b'x'; bytes];
        }
        Ok(Some(message))
    }

    /// The next message to answer.
    async fn take(&mut self) -> Result<Option<Msg>, Status> {
        if self.head.script.await_half_close && !self.over {
            while let Some(message) = self.read().await? {
                self.kept.push(message);
            }
            self.kept.push(Msg { text: "bye".to_owned(), ..Msg::default() });
        }
        if !self.kept.is_empty() {
            return Ok(Some(self.kept.remove(0)));
        }
        if self.over { Ok(None) } else { self.read().await }
    }

    async fn read(&mut self) -> Result<Option<Msg>, Status> {
        let message = self.requests.message().await?;
        match &message {
            Some(message) => self.head.messages.saw(&message.text),
            None => self.over = true,
        }
        match message {
            Some(message) if message.text == "fail" => Err(failure(9, "asked to fail", true)),
            message => Ok(message),
        }
    }
}

#[async_trait]
impl Echo for EchoService {
    async fn say(&self, request: Request<Msg>) -> Reply<Msg> {
        Head::of(&request).one(request.into_inner()).await
    }

    async fn bare(&self, request: Request<Msg>) -> Reply<Msg> {
        Head::of(&request).one(request.into_inner()).await
    }

    async fn all(&self, request: Request<All>) -> Reply<All> {
        Ok(Response::new(request.into_inner()))
    }

    type DownStream = Replies<Msg>;

    async fn down(&self, request: Request<StreamReq>) -> Reply<Self::DownStream> {
        let head = Head::of(&request);
        head.messages.saw(&request.get_ref().text);
        // With nothing before it, a failure is a refusal: the reply has no head but the status.
        head.script.reach(0).await?;
        let reply = head.reply(());
        let request = request.into_inner();
        let next = request.after.map_or(0, |after| u32::try_from(after).expect("a number that was sent") + 1);
        let state = Down { head, request, next, sent: self.sent.clone() };
        let stream: Self::DownStream = Box::pin(futures_util::stream::unfold(state, Down::step));
        Ok(reply.map(|()| stream))
    }

    async fn up(&self, request: Request<Streaming<Msg>>) -> Reply<Sum> {
        let head = Head::of(&request);
        let mut requests = request.into_inner();
        let (mut sum, mut texts, mut count) = (Sum::default(), Vec::new(), 0);
        head.script.reach(0).await?;
        while let Some(message) = requests.message().await? {
            head.messages.saw(&message.text);
            sum.count += 1;
            sum.bytes += i64::try_from(message.data.len()).expect("fits");
            if texts.len() < 100 {
                texts.push(message.text);
            }
            count += 1;
            head.script.reach(count).await?;
        }
        sum.joined = texts.join(",");
        if let Some(bytes) = head.script.big(0) {
            sum.joined = "x".repeat(bytes);
        }
        Ok(head.reply(sum))
    }

    type ChatStream = Replies<Msg>;

    async fn chat(&self, request: Request<Streaming<Msg>>) -> Reply<Self::ChatStream> {
        let head = Head::of(&request);
        head.script.reach(0).await?;
        let reply = head.reply(());
        let requests = request.into_inner();
        let state = Chat { head, requests, current: None, kept: Vec::new(), sent: 0, over: false };
        let stream: Self::ChatStream = Box::pin(futures_util::stream::unfold(state, Chat::step));
        Ok(reply.map(|()| stream))
    }

    async fn fail(&self, request: Request<FailReq>) -> Reply<Msg> {
        let request = request.into_inner();
        if request.code == 0 {
            return Ok(Response::new(Msg { text: "ok".to_owned(), ..Msg::default() }));
        }
        let message = if request.message.is_empty() { "asked to fail" } else { &request.message };
        Err(failure(request.code.unsigned_abs(), message, request.details))
    }

    async fn slow(&self, request: Request<FailReq>) -> Reply<Seen> {
        let metadata = request.metadata().clone().into_headers();
        tokio::time::sleep(Duration::from_millis(request.get_ref().delay_ms.unsigned_abs().into())).await;
        Ok(Response::new(Seen { method: "Slow".to_owned(), deadline_ms: deadline_ms(&metadata), ..Seen::default() }))
    }

    async fn meta(&self, request: Request<Msg>) -> Reply<Seen> {
        let head = Head::of(&request);
        let headers = request.metadata().clone().into_headers();
        let metadata = headers.keys().map(|name| (name.to_string(), joined(&headers, name.as_str()))).collect();
        let deadline_ms = deadline_ms(&headers);
        let seen = Seen { method: "Meta".to_owned(), request_json: String::new(), requests: 1, metadata, deadline_ms };
        Ok(head.reply(seen))
    }

    async fn download(&self, request: Request<StreamReq>) -> Reply<HttpBody> {
        let request = request.into_inner();
        let text = if request.text.is_empty() { "hello" } else { &request.text };
        Ok(Response::new(body("text/plain; charset=utf-8", text, request.size)))
    }

    type DownloadStreamStream = Replies<HttpBody>;

    async fn download_stream(&self, request: Request<StreamReq>) -> Reply<Self::DownloadStreamStream> {
        let (script, request) = (Head::of(&request).script, request.into_inner());
        let count = if request.count == 0 { 3 } else { request.count.unsigned_abs() };
        let sent = self.sent.clone();
        let chunks = tokio_stream::iter(0..=count).then(move |index| {
            let (script, sent) = (script.clone(), sent.clone());
            async move {
                script.reach(index).await?;
                sent.fetch_add(1, Ordering::Relaxed);
                Ok((index < count).then(|| body("text/plain", &format!("chunk{index}\n"), request.size)))
            }
        });
        Ok(Response::new(Box::pin(chunks.filter_map(Result::transpose))))
    }

    async fn upload(&self, request: Request<HttpBody>) -> Reply<Sum> {
        let upload = request.into_inner();
        let bytes = i64::try_from(upload.data.len()).expect("fits");
        Ok(Response::new(Sum { count: 1, bytes, joined: upload.content_type }))
    }

    async fn upload_stream(&self, request: Request<Streaming<HttpBody>>) -> Reply<Sum> {
        let head = Head::of(&request);
        let mut requests = request.into_inner();
        let (mut sum, mut count) = (Sum::default(), 0);
        head.script.reach(count).await?;
        while !head.script.answers(count)
            && let Some(chunk) = requests.message().await?
        {
            head.messages.saw(&chunk.content_type);
            sum.count += 1;
            sum.bytes += i64::try_from(chunk.data.len()).expect("fits");
            if sum.joined.is_empty() {
                sum.joined = chunk.content_type;
            }
            count += 1;
            head.script.reach(count).await?;
        }
        Ok(Response::new(sum))
    }

    type MirrorStream = Streaming<HttpBody>;

    async fn mirror(&self, request: Request<Streaming<HttpBody>>) -> Reply<Self::MirrorStream> {
        Ok(Response::new(request.into_inner()))
    }
}

fn body(content_type: &str, text: &str, size: i32) -> HttpBody {
    let mut data = text.as_bytes().to_vec();
    data.resize(data.len() + usize::try_from(size).unwrap_or(0), b'x');
    HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() }
}

fn joined(headers: &http::HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(", ")
}

fn deadline_ms(headers: &http::HeaderMap) -> String {
    let timeout = headers.get("grpc-timeout").and_then(|value| tidegate::wire::timeout::parse(value.as_bytes()));
    timeout.map_or_else(String::new, |timeout| timeout.as_millis().to_string())
}
