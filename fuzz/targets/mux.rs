//! Frames of many calls: a byte that says the form and how they come, then frames apart by line feeds, or the body of a POST to a
//! session. What is read of JSON is what serde_json reads, no order of frames makes the ledger lose count, and a session is known
//! by one text alone.

use bytes::Bytes;
use serde_json::Value;
use tidegate::dialect::{
    BodyKind, RequestDecoder,
    mux::{Form, Frame, Ledger, Opened, SessionId, Taken},
};

const CALLS_MAX: usize = 3;
const WAITING_MAX: usize = 64;
const BODY_MAX: usize = 1000;

pub(crate) fn run(data: &[u8]) {
    let Some((how, frames)) = data.split_first() else { return };
    let form = if how & 1 == 0 { Form::Json } else { Form::Proto };
    let posted = match (how & 2, form) {
        (0, _) => frames.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect(),
        (_, Form::Json) => posted(BodyKind::Lines, frames),
        (_, Form::Proto) => posted(BodyKind::Delimited, frames),
    };
    if let Some(id) = SessionId::parse(frames) {
        assert_eq!(id.secret().as_bytes(), frames);
    }
    let mut ledger = Ledger::new(CALLS_MAX, WAITING_MAX);
    let mut open: Vec<u32> = Vec::new();
    for payload in posted {
        let Ok(frame) = Frame::parse(form, &payload) else { continue };
        if form == Form::Json {
            check_json(&payload, &frame);
        }
        let Frame { id, open: opens, message, half_close, credit, cancel, .. } = frame;
        if opens.is_some() {
            match ledger.open(id) {
                Opened::Call => open.push(id),
                Opened::TooMany => assert_eq!(open.len(), CALLS_MAX),
                Opened::IdUsed => {}
            }
        }
        if let Some(message) = message {
            let before = ledger.waiting();
            let taken = ledger.message(id, message.len());
            assert_eq!(taken == Taken::Unknown, !open.contains(&id));
            let added = if taken == Taken::Yes { message.len() } else { 0 };
            assert_eq!(ledger.waiting(), before + added);
            if taken == Taken::Yes && message.len() % 2 == 0 {
                ledger.passed_on(id);
            }
        }
        if half_close {
            ledger.half_close(id);
        }
        ledger.credit(id, credit);
        if cancel {
            assert_eq!(ledger.end(id), open.contains(&id));
            open.retain(|other| *other != id);
        }
    }
    for id in open {
        assert!(ledger.end(id));
    }
    assert!(ledger.is_empty() && ledger.waiting() == 0);
}

/// The frames before the first fault.
fn posted(kind: BodyKind, body: &[u8]) -> Vec<Bytes> {
    let mut decoder = RequestDecoder::new(kind, BODY_MAX);
    if decoder.push(Bytes::copy_from_slice(body)).is_err() {
        return Vec::new();
    }
    decoder.end();
    std::iter::from_fn(|| decoder.next_piece().ok().flatten()).map(|piece| piece.bytes).collect()
}

fn check_json(payload: &Bytes, frame: &Frame) {
    // A number that no double holds is JSON all the same.
    let Ok(value) = serde_json::from_slice::<Value>(payload) else { return };
    assert_eq!(u64::from(frame.id), value["id"].as_u64().unwrap_or_default());
    assert_eq!(frame.ping, value["ping"].as_u64());
    let message = frame.message.as_ref().map(|message| serde_json::from_slice::<Value>(message).expect("JSON"));
    assert_eq!(message.as_ref(), value.get("message").filter(|message| !message.is_null()));
}
