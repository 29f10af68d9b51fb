//! A call in Connect by a plain HTTP client: bare messages, by POST and by GET, and enveloped streams.

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::Value;

use super::{
    Conn, Gateway, Opening, Step, binary,
    call::{Dialect, End, How, Kind},
    http::{Broken, Download, Upload},
};
use crate::backend::framed;

/// How messages are written, and where a unary call's stands.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    json: bool,
    by_get: bool,
}

impl Form {
    /// None: another dialect.
    pub fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::ConnectJson => Some(Self { json: true, by_get: false }),
            Dialect::ConnectProto => Some(Self { json: false, by_get: false }),
            Dialect::ConnectGet => Some(Self { json: false, by_get: true }),
            _ => None,
        }
    }

    fn media_type(self, kind: Kind) -> &'static str {
        match (kind == Kind::Unary, self.json) {
            (true, true) => "application/json",
            (true, false) => "application/proto",
            (false, true) => "application/connect+json",
            (false, false) => "application/connect+proto",
        }
    }

    fn encode(self, name: &str, message: &Value) -> Vec<u8> {
        if self.json { message.to_string().into_bytes() } else { binary::encode(name, message) }
    }

    fn decode(self, name: &str, message: &[u8]) -> Value {
        if self.json { serde_json::from_slice(message).expect("JSON") } else { binary::decode(name, message) }
    }
}

pub struct ConnectCall {
    pub conn: Conn,
    form: Form,
    /// The messages' names.
    names: (&'static str, &'static str),
    upload: Option<Upload>,
    download: Download,
    kind: Kind,
    head: Option<Response<()>>,
    held: Vec<u8>,
    /// A unary call's end, behind its message.
    end: Option<End>,
    /// What a stream's end told.
    pub trailers: Value,
}

impl ConnectCall {
    pub async fn open(opening: &Opening, form: Form, id: &str, gateway: &Gateway) -> Self {
        let mut conn = gateway.connect(opening.via).await;
        let kind = opening.kind;
        let mut headers = vec![("x-request-id", id.to_owned())];
        if !form.by_get {
            headers.push(("content-type", form.media_type(kind).to_owned()));
            headers.push(("connect-protocol-version", "1".to_owned()));
        }
        if !opening.behave.is_empty() {
            headers.push(("x-behave", opening.behave.clone()));
        }
        if !opening.authorization.is_empty() {
            headers.push(("authorization", opening.authorization.clone()));
        }
        if let Some(timeout) = opening.timeout_ms {
            headers.push(("connect-timeout-ms", timeout.to_string()));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = format!("/tidegate.test.v1.Echo/{}", kind.method());
        let names = kind.messages();
        let message = || form.encode(names.0, &opening.request);
        let (upload, download) = if kind.requests_stream() {
            let (upload, download) = conn.stream("POST", &path, &headers).await;
            (Some(upload), download)
        } else if form.by_get {
            let message = base64_simd::URL_SAFE_NO_PAD.encode_to_string(message());
            let target = format!("{path}?message={message}&base64=1&encoding=proto&connect=v1");
            (None, conn.begin("GET", &target, &headers, None).await)
        } else {
            let body = if kind == Kind::Unary { Bytes::from(message()) } else { framed(&message()) };
            (None, conn.begin("POST", &path, &headers, Some(body)).await)
        };
        let (head, held, end, trailers) = Default::default();
        Self { conn, form, names, upload, download, kind, head, held, end, trailers }
    }

    pub async fn send(&mut self, message: &Value) -> bool {
        let envelope = framed(&self.form.encode(self.names.0, message));
        self.upload.as_mut().expect("a request stream").send(envelope).await
    }

    pub fn half_close(&mut self) {
        self.upload.as_mut().expect("a request stream").finish();
    }

    pub async fn next(&mut self) -> Step {
        if let Some(end) = self.end.take() {
            return Step::End(end);
        }
        if self.head.is_none() {
            match self.download.head().await {
                Ok(head) => self.head = Some(head),
                Err(broken) => return Step::End(End::cut(broken)),
            }
        }
        let step = if self.kind == Kind::Unary { self.whole().await } else { self.envelope().await };
        step.unwrap_or_else(|broken| Step::End(End::cut(broken)))
    }

    fn head(&self) -> (u16, &HeaderMap) {
        let head = self.head.as_ref().expect("the head was taken");
        (head.status().as_u16(), head.headers())
    }

    /// A unary call's answer.
    async fn whole(&mut self) -> Result<Step, Broken> {
        while let Some(piece) = self.download.piece().await {
            self.held.extend_from_slice(&piece?);
        }
        let (status, headers) = self.head();
        if status != 200 {
            assert_eq!(headers["content-type"], "application/json", "{headers:?}");
            let error: Value = serde_json::from_slice(&self.held).expect("an Error");
            return Ok(Step::End(end_of(How::Http(status), Some(&error))));
        }
        assert_eq!(headers["content-type"], self.form.media_type(self.kind), "{headers:?}");
        self.end = Some(end_of(How::Http(status), None));
        Ok(Step::Message(self.form.decode(self.names.1, &self.held)))
    }

    /// A stream's next envelope.
    async fn envelope(&mut self) -> Result<Step, Broken> {
        let (status, headers) = self.head();
        if status != 200 {
            assert!(self.download.piece().await.is_none(), "a stream's refusal has no body");
            return Ok(Step::End(End { how: How::Http(status), code: None, ..end_of(How::EndStream, None) }));
        }
        assert_eq!(headers["content-type"], self.form.media_type(self.kind), "{headers:?}");
        loop {
            if let Some((flags, payload)) = self.take() {
                return Ok(match flags {
                    0 => Step::Message(self.form.decode(self.names.1, &payload)),
                    2 => Step::End(self.end_stream(&payload).await),
                    flags => panic!("an envelope's flags are {flags}"),
                });
            }
            match self.download.piece().await {
                Some(piece) => self.held.extend_from_slice(&piece?),
                None => panic!("the stream ends without EndStream: {:?}", self.held),
            }
        }
    }

    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let (prefix, rest) = self.held.split_at_checked(5)?;
        let len = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
        let (flags, payload) = (prefix[0], rest.get(..len)?.to_vec());
        self.held.drain(..5 + len);
        Some((flags, payload))
    }

    async fn end_stream(&mut self, payload: &[u8]) -> End {
        assert!(self.held.is_empty(), "EndStream comes last");
        if let Some(more) = self.download.piece().await {
            panic!("after EndStream: {more:?}");
        }
        let mut end: Value = serde_json::from_slice(payload).expect("an EndStreamResponse");
        self.trailers = end["metadata"].take();
        end_of(How::EndStream, end.get("error"))
    }
}

fn end_of(how: How, error: Option<&Value>) -> End {
    let Some(error) = error else { return End { how, code: Some(0), message: String::new(), details: Vec::new() } };
    let name = error["code"].as_str().unwrap_or_else(|| panic!("no code: {error}"));
    let code = tidegate::status::Code::ALL.into_iter().find(|code| code.connect_name() == name);
    let details = error["details"].as_array().into_iter().flatten().map(|detail| {
        let value = detail["value"].as_str().expect("a value");
        base64_simd::STANDARD_NO_PAD.decode_to_vec(value).expect("unpadded base64");
        detail["type"].as_str().expect("a type").to_owned()
    });
    End {
        how,
        code: Some(code.unwrap_or_else(|| panic!("no code is named {name}")).number().into()),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
        details: details.collect(),
    }
}
