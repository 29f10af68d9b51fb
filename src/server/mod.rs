//! Connections → requests: HTTP/1.1, HTTP/2, upgrades, drain. Knows nothing of routes and dialects.
