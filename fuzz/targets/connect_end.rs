//! The envelope that ends a Connect stream: `CODE MESSAGE LF DETAILS LF NAME:VALUE LF …`, where code 0 is no failure. It is
//! JSON whatever upstreams say, and tells the code, the text, the details and every trailer that is not the protocol's own.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tidegate::{
    dialect::connect::end_stream,
    status::{Code, Status, decode_details},
};

use super::CODEC;

const PREFIX_BYTES: usize = 5;

pub(crate) fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some((code, message)) = lines.next().and_then(<[u8]>::split_first) else { return };
    let message = String::from_utf8_lossy(message).into_owned();
    let details = lines.next().unwrap_or_default();
    let trailers = trailers(lines);
    let code = Code::from_number(u32::from(*code));
    let status = Status::upstream(code, message.clone()).with_trailers(HeaderMap::new(), Some(details.to_vec().into()));
    let failed = code != Code::Ok;
    let envelope = end_stream(if failed { Err(&status) } else { Ok(()) }, &trailers, &CODEC.0);
    assert_eq!(envelope[0], 2, "the flag of an end");
    let len = u32::from_be_bytes([envelope[1], envelope[2], envelope[3], envelope[4]]);
    assert_eq!(len as usize, envelope.len() - PREFIX_BYTES);
    let end: Value = serde_json::from_slice(&envelope[PREFIX_BYTES..]).expect("the end is JSON");
    match end.get("error") {
        Some(error) => check_error(error, code, &message, details),
        None => assert!(!failed, "{end}"),
    }
    check_metadata(end.get("metadata"), &trailers);
}

/// What is no header is left out.
fn trailers<'d>(lines: impl Iterator<Item = &'d [u8]>) -> HeaderMap {
    let pairs = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
    });
    let mut trailers = HeaderMap::new();
    for (name, value) in pairs.take(64) {
        trailers.append(name, value);
    }
    trailers
}

fn check_error(error: &Value, code: Code, message: &str, details: &[u8]) {
    assert_eq!(error["code"], code.connect_name());
    assert_eq!(error["message"].as_str().unwrap_or_default(), message);
    let sent = decode_details(details).unwrap_or_default();
    let told = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    // One more says when to come again, where that is told.
    assert!(told.len() == sent.len() || told.len() == sent.len() + 1, "{error}");
    for (any, told) in sent.iter().zip(told) {
        assert_eq!(told["type"].as_str(), any.type_url.rsplit('/').next());
        let value = told["value"].as_str().expect("a value");
        assert_eq!(base64_simd::STANDARD_NO_PAD.decode_to_vec(value).expect("unpadded base64"), any.value);
    }
}

fn check_metadata(told: Option<&Value>, trailers: &HeaderMap) {
    let empty = serde_json::Map::new();
    let told = told.map_or(&empty, |told| told.as_object().expect("an object"));
    for (name, values) in told {
        assert!(!name.starts_with("connect-") && !name.starts_with("grpc-"), "{name}");
        let values: Vec<_> =
            values.as_array().expect("a list").iter().map(|value| value.as_str().expect("text")).collect();
        let sent: Vec<_> =
            trailers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        assert_eq!(values, sent);
    }
    // The request's id is the gateway's to tell.
    let own = trailers.keys().filter(|name| name.as_str().starts_with("x-") && *name != "x-request-id");
    own.for_each(|name| assert!(told.contains_key(name.as_str()), "{name} is not told"));
}
