//! A server's frames, appended to the buffer that is flushed next: unmasked, and never fragmented.

use super::{
    close::Close,
    frame::{CONTROL_BYTES_MAX, Header, Opcode},
    reassembly::{Kind, RSV1},
};

/// The header of a payload of 126 to 65,535 bytes; [`open_frame`] leaves this much room.
const ROOM_BYTES: usize = 4;

/// Appends a whole message in one frame.
pub fn write_message(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    write_frame(kind.opcode(), 0, payload, out);
}

/// Appends a whole message that is compressed already (RFC 7692 §6).
pub(super) fn write_compressed(kind: Kind, coded: &[u8], out: &mut Vec<u8>) {
    write_frame(kind.opcode(), RSV1, coded, out);
}

/// Leaves room for a header at the end of `out`, to be filled by `finish_frame` when the message is written.
pub fn open_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; ROOM_BYTES]);
    start
}

/// The message that was written since [`open_frame`] told `start`.
pub(super) fn body_of(out: &[u8], start: usize) -> &[u8] {
    out.get(start + ROOM_BYTES..).unwrap_or_default()
}

/// Writes the header of the message that follows `start` up to the end of `out`. A message of another size than the
/// room was left for is moved by a few bytes: a short one, which costs nothing, or one over 64 KiB.
pub(super) fn finish_frame(kind: Kind, out: &mut Vec<u8>, start: usize) {
    let body = start + ROOM_BYTES;
    debug_assert!(body <= out.len());
    let len = out.len().saturating_sub(body) as u64;
    out.splice(start..body, header(kind.opcode(), 0, len).to_bytes());
}

/// Appends a ping. The payload is cut to what a control frame holds.
pub fn write_ping(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(Opcode::Ping, 0, control(payload), out);
}

/// Appends the pong of a ping, whose payload it bears (RFC 6455 §5.5.3).
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(Opcode::Pong, 0, control(payload), out);
}

/// Appends a close frame, with an empty payload where there is nothing to say. Nothing may follow it.
pub fn write_close(close: Option<&Close>, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    if let Some(close) = close {
        payload.extend_from_slice(&close.code().to_be_bytes());
        payload.extend_from_slice(close.reason().as_bytes());
    }
    write_frame(Opcode::Close, 0, control(&payload), out);
}

fn write_frame(opcode: Opcode, reserved: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(opcode, reserved, payload.len() as u64).to_bytes());
    out.extend_from_slice(payload);
}

fn header(opcode: Opcode, reserved: u8, len: u64) -> Header {
    Header { fin: true, reserved, opcode, mask: None, len }
}

fn control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_the_rfc_has_them() {
        let mut out = Vec::new();
        write_message(Kind::Text, b"Hello", &mut out);
        write_ping(b"Hello", &mut out);
        write_pong(b"", &mut out);
        write_close(Some(&Close::new(1000, "bye")), &mut out);
        write_close(None, &mut out);
        let expected = b"\x81\x05Hello\x89\x05Hello\x8a\x00\x88\x05\x03\xe8bye\x88\x00";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_frame_written_in_place_is_the_frame_of_the_whole_payload() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0u8..=250).cycle().take(len).collect();
            let mut expected = b"before".to_vec();
            write_message(Kind::Binary, &payload, &mut expected);
            let mut out = b"before".to_vec();
            let start = open_frame(&mut out);
            out.extend_from_slice(&payload);
            finish_frame(Kind::Binary, &mut out, start);
            assert_eq!(out, expected, "{len} bytes");
        }
    }

    #[test]
    fn the_longest_control_payload_fits_its_frame() {
        let mut out = Vec::new();
        write_close(Some(&Close::new(4999, "x".repeat(500))), &mut out);
        assert_eq!(out.len(), 2 + CONTROL_BYTES_MAX);
        out.clear();
        write_ping(&[0; 500], &mut out);
        assert_eq!(out.len(), 2 + CONTROL_BYTES_MAX);
    }
}
