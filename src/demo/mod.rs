//! The embedded demo backend and its page; knows nothing of the gateway's inside.
