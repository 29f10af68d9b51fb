//! How much the codec does, counted in tests: one step is a field of a message, a byte of JSON, or sixteen bytes that are
//! copied. Knows nothing of time.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts; nothing at all outside of tests.
#[inline]
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests count"))]
pub(super) fn count(steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + steps);
}

/// The steps that `run` takes on this thread.
#[cfg(test)]
pub(super) fn of<T>(run: impl FnOnce() -> T) -> usize {
    let before = STEPS.get();
    run();
    STEPS.get() - before
}

pub(super) const BYTES_PER_STEP: usize = 16;
