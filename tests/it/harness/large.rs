//! A large schema, as a company's APIs are together: resources with their own messages, five methods and rules each.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

pub(crate) const METHODS_PER_SERVICE: usize = RESOURCES.len() * 5;

const RESOURCES: [&str; 5] = ["Project", "Budget", "Release", "Device", "Report"];

/// Writes a file per service: `corp.area7.svc47.v1.Service47` with `GetProject` and so on.
pub(crate) fn write(folder: &Path, services: usize) -> io::Result<Vec<PathBuf>> {
    let write = |service: usize| {
        let path = folder.join(format!("svc{service}.proto"));
        fs::write(&path, file(service)).map(|()| path)
    };
    (0..services).map(write).collect()
}

fn file(service: usize) -> String {
    let (mut methods, mut messages) = (String::new(), String::new());
    for resource in RESOURCES {
        let places = |text: &str| {
            let plural = format!("{}s", resource.to_lowercase());
            text.replace("RESOURCE", resource).replace("PLURAL", &plural).replace("SVC", &format!("svc{service}"))
        };
        methods.push_str(&places(METHODS));
        messages.push_str(&places(MESSAGES));
    }
    let mut file = HEAD.to_owned();
    let _ = writeln!(file, "package corp.area{}.svc{service}.v1;", service % 20);
    let _ = write!(file, "service Service{service} {{{methods}}}\n{messages}");
    file
}

const HEAD: &str = r#"syntax = "proto3";
import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
"#;

const METHODS: &str = r#"
  // Gets one.
  rpc GetRESOURCE(GetRESOURCERequest) returns (RESOURCE) {
    option (google.api.http) = {
      get: "/SVC/v1/{name=projects/*/PLURAL/*}"
      additional_bindings { get: "/SVC/v1/{name=folders/*/PLURAL/*}" }
    };
  }
  // Lists a page of them.
  rpc ListRESOURCEs(ListRESOURCEsRequest) returns (ListRESOURCEsResponse) {
    option (google.api.http) = { get: "/SVC/v1/{parent=projects/*}/PLURAL" };
  }
  rpc CreateRESOURCE(CreateRESOURCERequest) returns (RESOURCE) {
    option (google.api.http) = { post: "/SVC/v1/{parent=projects/*}/PLURAL" body: "resource" };
  }
  rpc UpdateRESOURCE(UpdateRESOURCERequest) returns (RESOURCE) {
    option (google.api.http) = { patch: "/SVC/v1/{resource.name=projects/*/PLURAL/*}" body: "resource" };
  }
  rpc ArchiveRESOURCE(ArchiveRESOURCERequest) returns (ArchiveRESOURCEResponse) {
    option (google.api.http) = { post: "/SVC/v1/{name=projects/*/PLURAL/*}:archive" body: "*" };
  }
"#;

const MESSAGES: &str = r#"
// A resource, with what one mostly has.
message RESOURCE {
  // Where it is: `projects/*/PLURAL/*`.
  string name = 1;
  string display_name = 2;
  google.protobuf.Timestamp create_time = 3;
  google.protobuf.Timestamp update_time = 4;
  map<string, string> labels = 5;
  enum State { STATE_UNSPECIFIED = 0; ACTIVE = 1; ARCHIVED = 2; }
  State state = 6;
  repeated string tags = 7;
  int64 size_bytes = 8;
  double score = 9;
  bool pinned = 10;
  message Owner { string user = 1; string team = 2; int32 level = 3; }
  Owner owner = 11;
  repeated Owner editors = 12;
  oneof source { string url = 13; bytes content = 14; }
}
message GetRESOURCERequest { string name = 1; google.protobuf.FieldMask read_mask = 2; }
message ListRESOURCEsRequest { string parent = 1; int32 page_size = 2; string page_token = 3; string filter = 4; string order_by = 5; }
message ListRESOURCEsResponse { repeated RESOURCE resources = 1; string next_page_token = 2; int32 total_size = 3; }
message CreateRESOURCERequest { string parent = 1; RESOURCE resource = 2; string resource_id = 3; bool validate_only = 4; }
message UpdateRESOURCERequest { RESOURCE resource = 1; google.protobuf.FieldMask update_mask = 2; }
message ArchiveRESOURCERequest { string name = 1; string reason = 2; }
message ArchiveRESOURCEResponse { RESOURCE resource = 1; google.protobuf.Timestamp archive_time = 2; }
"#;
