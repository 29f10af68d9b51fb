//! The commands of the binary: serve, demo, check.
