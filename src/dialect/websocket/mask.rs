//! Masking of payloads (RFC 6455 §5.3). Knows nothing of frames.

/// Masks or unmasks, which is the same, a piece of a payload that begins `offset` bytes into it.
pub(super) fn apply(key: [u8; 4], offset: usize, piece: &mut [u8]) {
    let mut turned = key;
    turned.rotate_left(offset % 4);
    let [a, b, c, d] = turned;
    let wide = [a, b, c, d, a, b, c, d];
    let (words, tail) = piece.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(wide)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(wide) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_byte_is_masked_by_its_own_place(
            key in any::<[u8; 4]>(),
            payload in prop::collection::vec(any::<u8>(), 0..70),
            cut in 0usize..70,
        ) {
            // The definition in RFC 6455 §5.3: octet i is masked by octet i MOD 4 of the key.
            let expected: Vec<u8> = payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut masked = payload;
            let cut = cut.min(masked.len());
            let (first, second) = masked.split_at_mut(cut);
            apply(key, 0, first);
            apply(key, cut, second);
            prop_assert_eq!(masked, expected);
        }
    }
}
