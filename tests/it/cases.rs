//! The transcoding cases of `tests/data/transcoding.json`: HTTP requests byte for byte, and what must come of each.
//!
//! `level` `must` is the rule grammar's or the JSON mapping's own text, `should` what good gateways do; `source` says
//! where an expectation comes from, `alt` what is as good. Cases that are known to fail stand in
//! `transcoding_failing.txt` with the reason; they are run too, and must still fail.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde_json::Value;

use crate::harness::{Gateway, Via, Whole, raw::RawConn, tools::PythonBackend};

const CASES: &str = include_str!("../data/transcoding.json");
const FAILING: &str = include_str!("../data/transcoding_failing.txt");
const AT_ONCE: usize = 8;

#[tokio::test]
async fn transcoding_cases() {
    let backend = PythonBackend::start().await;
    let gateway = Gateway::without_file(&[backend.url()]).await;
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("the cases are JSON");
    let mut failing: BTreeMap<&str, &str> = FAILING
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a case and the reason"))
        .collect();
    let results: Vec<(&str, Result<(), String>)> = futures_util::stream::iter(&cases)
        .map(async |case| (text(case, "id"), run(case, &gateway).await))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut wrong = Vec::new();
    for (id, result) in results {
        match (result, failing.remove(id)) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{id} passes now: strike it from transcoding_failing.txt")),
            (Err(why), None) => wrong.push(format!("{id}: {why}")),
        }
    }
    wrong.extend(failing.keys().map(|id| format!("{id} is in transcoding_failing.txt and nowhere else")));
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    gateway.assert_nothing_internal();
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

async fn run(case: &Value, gateway: &Gateway) -> Result<(), String> {
    let (answer, whole) = exchange(case, gateway).await;
    let Some(answer) = answer else { return Err("no answer".to_owned()) };
    let Err(why) = check(case, case, &answer, whole) else { return Ok(()) };
    let alternatives = case["alt"].as_array().into_iter().flatten();
    match alternatives.map(|other| check(case, other, &answer, whole)).any(|result| result.is_ok()) {
        true => Ok(()),
        false => Err(format!(
            "{} {}: {why}",
            text(case, "method"),
            text(case, "target").chars().take(80).collect::<String>()
        )),
    }
}

/// Sends a case as it is written; the answer, and whether its body ended properly.
async fn exchange(case: &Value, gateway: &Gateway) -> (Option<Whole>, bool) {
    let body = body(case);
    let method = text(case, "method");
    let mut headers: BTreeMap<String, String> = [("host".to_owned(), "localhost".to_owned())].into();
    match &body {
        Some(body) => {
            headers.insert("content-type".to_owned(), "application/json".to_owned());
            headers.insert("content-length".to_owned(), body.len().to_string());
        }
        None if matches!(method, "POST" | "PUT" | "PATCH") => {
            headers.insert("content-length".to_owned(), "0".to_owned());
        }
        None => {}
    }
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        headers.insert(name.to_lowercase(), value.as_str().expect("a header's value").to_owned());
    }
    let mut request = format!("{method} {} HTTP/1.1\r\n", text(case, "target"));
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let mut conn = RawConn::open(gateway, Via::H1).await;
    conn.write(request + "\r\n").await;
    conn.write(body.unwrap_or_default()).await;
    match conn.answer(method == "HEAD").await {
        Some(answer) => {
            let whole = answer.broken.is_none();
            (Some(answer), whole)
        }
        None => (None, false),
    }
}

fn body(case: &Value) -> Option<Vec<u8>> {
    if let Some(parts) = case["body_parts"].as_array() {
        let repeat =
            |part: &Value| part[0].as_str().unwrap().repeat(usize::try_from(part[1].as_u64().unwrap()).unwrap());
        return Some(parts.iter().map(repeat).collect::<String>().into_bytes());
    }
    match case["body_b64"].as_str() {
        Some(encoded) => Some(base64_simd::STANDARD.decode_to_vec(encoded).expect("base64")),
        None => case["body"].as_str().map(|body| body.as_bytes().to_vec()),
    }
}

fn check(case: &Value, wanted: &Value, answer: &Whole, whole: bool) -> Result<(), String> {
    let status = answer.status.as_u16();
    let statuses =
        wanted["status"].as_array().map_or_else(|| vec![200], |all| all.iter().filter_map(Value::as_u64).collect());
    if !statuses.contains(&u64::from(status)) {
        return Err(format!("status {status}, not {statuses:?}: {answer:?}"));
    }
    if !answer.status.is_success() {
        return check_error(&wanted["want_error"], answer);
    }
    if wanted["no_body"] == true {
        return same(answer.body.is_empty(), || format!("a body: {answer:?}"));
    }
    if wanted["want_midfail"] == true {
        return same(!whole || answer.text().contains("asked to fail"), || {
            format!("the failure is invisible: {answer:?}")
        });
    }
    if let Some(text) = wanted["want_raw"].as_str() {
        let right = answer.text() == text && Some(answer.header("content-type")) == wanted["want_ct"].as_str();
        return same(right, || format!("{answer:?}"));
    }
    let json: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON ({error}): {answer:?}"))?;
    for key in ["want_body", "want_stream"] {
        if let Some(expected) = wanted.get(key) {
            return same(equal(&json, expected), || format!("{json}, not {expected}"));
        }
    }
    if wanted.get("want").is_none() && wanted.get("want_len").is_none() {
        return Ok(());
    }
    let method = text(&json, "method").rsplit('.').next().unwrap_or_default();
    if case["rule"].is_string() && method != text(case, "rule") {
        return Err(format!("reached {method}, not {}", text(case, "rule")));
    }
    let seen: Value = serde_json::from_str(text(&json, "requestJson")).map_err(|error| format!("{error}: {json}"))?;
    if let Some(length) = wanted["want_len"].as_u64() {
        return same(text(&seen, "s").len() as u64 == length, || "another length".to_owned());
    }
    same(equal(&seen, &wanted["want"]), || format!("the backend saw {seen}, not {}", wanted["want"]))
}

fn check_error(wanted: &Value, answer: &Whole) -> Result<(), String> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        same(equal(&json[key], value), || format!("{key} is not {value}: {answer:?}"))?;
    }
    Ok(())
}

fn same(right: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(why()) }
}

/// Equal as JSON values, where floats that a single-precision field rounded are equal too; `-0` is not `0`.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a == b && a.is_sign_negative() == b.is_sign_negative()) || (a - b).abs() < a.abs() * 1e-7
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => one == other,
    }
}
