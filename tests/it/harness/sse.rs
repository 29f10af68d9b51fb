//! Reads Server-Sent Events as WHATWG HTML §9.2.6 has it, and keeps what browsers throw away.

use super::http::{Broken, Download};

/// One block of lines up to an empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: Option<String>,
    /// The `data` lines, joined by line feeds.
    pub data: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub comment: Option<String>,
}

pub struct Reader {
    download: Download,
    held: Vec<u8>,
}

impl Reader {
    pub fn new(download: Download) -> Self {
        Self { download, held: Vec::new() }
    }

    /// The next event; none at a proper end of the body.
    pub async fn next(&mut self) -> Option<Result<Event, Broken>> {
        loop {
            if let Some(end) = self.held.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.held.drain(..end + 2).collect();
                return Some(Ok(parse(std::str::from_utf8(&block).expect("an event stream is UTF-8"))));
            }
            match self.download.piece().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    assert!(
                        self.held.is_empty(),
                        "half an event at the end: {:?}",
                        String::from_utf8_lossy(&self.held)
                    );
                    return None;
                }
            }
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => event.comment = Some(value),
            "event" => event.name = Some(value),
            "id" => event.id = Some(value),
            "retry" => event.retry = Some(value.parse().unwrap_or_else(|_| panic!("retry is a number: {line:?}"))),
            "data" => {
                event.data = Some(event.data.map_or_else(|| value.clone(), |before| format!("{before}\n{value}")));
            }
            _ => panic!("no field of an event stream: {line:?}"),
        }
    }
    event
}
