//! Bytes as they are, over HTTP/1.1: for requests that no client library would send.

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Gateway, Via, Whole,
    http::{Broken, Socket, dial},
    within,
};

/// A socket on which requests go out byte for byte.
pub struct RawConn {
    socket: Box<dyn Socket>,
    held: Vec<u8>,
}

impl RawConn {
    pub async fn open(gateway: &Gateway, via: Via) -> Self {
        Self { socket: dial(gateway.address(via), via).await, held: Vec::new() }
    }

    /// Writes what the peer still takes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.socket.write_all(bytes.as_ref())).await;
    }

    /// A request line and a host, and the answer.
    pub async fn request(&mut self, line: &str) -> Whole {
        self.write(format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.answer(line.starts_with("HEAD")).await.unwrap_or_else(|| panic!("{line}: closed without an answer"))
    }

    /// The next answer; none where the peer closed before one.
    pub async fn answer(&mut self, to_head: bool) -> Option<Whole> {
        let end = loop {
            if let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.held.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse::<StatusCode>().expect("a status");
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        let mut broken = None;
        let body = if to_head || status == StatusCode::NO_CONTENT {
            Vec::new()
        } else if headers.get("transfer-encoding").is_some() {
            let (body, whole) = self.chunks().await;
            broken = (!whole).then(|| Broken::Connection("within the chunks".to_owned()));
            body
        } else {
            let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
            self.take(length).await?
        };
        Some(Whole { status, headers, body: body.into(), broken, trailers: HeaderMap::new() })
    }

    /// True where the peer closes instead of saying more.
    pub async fn is_closed(&mut self) -> bool {
        self.held.is_empty() && self.more().await.is_none()
    }

    /// A chunked body, and whether it came to its end.
    async fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Some(chunk) if chunk.is_empty() => return (body, true),
                Some(chunk) => body.extend(chunk),
                None => return (body, false),
            }
        }
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(end) = self.held.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            self.more().await?;
        };
        let line: Vec<u8> = self.held.drain(..end + 2).collect();
        let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).expect("a chunk's length");
        let chunk = self.take(length).await?;
        self.take(2).await?;
        Some(chunk)
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.held.len() < length {
            self.more().await?;
        }
        Some(self.held.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 8192];
        match within(self.socket.read(&mut piece)).await {
            Ok(0) | Err(_) => None,
            Ok(length) => {
                self.held.extend_from_slice(&piece[..length]);
                Some(())
            }
        }
    }
}
