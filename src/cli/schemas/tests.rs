//! What becomes of what files and endpoints say.

use std::{io, time::SystemTime};

use bytes::Bytes;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver};
use tokio::time::advance;

use super::{
    endpoint::Place,
    known::SILENCE_MAX,
    report::{State, UpstreamReport},
    *,
};
use crate::{
    config::{self, Quick, Services},
    status::{Code, Status},
};

struct Memory(String);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name != "c.proto" {
            return Err(protox::Error::file_not_found(name));
        }
        File::from_source(name, &self.0)
    }
}

/// Package `c`, compiled.
fn set(text: &str) -> Bytes {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Memory(format!("syntax = \"proto3\"; package c; import \"google/api/annotations.proto\"; {text}")));
    resolver.add(GoogleFileResolver::new());
    let builtin = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.binpb"));
    resolver.add(DescriptorSetFileResolver::decode(builtin.as_slice()).unwrap());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(["c.proto"]).unwrap_or_else(|error| panic!("{error:?}"));
    compiler.encode_file_descriptor_set().into()
}

/// Upstreams by reflection, with so many endpoints each.
fn schemas(endpoints: &[usize]) -> Schemas {
    let upstreams = (0..endpoints.len()).map(|index| format!("http://upstream{index}:1")).collect();
    let mut settings = config::quick(&Quick { upstreams, ..Quick::default() }).unwrap();
    settings.services = Services { health: false, reflection: false };
    let mut schemas = Schemas::load(&settings).unwrap();
    for (known, count) in schemas.known.iter_mut().zip(endpoints) {
        (0..*count).for_each(|index| known.add_endpoint(format!("http://{index}")));
    }
    schemas
}

impl Schemas {
    fn says(&mut self, upstream: usize, endpoint: usize, set: Result<Bytes, Status>) {
        self.hears(upstream, endpoint, set);
        self.update();
    }

    fn hears(&mut self, upstream: usize, endpoint: usize, set: Result<Bytes, Status>) {
        self.hear(Answer { from: Place { upstream, endpoint }, at: SystemTime::now(), set });
    }

    fn told(&self, upstream: usize) -> UpstreamReport {
        self.report.load().upstreams[upstream].clone()
    }

    fn methods(&self) -> Vec<String> {
        let snapshot = self.snapshot.load();
        let mut names: Vec<_> = snapshot.schema().methods().iter().map(|method| method.path.to_string()).collect();
        names.sort();
        names
    }
}

fn silence() -> Result<Bytes, Status> {
    Err(Status::upstream(Code::Unavailable, "nobody is there"))
}

const OLD: &str = "message M { string a = 1; } service S { rpc A(M) returns (M); }";
const NEW: &str = "message M { string a = 1; string b = 2; } service S { rpc A(M) returns (M); rpc B(M) returns (M); }";
const OTHER: &str = "message M { int32 a = 1; } service S { rpc A(M) returns (M); }";

#[test]
fn what_is_missing_is_told_until_it_is_there() {
    let mut schemas = schemas(&[1]);
    let readiness = |schemas: &Schemas| schemas.report.load().readiness();
    assert_eq!(readiness(&schemas).problems, ["upstream upstream0_1: its schema is not known yet"]);
    schemas.says(0, 0, silence());
    assert_eq!(schemas.told(0).state, State::Missing);
    assert!(!readiness(&schemas).ready);
    assert_eq!(readiness(&schemas).problems, ["upstream upstream0_1: endpoint http://0: UNAVAILABLE: nobody is there"]);
    schemas.says(0, 0, Ok(set(OLD)));
    assert_eq!(readiness(&schemas), crate::admin::Readiness { ready: true, problems: Vec::new() });
    let told = schemas.told(0);
    assert_eq!((told.state, told.swapped, told.failed, told.refused), (State::Current, 0, 1, 0));
    assert_eq!((told.services, told.methods), (1, 1));
    assert_eq!(told.files, 4, "c.proto, and what it imports");
}

#[test]
fn a_new_schema_takes_the_place_of_the_old_one_and_tells_what_it_breaks() {
    let mut schemas = schemas(&[1]);
    schemas.says(0, 0, Ok(set(NEW)));
    let in_flight = schemas.snapshot.load_full();
    schemas.says(0, 0, Ok(set(OLD)));
    assert_eq!(schemas.methods(), ["/c.S/A"]);
    assert_eq!(in_flight.schema().methods().len(), 2, "a call keeps what it began with");
    let told = schemas.told(0);
    assert_eq!(told.breaking_changes, ["method `c.S/B` was removed", "field `c.M.b` was removed"]);
    assert_eq!((told.state, told.swapped), (State::Current, 1));
    schemas.says(0, 0, Ok(set(NEW)));
    assert!(schemas.told(0).breaking_changes.is_empty());
}

#[test]
fn the_same_answer_changes_nothing() {
    let mut schemas = schemas(&[1]);
    schemas.says(0, 0, Ok(set(OLD)));
    let (before, told) = (schemas.snapshot.load_full(), schemas.told(0));
    schemas.says(0, 0, Ok(set(OLD)));
    assert!(Arc::ptr_eq(&before, &schemas.snapshot.load_full()));
    assert_eq!(schemas.told(0).loaded, told.loaded);
}

#[test]
fn an_endpoint_that_falls_silent_is_told_and_what_it_said_stays() {
    let mut schemas = schemas(&[2]);
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(0, 1, Ok(set(OLD)));
    schemas.says(0, 1, silence());
    let told = schemas.told(0);
    assert_eq!((told.state, told.problems.len()), (State::Current, 1));
    assert_eq!(schemas.methods(), ["/c.S/A"]);
    schemas.says(0, 1, Ok(set(OLD)));
    assert!(schemas.told(0).problems.is_empty());
}

#[test]
fn what_is_no_schema_is_refused_and_the_old_one_stays() {
    let mut schemas = schemas(&[1]);
    schemas.says(0, 0, Ok(set(OLD)));
    let rule = |path: &str| {
        set(&format!(
            "message M {{}} service S {{ rpc A(M) returns (M) {{ option (google.api.http) = {{ get: \"{path}\" }}; }} }}"
        ))
    };
    for (bad, problem) in [
        (Bytes::from_static(b"no set"), "the descriptor set of endpoint `http://0` is not valid: "),
        (rule("/{nothing}"), "does not fit its message"),
    ] {
        schemas.says(0, 0, Ok(bad));
        let told = schemas.told(0);
        assert_eq!(told.state, State::Outdated);
        assert!(told.problems.len() == 1 && told.problems[0].contains(problem), "{:?}", told.problems);
        assert!(schemas.report.load().readiness().ready);
        assert_eq!(schemas.methods(), ["/c.S/A"]);
    }
    assert_eq!(schemas.told(0).refused, 2);
    schemas.says(0, 0, Ok(set(NEW)));
    let told = schemas.told(0);
    assert_eq!((told.state, told.problems.len(), told.methods), (State::Current, 0, 2));
}

#[test]
fn a_fault_of_its_own_is_told_before_what_others_are_in_the_way() {
    let mut schemas = schemas(&[1, 1]);
    let bad = "message M {} service S { rpc A(M) returns (M) { option (google.api.http) = { get: \"x\" }; } }";
    for upstream in [0, 1] {
        schemas.hear(Answer {
            from: Place { upstream, endpoint: 0 },
            at: SystemTime::now(),
            set: Ok(set(if upstream == 0 { bad } else { OLD })),
        });
    }
    schemas.update();
    assert_eq!(schemas.methods(), ["/c.S/A"]);
    let problems = schemas.told(0).problems;
    assert!(problems[0].contains("path template"), "{problems:?}");
}

#[test]
fn a_good_answer_that_was_served_all_along_ends_a_refusal() {
    let mut schemas = schemas(&[1]);
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(
        0,
        0,
        Ok(set("message M {} service S { rpc A(M) returns (M) { option (google.api.http) = { get: \"x\" }; } }")),
    );
    assert_eq!(schemas.told(0).state, State::Outdated);
    schemas.says(0, 0, Ok(set(OLD)));
    assert_eq!(schemas.told(0).state, State::Current);
}

#[test]
fn endpoints_are_served_together_and_what_one_lacks_is_told() {
    let mut schemas = schemas(&[2]);
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(0, 1, Ok(set(NEW)));
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.S/B"]);
    let lacks =
        |schemas: &Schemas| schemas.told(0).endpoints.into_iter().map(|endpoint| endpoint.lacks).collect::<Vec<_>>();
    assert_eq!(lacks(&schemas), [vec!["method c.S/B".to_owned(), "field c.M.b".to_owned()], vec![]]);
    schemas.says(0, 0, Ok(set(NEW)));
    assert_eq!(lacks(&schemas), [[""; 0], []]);
    assert_eq!(schemas.told(0).swapped, 2);
}

#[test]
fn endpoints_that_contradict_each_other_are_named_and_the_last_good_schema_stays() {
    let mut schemas = schemas(&[2]);
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(0, 1, Ok(set(OLD)));
    schemas.says(0, 1, Ok(set(OTHER)));
    let told = schemas.told(0);
    assert_eq!(told.problems, ["endpoint `http://0` and endpoint `http://1` define `c.M.a` differently"]);
    assert_eq!((told.state, told.refused), (State::Outdated, 1));
    schemas.says(0, 0, Ok(set(OTHER)));
    let told = schemas.told(0);
    assert_eq!((told.state, told.problems.len()), (State::Current, 0));
    assert_eq!(told.breaking_changes, ["field `c.M.a` is `int32` now, not `string`"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_left_out_until_it_answers_again() {
    let mut schemas = schemas(&[2]);
    schemas.says(0, 0, Ok(set(NEW)));
    schemas.says(0, 1, Ok(set(NEW)));
    schemas.says(0, 0, silence());
    schemas.says(0, 1, Ok(set(OTHER)));
    advance(SILENCE_MAX - Duration::from_secs(1)).await;
    schemas.says(0, 0, silence());
    let told = schemas.told(0);
    assert_eq!(told.state, State::Outdated);
    assert_eq!(told.problems[0], "endpoint `http://0` and endpoint `http://1` define `c.M.a` differently");
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.S/B"]);

    advance(Duration::from_secs(1)).await;
    schemas.says(0, 0, silence());
    let left_out = ["endpoint http://0 is silent and no longer counted: UNAVAILABLE: nobody is there"];
    let told = schemas.told(0);
    assert_eq!((told.state, told.swapped), (State::Current, 1));
    assert_eq!(told.problems, left_out);
    assert_eq!((told.endpoints[0].known, told.endpoints[1].known), (false, true));
    assert_eq!(schemas.methods(), ["/c.S/A"], "what it alone had is gone");
    schemas.says(0, 0, silence());
    assert_eq!(schemas.told(0).problems, left_out);

    schemas.says(0, 0, Ok(set(&OTHER.replace("rpc A", "rpc C"))));
    let told = schemas.told(0);
    assert_eq!((told.state, told.problems.len(), told.endpoints[0].known), (State::Current, 0, true));
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.S/C"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_stays_as_long_as_no_endpoint_answers() {
    let mut schemas = schemas(&[2]);
    schemas.says(0, 0, Ok(set(NEW)));
    schemas.says(0, 1, Ok(set(OLD)));
    for _ in 0..3 {
        for endpoint in [0, 1] {
            schemas.says(0, endpoint, silence());
            advance(SILENCE_MAX).await;
        }
    }
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.S/B"]);
    // The one that answers first leaves the other its time.
    schemas.says(0, 1, Ok(set(OLD)));
    schemas.says(0, 0, silence());
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.S/B"]);
    advance(SILENCE_MAX).await;
    schemas.says(0, 0, silence());
    assert_eq!(schemas.methods(), ["/c.S/A"]);
}

#[test]
fn the_root_of_a_failure_is_told_once() {
    for (cause, problem) in [
        ("connection refused", "endpoint http://0: UNAVAILABLE: nobody is there (connection refused)"),
        ("nobody is there", "endpoint http://0: UNAVAILABLE: nobody is there"),
    ] {
        let mut schemas = schemas(&[1]);
        schemas.says(0, 0, silence().map_err(|status| status.with_cause(io::Error::other(cause))));
        assert_eq!(schemas.told(0).problems, [problem]);
    }
}

#[test]
fn endpoints_that_contradict_each_other_from_the_start_leave_the_schema_missing_whoever_answers_first() {
    for order in [[0, 1], [1, 0]] {
        let mut schemas = schemas(&[2]);
        for endpoint in order {
            schemas.hears(0, endpoint, Ok(set([OLD, OTHER][endpoint])));
        }
        schemas.update();
        let told = schemas.told(0);
        assert_eq!(told.problems, ["endpoint `http://0` and endpoint `http://1` define `c.M.a` differently"]);
        assert_eq!((told.state, schemas.methods()), (State::Missing, vec![]));
        assert!(!schemas.report.load().readiness().ready);
        schemas.says(0, 0, Ok(set(OTHER)));
        assert_eq!((schemas.told(0).state, schemas.methods()), (State::Current, vec!["/c.S/A".to_owned()]));
    }
}

#[test]
fn two_upstreams_that_change_what_they_share_are_swapped_together() {
    let mut schemas = schemas(&[1, 1]);
    let user = |text: &str| set(&text.replace("service S", "service T"));
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(1, 0, Ok(user(OLD)));
    schemas.says(0, 0, Ok(set(OTHER)));
    let told = schemas.told(0);
    assert_eq!(told.problems, ["upstream `upstream0_1` and upstream `upstream1_1` define `c.M.a` differently"]);
    schemas.says(1, 0, Ok(user(OTHER)));
    for upstream in [0, 1] {
        let told = schemas.told(upstream);
        assert_eq!((told.state, told.swapped, told.problems.len()), (State::Current, 1, 0));
    }
}

#[test]
fn one_upstream_that_is_refused_keeps_no_other_waiting() {
    let mut schemas = schemas(&[1, 1, 1]);
    schemas.says(0, 0, Ok(set(OLD)));
    schemas.says(1, 0, Ok(set(OLD)));
    let problem = "the upstreams `upstream0_1` and `upstream1_1` both have the service `c.S`, and no route says who takes its calls";
    assert_eq!(schemas.told(1).problems, [problem]);
    assert_eq!(schemas.told(1).state, State::Missing);
    schemas.says(2, 0, Ok(set(&NEW.replace("service S", "service U"))));
    assert_eq!(schemas.methods(), ["/c.S/A", "/c.U/A", "/c.U/B"]);
    // What was refused is not refused again for every word of another.
    assert_eq!(schemas.told(1).refused, 2);
    schemas.says(2, 0, silence());
    assert_eq!(schemas.told(1).refused, 2);
    // The first makes room for the second.
    schemas.says(0, 0, Ok(set("message M { string a = 1; }")));
    assert_eq!(schemas.told(1).state, State::Current);
}
