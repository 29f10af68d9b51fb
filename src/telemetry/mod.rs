//! Metrics, logs and access records. Knows nothing of who calls.
