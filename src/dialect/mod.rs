//! One file per tongue: bytes ↔ messages, head ↔ HTTP; pure. Knows nothing of upstreams and TLS.
