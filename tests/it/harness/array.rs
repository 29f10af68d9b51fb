//! Reads the elements of a JSON array as they come: `[m1,m2,…]`.

use serde_json::Value;

use super::http::{Broken, Download};

pub struct Reader {
    download: Download,
    held: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before `[`.
    Start,
    /// After `[`: an element or `]`.
    First,
    /// After an element: `,` and an element, or `]`.
    Next,
    /// After `]`.
    Closed,
}

impl Reader {
    pub fn new(download: Download) -> Self {
        Self { download, held: Vec::new(), state: State::Start }
    }

    /// The next element; none where the array is closed and the body ends properly.
    pub async fn next(&mut self) -> Option<Result<Value, Broken>> {
        loop {
            if let Some(element) = self.take() {
                return Some(Ok(element));
            }
            match self.download.piece().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    assert_eq!(self.state, State::Closed, "the body ended properly within the array");
                    assert!(self.held.is_empty(), "more after the array: {:?}", String::from_utf8_lossy(&self.held));
                    return None;
                }
            }
        }
    }

    fn take(&mut self) -> Option<Value> {
        loop {
            let skip = self.held.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.held.drain(..skip);
            match (self.state, *self.held.first()?) {
                (State::Start, b'[') => self.step(State::First),
                (State::First | State::Next, b']') => self.step(State::Closed),
                (State::Next, b',') => return self.element(1),
                (State::First, _) => return self.element(0),
                (state, byte) => panic!("{:?} in an array at {state:?}", char::from(byte)),
            }
        }
    }

    fn step(&mut self, next: State) {
        self.held.remove(0);
        self.state = next;
    }

    /// An element behind `skip` bytes, where it is all there.
    fn element(&mut self, skip: usize) -> Option<Value> {
        let mut values = serde_json::Deserializer::from_slice(&self.held[skip..]).into_iter::<Value>();
        match values.next()? {
            Ok(value) => {
                let end = skip + values.byte_offset();
                self.held.drain(..end);
                self.state = State::Next;
                Some(value)
            }
            Err(error) if error.is_eof() => None,
            Err(error) => panic!("an element is no JSON ({error}): {:?}", String::from_utf8_lossy(&self.held)),
        }
    }
}
