//! Starts gateways and speaks to them in every dialect, as strangers would: nothing here calls into the gateway.

pub mod array;
pub mod binary;
pub mod call;
pub mod config;
pub mod connect;
pub mod envelopes;
pub mod expect;
pub mod gateway;
pub mod grpc;
pub mod grpc_call;
pub mod http;
pub mod large;
pub mod lines;
pub mod mux;
pub mod process;
pub mod raw;
pub mod redis;
pub mod sse;
pub mod stage;
pub mod temp;
pub mod tls;
pub mod tools;
pub mod ws;

use std::{future::Future, panic::Location, time::Duration};

pub use call::{Call, Dialect, End, How, Kind, Opening, Step};
pub use config::Config;
pub use gateway::Gateway;
pub use http::{Conn, Via, Whole};
pub use redis::Redis;
pub use stage::Stage;

/// Far longer than anything here takes on a busy machine: what is not there by then never comes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The future's output; a test that would wait for ever fails instead, and says where.
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for {PATIENCE:?} at {place}"),
        }
    }
}
