//! What a test asks a backend to do, in the call's metadata `x-behave`.

use http::HeaderMap;
use tonic::Status;

/// Steps of the form `what@N` or `what@N=value`, apart by commas; `N` counts messages sent before (of the request
/// stream where the reply is one message).
///
/// - `hang@N`: nothing more, ever
/// - `fail@N=CODE`: the status, with details and trailers
/// - `answer@N`: the reply, though more may come (of `UploadStream`)
/// - `big@N=BYTES`: that message carries so many bytes of data
/// - `await-half-close`: replies only once the request stream has ended, and says `bye` at the end
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<(String, u32, u32)>,
    pub await_half_close: bool,
}

impl Script {
    pub fn read(headers: &HeaderMap) -> Self {
        let text = headers.get("x-behave").map_or("", |value| value.to_str().expect("ASCII"));
        let mut script = Self::default();
        for step in text.split(',').filter(|step| !step.is_empty()) {
            if step == "await-half-close" {
                script.await_half_close = true;
                continue;
            }
            let (what, rest) = step.split_once('@').unwrap_or_else(|| panic!("no step: {step:?}"));
            let (at, value) = rest.split_once('=').unwrap_or((rest, "0"));
            script.steps.push((what.to_owned(), at.parse().expect("a count"), value.parse().expect("a number")));
        }
        script
    }

    fn at(&self, what: &str, count: u32) -> Option<u32> {
        self.steps.iter().find(|(name, at, _)| name == what && *at == count).map(|(_, _, value)| *value)
    }

    /// Waits for ever or fails, where that is asked for at this point.
    pub async fn reach(&self, count: u32) -> Result<(), Status> {
        if let Some(code) = self.at("fail", count) {
            return Err(failure(code, "asked to fail", true));
        }
        if self.at("hang", count).is_some() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Whether the reply is due now.
    pub fn answers(&self, count: u32) -> bool {
        self.at("answer", count).is_some()
    }

    /// How many bytes of data the message carries.
    pub fn big(&self, count: u32) -> Option<usize> {
        self.at("big", count).map(|bytes| bytes as usize)
    }
}

/// A status with `x-fail: yes`, and with an `ErrorInfo` where details are wanted.
pub fn failure(code: u32, message: &str, details: bool) -> Status {
    let tonic_code = tonic::Code::from_i32(i32::try_from(code).unwrap_or_default());
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("x-fail", "yes".parse().expect("ASCII"));
    if !details {
        return Status::with_metadata(tonic_code, message, metadata);
    }
    Status::with_details_and_metadata(tonic_code, message, details_of(code, message).into(), metadata)
}

/// A `google.rpc.Status` with `ErrorInfo { reason: "ASKED", domain: "tidegate.test", metadata: { k: v } }`.
pub fn details_of(code: u32, message: &str) -> Vec<u8> {
    use prost::Message;

    use crate::harness::grpc_call::RpcStatus;
    // error_details.proto, ErrorInfo: reason = 1, domain = 2, metadata = 3 (an entry: key = 1, value = 2).
    let info = b"\x0a\x05ASKED\x12\x0dtidegate.test\x1a\x06\x0a\x01k\x12\x01v".to_vec();
    let any = prost_types::Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: info };
    let code = i32::try_from(code).unwrap_or_default();
    RpcStatus { code, message: message.to_owned(), details: vec![any] }.encode_to_vec()
}
