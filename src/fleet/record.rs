//! What is kept of a stream beside its messages: its initial metadata, and how it ended, as bytes. Knows nothing of Redis.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use crate::status::{Code, Origin, Status};

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct End {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(uint32, tag = "3")]
    origin: u32,
    #[prost(message, optional, tag = "4")]
    lead: Option<Metadata>,
    #[prost(message, optional, tag = "5")]
    trailers: Option<Metadata>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    details: Option<bytes::Bytes>,
    /// In milliseconds.
    #[prost(uint64, optional, tag = "7")]
    retry_after: Option<u64>,
}

/// Never empty.
pub fn encode_head(metadata: &HeaderMap) -> Vec<u8> {
    Head { metadata: Some(pairs(metadata)) }.encode_to_vec()
}

/// None for what was not encoded here.
pub fn decode_head(bytes: &[u8]) -> Option<HeaderMap> {
    headers(Head::decode(bytes).ok()?.metadata)
}

/// Never empty.
pub fn encode_end(end: &Result<HeaderMap, Status>) -> Vec<u8> {
    let end = match end {
        Ok(trailers) => End { trailers: Some(pairs(trailers)), ..End::default() },
        Err(status) => End {
            code: status.code().number().into(),
            message: status.message().to_owned(),
            origin: match status.origin() {
                Origin::Client => 0,
                Origin::Gateway => 1,
                Origin::Upstream => 2,
            },
            lead: Some(pairs(status.lead())),
            trailers: Some(pairs(status.trailers())),
            details: status.details_bin(),
            retry_after: status.retry_after().and_then(|delay| delay.as_millis().try_into().ok()),
        },
    };
    end.encode_to_vec()
}

/// None for what was not encoded here.
pub fn decode_end(bytes: &[u8]) -> Option<Result<HeaderMap, Status>> {
    let End { code, message, origin, lead, trailers, details, retry_after } = End::decode(bytes).ok()?;
    let trailers = headers(trailers)?;
    let code = Code::from_number(code);
    let make = match origin {
        _ if code == Code::Ok => return Some(Ok(trailers)),
        0 => Status::client,
        1 => Status::gateway,
        _ => Status::upstream,
    };
    let status = make(code, message).with_lead(headers(lead)?).with_trailers(trailers, details);
    Some(Err(match retry_after {
        Some(delay) => status.with_retry_after(Duration::from_millis(delay)),
        None => status,
    }))
}

fn pairs(metadata: &HeaderMap) -> Metadata {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| Entry {
        name: name.as_str().to_owned(),
        value: bytes::Bytes::copy_from_slice(value.as_bytes()),
    };
    Metadata { entries: metadata.iter().map(entry).collect() }
}

fn headers(metadata: Option<Metadata>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for Entry { name, value } in metadata.unwrap_or_default().entries {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Reason, decode_details};

    fn metadata(entries: &[(&'static str, &str)]) -> HeaderMap {
        let entry = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for head in [metadata(&[]), metadata(&[("x-a", "1"), ("x-a", "2"), ("x-b-bin", "AAE")])] {
            let bytes = encode_head(&head);
            assert!(!bytes.is_empty());
            assert_eq!(decode_head(&bytes), Some(head));
        }
    }

    #[test]
    fn an_end_says_the_same_to_all() {
        let trailers = metadata(&[("x-cost", "7")]);
        let bytes = encode_end(&Ok(trailers.clone()));
        assert_eq!(decode_end(&bytes).unwrap().unwrap(), trailers);
        assert!(!encode_end(&Ok(HeaderMap::new())).is_empty());

        let details = crate::status::encode_status(Code::NotFound, "gone", Vec::new());
        let told = Status::upstream(Code::NotFound, "gone").with_trailers(trailers.clone(), Some(details.clone()));
        let own = Status::gateway(Code::Unavailable, "later")
            .with_reason(Reason::UpstreamUnavailable)
            .with_retry_after(Duration::from_secs(1));
        for status in [told, own] {
            let Err(read) = decode_end(&encode_end(&Err(status.again()))).unwrap() else { panic!("it failed") };
            assert_eq!(
                (read.code(), read.message(), read.origin(), read.trailers()),
                (status.code(), status.message(), status.origin(), status.trailers())
            );
            assert_eq!(read.retry_after(), status.retry_after());
            let details = |status: &Status| decode_details(&status.details_bin().unwrap()).unwrap();
            assert_eq!(details(&read), details(&status));
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_not_believed() {
        let pair = |name: &str, value: &'static [u8]| Entry { name: name.to_owned(), value: value.into() };
        for entry in [pair("x a", b"1"), pair("", b"1"), pair("x-a", b"1\n2")] {
            let metadata = Some(Metadata { entries: vec![entry] });
            assert_eq!(decode_head(&Head { metadata: metadata.clone() }.encode_to_vec()), None);
            assert!(decode_end(&End { trailers: metadata, ..End::default() }.encode_to_vec()).is_none());
        }
        assert_eq!(decode_head(b"\xff"), None);
        assert!(decode_end(b"\xff").is_none());
        let many = Metadata { entries: (0..40_000).map(|n| pair(&format!("x-{n}"), b"")).collect() };
        assert_eq!(
            decode_head(&Head { metadata: Some(many) }.encode_to_vec()),
            None,
            "more than a map of headers holds"
        );
    }
}
