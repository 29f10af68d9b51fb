//! A client's frames, for tests.

use super::super::{frame::Header, frame::Opcode, mask};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame.
pub(in super::super) fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    reserved_frame(fin, 0, opcode, payload)
}

/// The same with reserved bits.
pub(in super::super) fn reserved_frame(fin: bool, reserved: u8, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin, reserved, opcode, mask: Some(KEY), len: payload.len() as u64 };
    let mut out = header.to_bytes().to_vec();
    let at = out.len();
    out.extend_from_slice(payload);
    mask::apply(KEY, 0, &mut out[at..]);
    out
}
