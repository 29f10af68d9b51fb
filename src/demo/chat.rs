//! `demo.chat.v1.Chat` as a tonic service; knows nothing of browsers.

use std::{collections::VecDeque, pin::Pin};

use futures_util::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    fault,
    proto::demo::chat::v1::{ChatEvent, ChatMessage, chat_server},
    rooms::{Member, Rooms},
    text,
};

const ROOM_BYTES_MAX: usize = 64;
const AUTHOR_CHARACTERS_MAX: usize = 40;
const TEXT_CHARACTERS_MAX: usize = 1_000;

pub(super) struct Chat {
    rooms: Rooms,
    /// Cancelled when the service goes down.
    ending: CancellationToken,
}

impl Chat {
    pub(super) fn new(ending: CancellationToken) -> Self {
        Self { rooms: Rooms::default(), ending }
    }

    /// Lets the caller in by its first message.
    fn enter(&self, first: &ChatMessage, messages: Streaming<ChatMessage>) -> Result<Visit, Status> {
        if first.room.is_empty() || first.room.len() > ROOM_BYTES_MAX {
            return Err(fault::invalid("room", format!("must have 1 to {ROOM_BYTES_MAX} bytes")));
        }
        let author = text::line("author", &first.author, AUTHOR_CHARACTERS_MAX)?;
        let said = match first.text.as_str() {
            "" => None,
            said => Some(text::line("text", said, TEXT_CHARACTERS_MAX)?),
        };
        let (member, earlier, live) = self.rooms.join(&first.room, &author)?;
        if let Some(said) = said {
            member.say(&said);
        }
        Ok(Visit { member, earlier, live, messages, ending: self.ending.clone() })
    }
}

#[tonic::async_trait]
impl chat_server::Chat for Chat {
    type JoinStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, Status>> + Send>>;

    async fn join(&self, request: Request<Streaming<ChatMessage>>) -> Result<Response<Self::JoinStream>, Status> {
        let mut messages = request.into_inner();
        let first = tokio::select! {
            first = messages.message() => first?,
            () = self.ending.cancelled() => return Err(fault::going_down()),
        };
        let first = first.ok_or_else(|| fault::invalid("room", "the first message must name it, and none came"))?;
        let events = stream::try_unfold(self.enter(&first, messages)?, |mut visit| async move {
            Ok(visit.next().await?.map(|event| (event, visit)))
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// One call: somebody in a room, their words on the way in and everybody's on the way out. Only asked for the next
/// event does it read the next message, so a caller that reads nothing is not read from either.
struct Visit {
    member: Member,
    earlier: VecDeque<ChatEvent>,
    live: broadcast::Receiver<ChatEvent>,
    messages: Streaming<ChatMessage>,
    ending: CancellationToken,
}

impl Visit {
    /// The next event; none when the caller has left and has heard everything.
    async fn next(&mut self) -> Result<Option<ChatEvent>, Status> {
        if let Some(event) = self.earlier.pop_front() {
            return Ok(Some(event));
        }
        loop {
            // What is to be heard comes first: so one's own words come back before the end of one's stream is seen.
            tokio::select! {
                biased;
                () = self.ending.cancelled() => return Err(fault::going_down()),
                event = self.live.recv() => return event.map(Some).map_err(|error| match error {
                    RecvError::Lagged(missed) => {
                        fault::full("TOO_SLOW", format!("too slow: {missed} events were missed, and the call is cut off"))
                    }
                    RecvError::Closed => fault::going_down(),
                }),
                message = self.messages.message() => match message? {
                    Some(message) => self.say(&message)?,
                    None => return Ok(None),
                },
            }
        }
    }

    fn say(&self, message: &ChatMessage) -> Result<(), Status> {
        if message.room != self.member.room() {
            return Err(fault::invalid(
                "room",
                format!("cannot change during the call, and is \"{}\"", self.member.room()),
            ));
        }
        if !message.author.is_empty() && message.author.trim() != self.member.author() {
            let description = format!("cannot change during the call, and is \"{}\"", self.member.author());
            return Err(fault::invalid("author", description));
        }
        self.member.say(&text::line("text", &message.text, TEXT_CHARACTERS_MAX)?);
        Ok(())
    }
}
