//! Health checking (grpc/health/v1/health.proto): whether the gateway can serve, put together of what its upstreams say.
//!
//! Knows when it is asked, and not how upstreams are.

mod board;
mod probe;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, pin::Pin, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio_stream::{Stream, wrappers::WatchStream};
use tonic::{Request, Response, Status, async_trait, service::Routes};

pub(super) use self::board::Board;
use self::proto::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use super::REQUEST_BYTES_MAX;
use crate::drain::Drain;

mod proto {
    #![allow(clippy::all, unreachable_pub, unused_qualifications, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

/// Most services that are told at once: each costs a question to its upstream.
const LISTED_MAX: usize = 100;

pub(super) fn add_to(routes: Routes, board: Arc<Board>, drain: Drain) -> Routes {
    routes.add_service(HealthServer::new(Checks { board, drain }).max_decoding_message_size(REQUEST_BYTES_MAX))
}

struct Checks {
    board: Arc<Board>,
    drain: Drain,
}

#[async_trait]
impl Health for Checks {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(response(self.status(&request.get_ref().service).await?)))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let services = self.board.services();
        if services.len() > LISTED_MAX {
            let text = format!("there are more than {LISTED_MAX} services: ask for each by its name");
            return Err(Status::resource_exhausted(text));
        }
        let statuses = future::try_join_all(services.into_iter().map(|service| async move {
            let status = self.status(&service).await?;
            Ok::<_, Status>((service, response(status)))
        }));
        Ok(Response::new(HealthListResponse { statuses: statuses.await?.into_iter().collect::<HashMap<_, _>>() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let found = WatchStream::new(self.board.look_at(&request.get_ref().service)?).filter_map(future::ready);
        let last = stream::once(future::ready(ServingStatus::NotServing));
        let statuses = found.take_until(self.drain.announced_owned()).chain(last);
        Ok(Response::new(statuses.map(|status| Ok(response(status))).into_stream().boxed()))
    }
}

impl Checks {
    async fn status(&self, service: &str) -> Result<ServingStatus, Status> {
        let mut found = self.board.look_at(service)?;
        let status = found.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        match status.unwrap_or(ServingStatus::NotServing) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("nothing here serves a service of this name")),
            _ if self.drain.is_announced() => Ok(ServingStatus::NotServing),
            status => Ok(status),
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
