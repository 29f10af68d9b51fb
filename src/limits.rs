//! Sizes, counts and durations that bound everything the gateway does, each with its unit and its reason.
//!
//! Knows nothing of who enforces them.

use std::time::Duration;

/// The limits of one running gateway; every field has a default and can be set under `limits:` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request message, in bytes of its encoded body, and the largest request body of a unary call.
    pub request_message_bytes_max: usize,
    /// Largest reply message from an upstream, in bytes. The same default as the gRPC libraries'.
    pub reply_message_bytes_max: usize,
    /// Most calls open at a time on one `tidegate.mux` socket or session; beyond it an open is RESOURCE_EXHAUSTED.
    pub mux_calls_max: usize,
    /// Most bytes of requests that wait for their upstreams on one such socket, where a call that sends more is ended.
    pub mux_waiting_bytes_max: usize,
    /// Most `tidegate.mux` sessions over plain HTTP in the process, each with what one POST brought; beyond it another one is
    /// refused with UNAVAILABLE.
    pub mux_sessions_max: usize,
    /// Most memory for tickets that are not too old yet, in bytes, used or not.
    pub ticket_bytes_max: usize,
    /// Largest sum of a request's header names and values, in bytes (431 beyond it).
    pub header_bytes_max: usize,
    /// Largest number of calls in flight on one worker; beyond it a call is refused with UNAVAILABLE.
    pub calls_per_worker_max: usize,
    /// Largest number of connections in use on one worker; beyond it a new connection is closed.
    pub connections_per_worker_max: usize,
    /// Longest time from accepting a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time for the head of an HTTP/1.1 request to arrive.
    pub header_timeout: Duration,
    /// Longest silence of a unary request's body before the call is refused.
    pub body_timeout: Duration,
    /// The longest that a unary call may last for which the route says nothing, whatever the client asks for.
    pub unary_timeout: Duration,
    /// How long the HTTP status of a stream waits for the first sign of the upstream (PROTOCOLS §4).
    pub stream_head_grace: Duration,
    /// Silence after which an SSE stream carries a comment line (PROTOCOLS §5), and a `tidegate.mux` session a ping (§10).
    pub sse_heartbeat: Duration,
    /// The reconnect delay that an SSE stream tells its client, before jitter (PROTOCOLS §5).
    pub sse_retry: Duration,
    /// Time between WebSocket pings (PROTOCOLS §6).
    pub ws_ping: Duration,
    /// Longest wait for the pong of a ping, or for the peer's half of the close handshake.
    pub ws_pong_timeout: Duration,
    /// Most shared streams in the process; beyond it a call that would open one is refused with UNAVAILABLE.
    pub share_topics_max: usize,
    /// Most messages that a reader of a stream may lag behind where the upstream does not wait for it.
    pub stream_buffer_messages_max: usize,
    /// Most bytes that are kept for that, and to replay a shared stream; the newest message stays however large it is.
    pub stream_buffer_bytes_max: usize,
    /// Most bytes that are kept so for all calls of one client connection; those with the most give way.
    pub stream_buffer_connection_bytes_max: usize,
    /// The same of all calls and shared streams in the process.
    pub stream_buffer_total_bytes_max: usize,
    /// Longest time that a client may take nothing of what waits to be written to it.
    pub write_stall_timeout: Duration,
    /// How long a graceful stop tells balancers to send nobody new before it begins.
    pub drain_delay: Duration,
    /// Longest time over which connections are told to leave, a few at a time, when the process stops or sheds some.
    pub drain_window: Duration,
    /// How long a graceful stop waits for calls in flight.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_message_bytes_max: 4 << 20,
            reply_message_bytes_max: 4 << 20,
            mux_calls_max: 100,
            mux_waiting_bytes_max: 16 << 20,
            mux_sessions_max: 10_000,
            ticket_bytes_max: 16 << 20,
            header_bytes_max: 32 << 10,
            calls_per_worker_max: 100_000,
            connections_per_worker_max: 100_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            unary_timeout: Duration::from_secs(60),
            stream_head_grace: Duration::from_millis(100),
            sse_heartbeat: Duration::from_secs(15),
            sse_retry: Duration::from_secs(2),
            ws_ping: Duration::from_secs(30),
            ws_pong_timeout: Duration::from_secs(10),
            share_topics_max: 10_000,
            stream_buffer_messages_max: 256,
            stream_buffer_bytes_max: 8 << 20,
            stream_buffer_connection_bytes_max: 32 << 20,
            stream_buffer_total_bytes_max: 256 << 20,
            write_stall_timeout: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_window: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Frames that are ready together are joined up to this many bytes: one TLS record, one HTTP/2 DATA frame.
pub const COALESCE_BYTES: usize = 16 << 10;

/// Most JSON that one reply message may become, in bytes: with defaults written out, a small message can be made long.
pub const REPLY_JSON_BYTES_MAX: usize = 64 << 20;

/// Deepest nesting of messages and JSON values, as protobuf's own parsers have it.
pub const DEPTH_MAX: usize = 100;
