//! Services that a test makes up: answered by their descriptors, told by server reflection, and changed while they run.

use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, RwLock},
};

use http::{Request, Response};
use prost_reflect::{DescriptorPool, FileDescriptor, MethodDescriptor};
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming, server::StreamingService};

use super::record::Requests;
use crate::{
    harness::temp::TempDir,
    proto::reflection::{
        ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
        ServiceResponse, server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
};

pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// What a backend serves; clones are the same.
#[derive(Clone, Debug)]
pub struct Reflected(Arc<RwLock<DescriptorPool>>);

impl Reflected {
    /// From a proto file, without its `syntax`.
    pub fn new(proto: &str) -> Self {
        Self(Arc::new(RwLock::new(pool(proto))))
    }

    /// From now on, these are the services.
    pub fn change(&self, proto: &str) {
        *self.0.write().expect("no holder panics") = pool(proto);
    }

    fn pool(&self) -> DescriptorPool {
        self.0.read().expect("no holder panics").clone()
    }

    pub(super) fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        self.pool().get_service_by_name(service)?.methods().find(|found| found.name() == method)
    }

    pub(super) async fn reflect(&self, request: Request<Requests>) -> Response<tonic::body::Body> {
        let codec = tonic_prost::ProstCodec::<ServerReflectionResponse, ServerReflectionRequest>::default();
        tonic::server::Grpc::new(codec).streaming(self.clone(), request).await
    }
}

/// A descriptor set of a proto file that may import those of `proto/`.
pub fn compile(proto: &str) -> Vec<u8> {
    let dir = TempDir::new();
    let file = dir.write("life.proto", format!("syntax = \"proto3\";\n{proto}"));
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([dir.path(), &include]).expect("directories");
    compiler.include_imports(true).open_file(file).unwrap_or_else(|error| panic!("{error:?}"));
    compiler.encode_file_descriptor_set()
}

fn pool(proto: &str) -> DescriptorPool {
    DescriptorPool::decode(compile(proto).as_slice()).expect("a descriptor set")
}

impl StreamingService<ServerReflectionRequest> for Reflected {
    type Response = ServerReflectionResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<ServerReflectionRequest>>) -> Self::Future {
        // What is told in one call fits together.
        let pool = self.pool();
        let answers = request.into_inner().map(move |request| Ok(answer(&pool, request?)));
        std::future::ready(Ok(tonic::Response::new(Box::pin(answers))))
    }
}

fn answer(pool: &DescriptorPool, request: ServerReflectionRequest) -> ServerReflectionResponse {
    let found = match request.message_request.clone().expect("a question") {
        MessageRequest::ListServices(_) => {
            let service = pool.services().map(|service| ServiceResponse { name: service.full_name().to_owned() });
            Some(MessageResponse::ListServicesResponse(ListServiceResponse { service: service.collect() }))
        }
        MessageRequest::FileContainingSymbol(symbol) => {
            pool.get_service_by_name(&symbol).map(|service| file(&service.parent_file()))
        }
        MessageRequest::FileByFilename(name) => pool.get_file_by_name(&name).map(|found| file(&found)),
        _ => None,
    };
    let not_found = || MessageResponse::ErrorResponse(ErrorResponse { error_code: 5, error_message: String::new() });
    ServerReflectionResponse {
        original_request: Some(request),
        message_response: Some(found.unwrap_or_else(not_found)),
        ..ServerReflectionResponse::default()
    }
}

fn file(file: &FileDescriptor) -> MessageResponse {
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
        file_descriptor_proto: vec![file.encode_to_vec()],
    })
}
