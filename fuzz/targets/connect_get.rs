//! The query of a Connect GET. What is read means the same in any order of its parameters; what is written from it is read
//! as the same again; a refusal names a parameter.

use tidegate::dialect::connect::{Get, MessageCodec};

/// Of an inflated message: a few bytes may stand for very many.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

pub(crate) fn run(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    let get = match Get::parse(query) {
        Ok(get) => get,
        Err(error) => {
            let status = error.into_status();
            assert!(status.message().starts_with("query parameter "), "{status}");
            return;
        }
    };
    let mut turned = pairs.clone();
    for _ in &pairs {
        turned.rotate_left(1);
        assert_same(&get, &turned);
        assert_same(&get, &turned.iter().rev().copied().collect::<Vec<_>>());
    }
    let written = written(&get);
    assert_eq!(Get::parse(&written).as_ref(), Ok(&get), "{written}");
    if let Ok(message) = get.inflate(MESSAGE_BYTES_MAX) {
        assert!(message.len() <= MESSAGE_BYTES_MAX || get.compression.is_none());
    }
}

fn assert_same(get: &Get, pairs: &[&str]) {
    let other = Get::parse(&pairs.join("&")).expect("the order means nothing");
    assert_eq!((other.codec, &other.message, other.compression), (get.codec, &get.message, get.compression));
    assert_eq!(sorted(&other.rest), sorted(&get.rest));
}

fn sorted(rest: &str) -> Vec<&str> {
    let mut pairs: Vec<_> = rest.split('&').collect();
    pairs.sort_unstable();
    pairs
}

fn written(get: &Get) -> String {
    let encoding = match get.codec {
        MessageCodec::Json => "json",
        MessageCodec::Proto => "proto",
    };
    let message = base64_simd::URL_SAFE_NO_PAD.encode_to_string(&get.message);
    let mut query = format!("base64=1&connect=v1&encoding={encoding}&message={message}");
    if let Some(coding) = get.compression {
        query += &format!("&compression={}", coding.name());
    }
    query + if get.rest.is_empty() { "" } else { "&" } + &get.rest
}
