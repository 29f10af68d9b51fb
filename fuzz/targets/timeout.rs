//! `grpc-timeout`: what is read is written again as no longer a time, and hardly a shorter one.

use tidegate::wire::timeout::{format, parse};

pub(crate) fn run(data: &[u8]) {
    let Some(timeout) = parse(data) else { return };
    let again = parse(format(timeout).as_bytes()).expect("what is written can be read");
    assert!(again <= timeout && timeout - again <= timeout / 100);
}
