//! The program that the runner tests: conversions asked for on standard input, answered on standard output, each message
//! with its length before it (`conformance/conformance.proto`). Knows nothing of what is expected.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use prost::Message as _;
use tidegate::{
    codec::{Codec, PlanId, Unknown},
    config::{OutputSettings, UnknownFields},
    schema::{Schema, ServiceConfig, Source},
};

/// How a message in binary becomes one in binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// As it came, once it is known to be sound: what the gateway does with clients that speak protobuf.
    Direct,
    /// To JSON and back.
    ThroughJson,
}

impl Route {
    pub(crate) const ALL: [Self; 2] = [Self::Direct, Self::ThroughJson];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ThroughJson => "through_json",
        }
    }
}

/// `conformance.ConformanceRequest`; whether JSON is UTF-8 is for the codec to say.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(bytes = "vec", optional, tag = "1")]
    protobuf: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    json: Option<Vec<u8>>,
    #[prost(enumeration = "Format", tag = "3")]
    wanted: i32,
    #[prost(string, tag = "4")]
    message_type: String,
    #[prost(int32, tag = "5")]
    category: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Format {
    Unspecified = 0,
    Protobuf = 1,
    Json = 2,
}

impl Request {
    fn unknown_fields(&self) -> UnknownFields {
        const JSON_IGNORE_UNKNOWN_PARSING_TEST: i32 = 3;
        match self.category {
            JSON_IGNORE_UNKNOWN_PARSING_TEST => UnknownFields::Ignore,
            _ => UnknownFields::Reject,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6")]
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answer {
    #[prost(string, tag = "1")]
    ParseError(String),
    #[prost(string, tag = "6")]
    SerializeError(String),
    #[prost(string, tag = "2")]
    RuntimeError(String),
    #[prost(bytes = "vec", tag = "3")]
    Protobuf(Vec<u8>),
    #[prost(bytes = "vec", tag = "4")]
    Json(Vec<u8>),
    #[prost(string, tag = "5")]
    Skipped(String),
}

/// Answers requests until there are no more.
pub(crate) fn serve(route: Route, set: &Path) -> ExitCode {
    match answer_all(route, set) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "testee: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer_all(route: Route, set: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let set = fs::read(set)?;
    let service_config = ServiceConfig::default();
    let source = Source { upstream: 0, name: "conformance", set: &set, service_config: &service_config };
    let schema = Schema::merge(&[source])?;
    let codec = Codec::compile(schema.pool());
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let mut request = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        input.read_exact(&mut request)?;
        let answer = answer(&codec, route, &Request::decode(&*request)?);
        let response = Response { answer: Some(answer) }.encode_to_vec();
        output.write_all(&u32::try_from(response.len())?.to_le_bytes())?;
        output.write_all(&response)?;
        output.flush()?;
    }
}

fn answer(codec: &Codec, route: Route, request: &Request) -> Answer {
    // The first question: which failures are known here. They stand in a list that the runner was given.
    if request.message_type == "conformance.FailureSet" {
        return Answer::Protobuf(Vec::new());
    }
    let Some(plan) = codec.plan_by_name(&request.message_type) else {
        return Answer::RuntimeError(format!("{} is not in the schema", request.message_type));
    };
    convert(codec, plan, route, request).unwrap_or_else(|answer| answer)
}

fn convert(codec: &Codec, plan: PlanId, route: Route, request: &Request) -> Result<Answer, Answer> {
    let wire = match (&request.protobuf, &request.json) {
        (Some(wire), None) => {
            codec.validate(plan, wire).map_err(|error| Answer::ParseError(error.to_string()))?;
            wire.clone()
        }
        (None, Some(json)) => to_wire(codec, plan, request.unknown_fields(), json).map_err(Answer::ParseError)?,
        _ => return Err(Answer::Skipped("only binary and JSON are spoken here".to_owned())),
    };
    match (request.wanted(), route) {
        (Format::Json, _) => to_json(codec, plan, &wire).map(Answer::Json),
        (Format::Protobuf, Route::ThroughJson) if request.protobuf.is_some() => {
            let json = to_json(codec, plan, &wire)?;
            to_wire(codec, plan, UnknownFields::Reject, &json).map(Answer::Protobuf).map_err(Answer::RuntimeError)
        }
        (Format::Protobuf, _) => Ok(Answer::Protobuf(wire)),
        (Format::Unspecified, _) => Err(Answer::Skipped("only binary and JSON are spoken here".to_owned())),
    }
}

fn to_wire(codec: &Codec, plan: PlanId, unknown_fields: UnknownFields, json: &[u8]) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    let read = codec.json_to_wire_with(plan, json, &mut Unknown::new(unknown_fields), &mut wire);
    read.map(|()| wire).map_err(|error| error.to_string())
}

fn to_json(codec: &Codec, plan: PlanId, wire: &[u8]) -> Result<Vec<u8>, Answer> {
    let mut json = Vec::new();
    let written = codec.wire_to_json(plan, wire, OutputSettings::default(), &mut json);
    written.map(|()| json).map_err(|error| Answer::SerializeError(error.to_string()))
}
