//! Tidegate: a gateway that turns what browsers and services speak into gRPC calls, and multiplexes the answers back.
//!
//! The modules stand in reading order, and each imports only modules that stand below it; `tests/tidy.rs` keeps it so.
//! ARCHITECTURE.md is the tour.

pub mod cli;
pub mod demo;
pub mod admin;
pub mod services;
pub mod server;
pub mod listener;
pub mod gateway;
pub mod openapi;
pub mod typescript;
pub mod edge;
pub mod dialect;
pub mod route;
pub mod codec;
pub mod share;
pub mod fleet;
pub mod upstream;
pub mod schema;
pub mod call;
pub mod telemetry;
pub mod config;
pub mod drain;
pub mod keepalive;
pub mod status;
pub mod wire;
pub mod coding;
pub mod limits;
