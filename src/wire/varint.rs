//! Base-128 varints (protobuf encoding, "Base 128 Varints").

/// Appends `value`.
pub fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one varint off the front of `bytes`; none where it is cut short or longer than ten bytes.
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(value in any::<u64>(), tail in any::<u8>()) {
            let mut out = Vec::new();
            write(value, &mut out);
            out.push(tail);
            let mut rest = out.as_slice();
            prop_assert_eq!(read(&mut rest), Some(value));
            prop_assert_eq!(rest, &[tail]);
        }
    }

    #[test]
    fn a_cut_or_endless_varint_is_none() {
        assert_eq!(read(&mut [0x80u8].as_slice()), None);
        assert_eq!(read(&mut [0xffu8; 11].as_slice()), None);
    }
}
