//! Sockets → connections: TCP and TLS. Knows nothing of HTTP.
