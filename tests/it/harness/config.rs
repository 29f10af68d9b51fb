//! Configuration files for gateways under test.

use std::{fmt::Write, net::SocketAddr};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::{Gateway, temp::TempDir};
use crate::proto::DESCRIPTOR_SET;

/// A file in the making: a TLS and a plain listener, an admin address, and what a test adds.
pub struct Config {
    upstreams: String,
    limits: String,
    workers: usize,
    /// Of the TLS and the plain listener; zero: any.
    ports: [u16; 2],
    /// Whole top-level sections, as text.
    rest: String,
}

impl Config {
    pub fn new() -> Self {
        Self { upstreams: String::new(), limits: String::new(), workers: 1, ports: [0, 0], rest: String::new() }
    }

    /// The test services at this address, their schema from the descriptor set.
    pub fn to(backend: SocketAddr) -> Self {
        Self::new().upstream("test", backend, &format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}"))
    }

    pub fn upstream(self, name: &str, backend: SocketAddr, lines: &str) -> Self {
        self.upstream_at(name, &[format!("http://{backend}")], lines)
    }

    /// An upstream of several endpoints, with more keys, one a line.
    pub fn upstream_at(mut self, name: &str, endpoints: &[String], lines: &str) -> Self {
        let _ = writeln!(self.upstreams, "  {name}:\n    endpoints: {endpoints:?}");
        for line in lines.lines() {
            let _ = writeln!(self.upstreams, "    {line}");
        }
        self
    }

    /// `key: value` under `limits:`.
    pub fn limit(mut self, key: &str, value: &str) -> Self {
        let _ = writeln!(self.limits, "  {key}: {value}");
        self
    }

    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The ports of a gateway that was there before, and is its successor's now.
    pub fn in_place_of(mut self, gateway: &Gateway) -> Self {
        self.ports = [gateway.tls.port(), gateway.plain.port()];
        self
    }

    /// A whole section, as it stands in the file.
    pub fn section(mut self, text: &str) -> Self {
        self.rest.push_str(text);
        self.rest.push('\n');
        self
    }

    /// Messages of more than 64 KiB are too large both ways.
    pub fn small_messages(self) -> Self {
        self.limit("request_message_bytes_max", "64KiB").limit("reply_message_bytes_max", "64KiB")
    }

    /// The file's text; the certificate is made beside it.
    pub fn render(&self, dir: &TempDir) -> String {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
        let cert = dir.write("cert.pem", cert.pem());
        let key = dir.write("key.pem", signing_key.serialize_pem());
        let [tls, plain] = self.ports;
        let mut text = format!(
            "listeners:\n  - address: 127.0.0.1:{tls}\n    tls: {{ certificates: [ {{ cert: {cert:?}, key: {key:?} }} ] }}\n  \
             - address: 127.0.0.1:{plain}\nadmin: {{ address: 127.0.0.1:0 }}\nworkers: {}\n",
            self.workers
        );
        for (section, lines) in [("upstreams", &self.upstreams), ("limits", &self.limits)] {
            if !lines.is_empty() {
                let _ = write!(text, "{section}:\n{lines}");
            }
        }
        text + &self.rest
    }
}
