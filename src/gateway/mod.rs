//! The life of a call. Knows nothing of files and sockets.
