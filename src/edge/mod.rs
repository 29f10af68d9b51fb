//! What is decided from heads alone: client address, CORS, origin, headers, request id. Never sees payload bytes.
