//! The gateway as its clients and backends see it: the real binary between real sockets.
//!
//! One binary, so that it links once; `harness` starts gateways and speaks every dialect, `backend` answers and records.

#![allow(unreachable_pub, reason = "nothing uses a test binary, and `pub` says what a module offers")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails there")]
#![expect(clippy::print_stdout, reason = "what a failed test was at; shown only then")]

mod autobahn;
mod backend;
mod bad_input;
mod bad_schemas;
mod browser;
mod caching;
mod cases;
mod client;
mod clients;
mod commands;
mod compressed_messages;
mod compression;
mod compression_matrix;
mod config_errors;
mod connect;
mod credentials;
mod dialects;
mod drain;
mod encodings;
mod fleet;
mod forms;
mod grpc;
mod grpc_web;
mod harness;
mod health;
mod proto;

mod harness_checks;
mod large_files;
mod lifecycle;
mod matrix;
mod metadata;
mod metadata_table;
mod mirrors;
mod mux;
mod mux_sessions;
mod openapi;
mod python_backend;
mod real_schemas;
mod reflection;
mod routing;
mod schemas;
mod service_config;
mod share;
mod slow;
mod slow_reader;
mod sse;
mod socket_compression;
mod strictness;
mod unknown_fields;
mod uploads;
mod upstreams;
