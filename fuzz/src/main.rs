//! One program with every fuzz target; `FUZZ_TARGET` says which of them runs.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::{ffi::c_uint, slice, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={wanted:?} is no target")).1
});

fuzz_target!(|data: &[u8]| RUN(data));

/// In place of the C library's: hash maps take their keys from it, and are to lie the same in every run, so that a run
/// with the same `-seed` takes the same way.
///
/// # Safety
/// There are `len` bytes to write to at `bytes`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(bytes: *mut u8, len: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller's word, as it is the C library's.
    unsafe { slice::from_raw_parts_mut(bytes, len) }.fill(7);
    len.cast_signed()
}
