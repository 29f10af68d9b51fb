//! The admin server: liveness, readiness, metrics.
