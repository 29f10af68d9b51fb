//! Chat rooms as plain state: who is in, what was said lately, bounded. Without clock or sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::broadcast;
use tonic::Status;

use super::{
    fault,
    proto::demo::chat::v1::{ChatEvent, chat_event::Kind},
};

/// Most rooms; beyond it one that nobody is in makes place.
const ROOMS_MAX: usize = 1_000;
/// Most members of one room.
const MEMBERS_MAX: usize = 1_000;
/// What was said lately, for those who join.
const HISTORY_MAX: usize = 20;
/// Most events that wait for one slow member before it is cut off.
const BACKLOG_MAX: usize = 64;

/// All rooms; clones are the same ones.
#[derive(Clone, Default)]
pub(super) struct Rooms(Arc<Mutex<BTreeMap<String, Room>>>);

struct Room {
    members: usize,
    history: VecDeque<ChatEvent>,
    events: broadcast::Sender<ChatEvent>,
}

/// Somebody in a room; dropped, they have left.
pub(super) struct Member {
    rooms: Rooms,
    room: String,
    author: String,
}

impl Rooms {
    /// Lets somebody in and tells the room; returns what was said before, and what is said from now on, which begins
    /// with their own coming.
    pub(super) fn join(
        &self,
        room: &str,
        author: &str,
    ) -> Result<(Member, VecDeque<ChatEvent>, broadcast::Receiver<ChatEvent>), Status> {
        let mut rooms = self.lock();
        if !rooms.contains_key(room) {
            make_place(&mut rooms)?;
        }
        let entry = rooms.entry(room.to_owned()).or_insert_with(Room::new);
        if entry.members >= MEMBERS_MAX {
            return Err(fault::full("ROOM_FULL", format!("the room has {MEMBERS_MAX} members, and no place for more")));
        }
        entry.members += 1;
        let (earlier, live) = (entry.history.clone(), entry.events.subscribe());
        entry.tell(room, Kind::Joined, author, "");
        let member = Member { rooms: self.clone(), room: room.to_owned(), author: author.to_owned() };
        Ok((member, earlier, live))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Room>> {
        // No code that can panic runs under the lock; were it so, the rooms would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    pub(super) fn room(&self) -> &str {
        &self.room
    }

    pub(super) fn author(&self) -> &str {
        &self.author
    }

    /// Says something to everybody in the room, the speaker too.
    pub(super) fn say(&self, text: &str) {
        if let Some(room) = self.rooms.lock().get_mut(&self.room) {
            room.tell(&self.room, Kind::Said, &self.author, text);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(room) = self.rooms.lock().get_mut(&self.room) {
            room.members = room.members.saturating_sub(1);
            room.tell(&self.room, Kind::Left, &self.author, "");
        }
    }
}

impl Room {
    fn new() -> Self {
        Self { members: 0, history: VecDeque::new(), events: broadcast::channel(BACKLOG_MAX).0 }
    }

    fn tell(&mut self, room: &str, kind: Kind, author: &str, text: &str) {
        let event = ChatEvent {
            room: room.to_owned(),
            kind: kind.into(),
            author: author.to_owned(),
            text: text.to_owned(),
            members: i32::try_from(self.members).unwrap_or(i32::MAX),
            sent_at: Some(SystemTime::now().into()),
        };
        if kind == Kind::Said {
            if self.history.len() >= HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(ChatEvent { kind: Kind::Earlier.into(), members: 0, ..event.clone() });
        }
        // Fails only when nobody listens.
        let _ = self.events.send(event);
    }
}

/// Makes sure that there is place for one room more.
fn make_place(rooms: &mut BTreeMap<String, Room>) -> Result<(), Status> {
    if rooms.len() < ROOMS_MAX {
        return Ok(());
    }
    let empty = rooms.iter().find(|(_, room)| room.members == 0).map(|(name, _)| name.clone());
    match empty {
        Some(name) => {
            rooms.remove(&name);
            Ok(())
        }
        None => Err(fault::full(
            "TOO_MANY_ROOMS",
            format!("there are {ROOMS_MAX} rooms with somebody in them, and no more can be opened"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn everybody_in_the_room_hears_everybody_and_nobody_else_does() {
        let rooms = Rooms::default();
        let (ann, _, mut ann_hears) = rooms.join("quay", "ann").unwrap();
        let (_bob, _, mut bob_hears) = rooms.join("quay", "bob").unwrap();
        let (_eve, _, mut eve_hears) = rooms.join("lighthouse", "eve").unwrap();
        ann.say("hello");
        let heard = |events: &mut broadcast::Receiver<ChatEvent>| {
            std::iter::from_fn(|| events.try_recv().ok())
                .map(|event| (event.kind(), event.author, event.text, event.members))
                .collect::<Vec<_>>()
        };
        let event = |kind, author: &str, text: &str, members| (kind, author.to_owned(), text.to_owned(), members);
        assert_eq!(
            heard(&mut ann_hears),
            [
                event(Kind::Joined, "ann", "", 1),
                event(Kind::Joined, "bob", "", 2),
                event(Kind::Said, "ann", "hello", 2)
            ]
        );
        assert_eq!(heard(&mut bob_hears), [event(Kind::Joined, "bob", "", 2), event(Kind::Said, "ann", "hello", 2)]);
        assert_eq!(heard(&mut eve_hears), [event(Kind::Joined, "eve", "", 1)]);
        drop(ann);
        assert_eq!(heard(&mut bob_hears), [event(Kind::Left, "ann", "", 1)]);
    }

    #[test]
    fn who_joins_later_hears_the_last_of_what_was_said() {
        let rooms = Rooms::default();
        let (ann, ..) = rooms.join("quay", "ann").unwrap();
        for number in 0..=HISTORY_MAX {
            ann.say(&number.to_string());
        }
        let (_bob, earlier, _) = rooms.join("quay", "bob").unwrap();
        assert_eq!(earlier.len(), HISTORY_MAX);
        assert_eq!(earlier.front().map(|event| (event.kind(), event.text.as_str())), Some((Kind::Earlier, "1")));
    }

    #[test]
    fn rooms_are_bounded_and_one_that_nobody_is_in_makes_place() {
        let rooms = Rooms::default();
        let mut members: Vec<_> =
            (0..ROOMS_MAX).map(|number| rooms.join(&format!("room {number}"), "ann").unwrap().0).collect();
        assert_eq!(rooms.join("one more", "ann").err().unwrap().code(), Code::ResourceExhausted);
        members.pop();
        assert!(rooms.join("one more", "ann").is_ok());
        assert_eq!(rooms.lock().len(), ROOMS_MAX);
    }

    #[test]
    fn members_of_a_room_are_bounded() {
        let rooms = Rooms::default();
        let _members: Vec<_> = (0..MEMBERS_MAX).map(|_| rooms.join("quay", "ann").unwrap()).collect();
        assert_eq!(rooms.join("quay", "bob").err().unwrap().code(), Code::ResourceExhausted);
    }
}
