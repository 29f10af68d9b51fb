//! Server reflection (grpc/reflection/v1/reflection.proto), and the same of v1alpha: the files of what is served.
//!
//! A call keeps the schema that it began with.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait, service::Routes};

use super::REQUEST_BYTES_MAX;
use crate::{
    gateway::Snapshot,
    schema::{
        FileId, Files,
        reflection::proto::{
            ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
            ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
            server_reflection_request::MessageRequest,
            server_reflection_response::MessageResponse,
            server_reflection_server::{ServerReflection, ServerReflectionServer},
        },
    },
    status::Code,
};

mod v1alpha {
    #![allow(clippy::all, unreachable_pub, unused_qualifications, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1alpha.rs"));
}

/// Both versions.
pub(super) fn add_to(routes: Routes, snapshot: Arc<ArcSwap<Snapshot>>) -> Routes {
    let service = Reflection { snapshot };
    let v1alpha = v1alpha::server_reflection_server::ServerReflectionServer::new(service.clone());
    routes
        .add_service(ServerReflectionServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(v1alpha.max_decoding_message_size(REQUEST_BYTES_MAX))
}

#[derive(Clone)]
struct Reflection {
    snapshot: Arc<ArcSwap<Snapshot>>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

#[async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut told = Told::of(&self.snapshot.load_full()).await?;
        let answers = request.into_inner().map(move |request| Ok(told.answer(request?)));
        Ok(Response::new(Box::pin(answers)))
    }
}

#[async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Answers>, Status> {
        ServerReflection::server_reflection_info(self, request).await
    }
}

/// What one call tells of, and what it has told.
struct Told {
    services: Vec<ServiceResponse>,
    files: Arc<Files>,
    sent: HashSet<FileId>,
}

impl Told {
    async fn of(snapshot: &Arc<Snapshot>) -> Result<Self, Status> {
        let files = snapshot.files().await.map_err(|status| Status::internal(status.message()))?;
        let services = snapshot.services().into_iter().map(|name| ServiceResponse { name: name.to_owned() }).collect();
        Ok(Self { services, files, sent: HashSet::new() })
    }

    fn answer(&mut self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        use MessageRequest::*;
        let response = match &request.message_request {
            Some(FileByFilename(name)) => self.file(self.files.named(name)),
            Some(FileContainingSymbol(name)) => self.file(self.files.declaring(name)),
            Some(FileContainingExtension(asked)) => {
                self.file(self.files.extending(&asked.containing_type, asked.extension_number))
            }
            Some(AllExtensionNumbersOfType(name)) => self.extension_numbers(name),
            Some(ListServices(_)) => {
                MessageResponse::ListServicesResponse(ListServiceResponse { service: self.services.clone() })
            }
            None => refusal(Code::InvalidArgument, "the request asks nothing that is known here"),
        };
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(response),
        }
    }

    fn file(&mut self, found: Option<FileId>) -> MessageResponse {
        let Some(file) = found else { return refusal(Code::NotFound, "no file has it") };
        let files = self.files.with_imports(file, &mut self.sent);
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: files.iter().map(|file| file.to_vec()).collect(),
        })
    }

    fn extension_numbers(&self, message: &str) -> MessageResponse {
        let Some(numbers) = self.files.extension_numbers(message) else {
            return refusal(Code::NotFound, "there is no such message");
        };
        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
            base_type_name: message.to_owned(),
            extension_number: numbers,
        })
    }
}

fn refusal(code: Code, text: &str) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse { error_code: code.number() as i32, error_message: text.to_owned() })
}
