//! A call in gRPC's envelopes by a plain HTTP client: protobuf or JSON in them, trailers behind the body or in it, as bytes
//! or in base64.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use serde_json::Value;

use super::{
    Conn, Gateway, Opening, Step, binary,
    call::{Dialect, End, How, type_name},
    grpc_call::RpcStatus,
    http::{Download, Upload},
};
use crate::backend::framed;

/// How a dialect's envelopes are sent and read.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub media_type: &'static str,
    json: bool,
    text: bool,
    /// The trailers are an envelope of the body.
    trailers_within: bool,
}

impl Form {
    /// None: not a dialect of envelopes, or one that tonic speaks.
    pub fn of(dialect: Dialect) -> Option<Self> {
        let (media_type, json, text, trailers_within) = match dialect {
            Dialect::GrpcJson => ("application/grpc+json", true, false, false),
            Dialect::GrpcWeb => ("application/grpc-web+proto", false, false, true),
            Dialect::GrpcWebText => ("application/grpc-web-text", false, true, true),
            Dialect::GrpcWebJson => ("application/grpc-web+json", true, false, true),
            _ => return None,
        };
        Some(Self { media_type, json, text, trailers_within })
    }

    /// One message in its envelope, as it is sent.
    pub fn envelope(self, name: &str, message: &Value) -> Bytes {
        let message = if self.json { message.to_string().into_bytes() } else { binary::encode(name, message) };
        self.encode(framed(&message))
    }

    /// A chunk of the stream.
    pub fn encode(self, bytes: Bytes) -> Bytes {
        if self.text { base64_simd::STANDARD.encode_to_string(&bytes).into() } else { bytes }
    }
}

pub struct EnvelopedCall {
    pub conn: Conn,
    form: Form,
    /// The messages' names.
    names: (&'static str, &'static str),
    upload: Option<Upload>,
    reader: Reader,
}

impl EnvelopedCall {
    pub async fn open(opening: &Opening, form: Form, id: &str, gateway: &Gateway) -> Self {
        let mut conn = gateway.connect(opening.via).await;
        let mut headers = vec![("content-type", form.media_type.to_owned()), ("x-request-id", id.to_owned())];
        if form.trailers_within {
            headers.push(("x-grpc-web", "1".to_owned()));
        } else {
            headers.push(("te", "trailers".to_owned()));
        }
        if !opening.behave.is_empty() {
            headers.push(("x-behave", opening.behave.clone()));
        }
        if !opening.authorization.is_empty() {
            headers.push(("authorization", opening.authorization.clone()));
        }
        if let Some(timeout) = opening.timeout_ms {
            headers.push(("grpc-timeout", format!("{timeout}m")));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = format!("/tidegate.test.v1.Echo/{}", opening.kind.method());
        let names = opening.kind.messages();
        let (upload, download) = if opening.kind.requests_stream() {
            let (upload, download) = conn.stream("POST", &path, &headers).await;
            (Some(upload), download)
        } else {
            let body = form.envelope(names.0, &opening.request);
            (None, conn.begin("POST", &path, &headers, Some(body)).await)
        };
        Self { conn, form, names, upload, reader: Reader::new(download, form, names.1) }
    }

    pub async fn send(&mut self, message: &Value) -> bool {
        let envelope = self.form.envelope(self.names.0, message);
        self.upload.as_mut().expect("a request stream").send(envelope).await
    }

    pub fn half_close(&mut self) {
        self.upload.as_mut().expect("a request stream").finish();
    }

    pub async fn next(&mut self) -> Step {
        self.reader.next().await
    }
}

/// Reads messages and the end of a reply.
pub struct Reader {
    download: Download,
    form: Form,
    name: &'static str,
    /// Known after the first step.
    pub head: HeaderMap,
    headed: bool,
    /// Not decoded yet.
    text: Vec<u8>,
    held: Vec<u8>,
    /// The trailers, wherever they stood.
    pub trailers: HeaderMap,
}

impl Reader {
    pub fn new(download: Download, form: Form, name: &'static str) -> Self {
        let (head, trailers) = Default::default();
        Self { download, form, name, head, headed: false, text: Vec::new(), held: Vec::new(), trailers }
    }

    pub async fn next(&mut self) -> Step {
        if !self.headed {
            self.headed = true;
            let head = match self.download.head().await {
                Ok(head) => head,
                Err(broken) => return Step::End(End::cut(broken)),
            };
            self.head = head.headers().clone();
            assert_eq!(self.head["content-type"], self.form.media_type, "{head:?}");
            if head.status() != 200 {
                let how = How::Http(head.status().as_u16());
                return Step::End(End { how, ..end_of(&self.head) });
            }
            if self.head.contains_key("grpc-status") {
                self.trailers = self.head.clone();
                assert!(self.download.piece().await.is_none(), "trailers-only has no body");
                return Step::End(end_of(&self.head));
            }
        }
        loop {
            if let Some(step) = self.take().await {
                return step;
            }
            match self.download.piece().await {
                Some(Ok(piece)) => self.push(&piece),
                Some(Err(broken)) => return Step::End(End::cut(broken)),
                None => {
                    assert!(self.held.is_empty() && self.text.is_empty(), "half an envelope: {:?}", self.held);
                    assert!(!self.form.trailers_within, "no trailers in the body");
                    self.trailers = self.download.trailers().await;
                    return Step::End(end_of(&self.trailers));
                }
            }
        }
    }

    fn push(&mut self, piece: &[u8]) {
        if !self.form.text {
            self.held.extend_from_slice(piece);
            return;
        }
        self.text.extend_from_slice(piece);
        let whole = self.text.len() - self.text.len() % 4;
        for quantum in self.text.drain(..whole).collect::<Vec<_>>().chunks(4) {
            self.held.extend(base64_simd::STANDARD.decode_to_vec(quantum).expect("base64"));
        }
    }

    /// The next envelope, where it has arrived.
    async fn take(&mut self) -> Option<Step> {
        let (prefix, rest) = self.held.split_at_checked(5)?;
        let len = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
        let (flags, payload) = (prefix[0], rest.get(..len)?.to_vec());
        self.held.drain(..5 + len);
        if flags == 0x80 && self.form.trailers_within {
            assert!(self.held.is_empty(), "trailers come last");
            if let Some(more) = self.download.piece().await {
                panic!("after the trailers: {more:?}");
            }
            self.trailers = lines(&payload);
            return Some(Step::End(end_of(&self.trailers)));
        }
        assert_eq!(flags, 0, "an envelope's flags");
        Some(Step::Message(match self.form.json {
            true => serde_json::from_slice(&payload).expect("JSON"),
            false => binary::decode(self.name, &payload),
        }))
    }
}

/// Trailers as gRPC-Web writes them.
fn lines(block: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(block).expect("text");
    assert!(text.ends_with("\r\n"), "{text:?}");
    let lines = text.trim_end_matches("\r\n").split("\r\n").map(|line| line.split_once(':').expect("name: value"));
    let mut trailers = HeaderMap::new();
    for (name, value) in lines {
        assert_eq!(name, name.to_lowercase(), "names are in lower case");
        let value = HeaderValue::from_str(value.trim()).expect("a header's value");
        trailers.append(name.parse::<HeaderName>().expect("a header's name"), value);
    }
    trailers
}

fn end_of(trailers: &HeaderMap) -> End {
    let text = |name: &str| trailers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    let code = text("grpc-status").unwrap_or_else(|| panic!("no grpc-status: {trailers:?}"));
    let message = text("grpc-message").unwrap_or_default();
    let details = text("grpc-status-details-bin").map(|value| {
        let bytes = base64_simd::STANDARD_NO_PAD.decode_to_vec(value.trim_end_matches('=')).expect("base64");
        RpcStatus::decode(bytes.as_slice()).expect("a google.rpc.Status").details
    });
    End {
        how: How::Trailers,
        code: Some(code.parse().expect("a number")),
        message: percent_encoding::percent_decode_str(&message).decode_utf8().expect("UTF-8").into_owned(),
        details: details.unwrap_or_default().iter().map(|any| type_name(&any.type_url)).collect(),
    }
}
