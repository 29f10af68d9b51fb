//! The posts, who likes them and what happened to them lately: plain state, bounded, without clock or sockets.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::broadcast;
use tonic::Status;

use super::{
    fault,
    proto::demo::liker::v1::{LikeEvent, Post, like_event::Kind},
};

/// Most posts kept; beyond it an import is refused.
pub(super) const POSTS_MAX: usize = 1_000;
/// Most likes of named likers, over all posts: each is remembered by name.
const LIKERS_MAX: usize = 100_000;
/// Most events remembered for those who come back.
const HISTORY_MAX: usize = 256;
/// Most events that wait for one slow watcher before it is cut off.
const BACKLOG_MAX: usize = 256;
/// Most watchers at a time.
const WATCHERS_MAX: usize = 10_000;

/// All posts, oldest first. Invariant: the id of the post at `index` is `index + 1`.
pub(super) struct Posts {
    entries: Vec<Entry>,
    /// Named likes, over all posts.
    likers: usize,
    sequence: u64,
    history: VecDeque<LikeEvent>,
    events: broadcast::Sender<LikeEvent>,
}

struct Entry {
    /// `liked` is false here: it depends on who asks.
    post: Post,
    likers: BTreeSet<Box<str>>,
}

/// What a watcher gets: some events at once, the others as they happen.
pub(super) struct Watch {
    pub(super) first: VecDeque<LikeEvent>,
    pub(super) live: broadcast::Receiver<LikeEvent>,
}

impl Posts {
    /// Without posts; the first change gets the sequence after `sequence`.
    pub(super) fn new(sequence: u64) -> Self {
        let (events, _) = broadcast::channel(BACKLOG_MAX);
        Self { entries: Vec::new(), likers: 0, sequence, history: VecDeque::new(), events }
    }

    pub(super) fn list(&self, liker: &str) -> Vec<Post> {
        self.entries.iter().map(|entry| entry.seen_by(liker)).collect()
    }

    pub(super) fn get(&self, id: &str, liker: &str) -> Result<Post, Status> {
        let index = self.index(id)?;
        self.entries.get(index).map(|entry| entry.seen_by(liker)).ok_or_else(|| fault::no_such_post(id))
    }

    /// Adds a post and gives it its id.
    pub(super) fn publish(&mut self, mut post: Post) -> Result<String, Status> {
        if self.entries.len() >= POSTS_MAX {
            let message = format!("there are {POSTS_MAX} posts, and no room for more");
            return Err(fault::full("TOO_MANY_POSTS", message));
        }
        let id = (self.entries.len() + 1).to_string();
        post.id.clone_from(&id);
        self.entries.push(Entry { post: post.clone(), likers: BTreeSet::new() });
        self.happened(Kind::Published, post);
        Ok(id)
    }

    /// Likes a post; a named liker counts once.
    pub(super) fn like(&mut self, id: &str, liker: &str) -> Result<Post, Status> {
        let likers = self.likers;
        let entry = self.entry_mut(id)?;
        if !liker.is_empty() {
            if entry.likers.contains(liker) {
                return Ok(entry.seen_by(liker));
            }
            if likers >= LIKERS_MAX {
                return Err(fault::full("TOO_MANY_LIKERS", format!("{LIKERS_MAX} likes are remembered, and no more")));
            }
            entry.likers.insert(liker.into());
        }
        entry.post.likes = entry.post.likes.saturating_add(1);
        let (seen, post) = (entry.seen_by(liker), entry.post.clone());
        self.likers += usize::from(!liker.is_empty());
        self.happened(Kind::Liked, post);
        Ok(seen)
    }

    /// Takes a like back; of a named liker only its own.
    pub(super) fn unlike(&mut self, id: &str, liker: &str) -> Result<Post, Status> {
        let entry = self.entry_mut(id)?;
        if liker.is_empty() {
            let named = i32::try_from(entry.likers.len()).unwrap_or(i32::MAX);
            if entry.post.likes <= named {
                return Err(fault::not_now("NO_LIKE", "there is no like without a name to take back"));
            }
        } else if !entry.likers.remove(liker) {
            return Ok(entry.seen_by(liker));
        }
        entry.post.likes -= 1;
        let (seen, post) = (entry.seen_by(liker), entry.post.clone());
        self.likers -= usize::from(!liker.is_empty());
        self.happened(Kind::Unliked, post);
        Ok(seen)
    }

    /// Begins to watch: after an event that is still remembered, or else with a snapshot.
    pub(super) fn watch(&self, after_sequence: u64) -> Result<Watch, Status> {
        if self.events.receiver_count() >= WATCHERS_MAX {
            return Err(fault::full(
                "TOO_MANY_WATCHERS",
                format!("{WATCHERS_MAX} callers are watching, and no more can"),
            ));
        }
        let first = self.missed_since(after_sequence).unwrap_or_else(|| self.snapshot());
        Ok(Watch { first, live: self.events.subscribe() })
    }

    /// The events after a sequence; none where one of them is forgotten, or the sequence is of another life.
    fn missed_since(&self, sequence: u64) -> Option<VecDeque<LikeEvent>> {
        let oldest = self.history.front()?.sequence;
        let known = sequence.saturating_add(1) >= oldest && sequence <= self.sequence;
        known.then(|| self.history.iter().filter(|event| event.sequence > sequence).cloned().collect())
    }

    fn snapshot(&self) -> VecDeque<LikeEvent> {
        let event =
            |entry: &Entry| LikeEvent { sequence: 0, kind: Kind::Snapshot.into(), post: Some(entry.post.clone()) };
        let mut events: VecDeque<_> = self.entries.iter().map(event).collect();
        if let Some(last) = events.back_mut() {
            last.sequence = self.sequence;
        }
        events
    }

    fn happened(&mut self, kind: Kind, post: Post) {
        self.sequence += 1;
        let event = LikeEvent { sequence: self.sequence, kind: kind.into(), post: Some(post) };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(event.clone());
        // Fails only when nobody watches.
        let _ = self.events.send(event);
    }

    fn entry_mut(&mut self, id: &str) -> Result<&mut Entry, Status> {
        let index = self.index(id)?;
        self.entries.get_mut(index).ok_or_else(|| fault::no_such_post(id))
    }

    /// Where the post with this id stands; only the id as it was given is one (not `01`, not `+1`).
    fn index(&self, id: &str) -> Result<usize, Status> {
        let index = id.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| Some((index, self.entries.get(index)?))) {
            Some((index, entry)) if entry.post.id == id => Ok(index),
            _ => Err(fault::no_such_post(id)),
        }
    }
}

impl Entry {
    fn seen_by(&self, liker: &str) -> Post {
        Post { liked: self.likers.contains(liker), ..self.post.clone() }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn posts(count: usize) -> Posts {
        let mut posts = Posts::new(100);
        for number in 0..count {
            posts.publish(Post { title: format!("post {number}"), ..Post::default() }).unwrap();
        }
        posts
    }

    fn sequences(watch: &Watch) -> Vec<u64> {
        watch.first.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn a_named_liker_counts_once_and_takes_back_only_its_own() {
        let mut posts = posts(1);
        assert_eq!(posts.like("1", "ann").unwrap().likes, 1);
        assert_eq!(posts.like("1", "ann").unwrap().likes, 1);
        assert_eq!(posts.unlike("1", "bob").unwrap().likes, 1);
        assert!(posts.get("1", "ann").unwrap().liked);
        assert!(!posts.get("1", "bob").unwrap().liked);
        assert_eq!(posts.unlike("1", "ann").unwrap().likes, 0);
        assert_eq!(posts.likers, 0);
    }

    #[test]
    fn a_like_without_a_name_counts_every_time_and_named_ones_are_safe_from_it() {
        let mut posts = posts(1);
        posts.like("1", "ann").unwrap();
        assert_eq!(posts.like("1", "").unwrap().likes, 2);
        assert_eq!(posts.unlike("1", "").unwrap().likes, 1);
        assert_eq!(posts.unlike("1", "").unwrap_err().code(), Code::FailedPrecondition);
    }

    #[test]
    fn only_an_id_as_it_was_given_finds_a_post() {
        let posts = posts(2);
        assert_eq!(posts.get("2", "").unwrap().title, "post 1");
        for id in ["", "0", "3", "01", "+1", "-1", "1 ", "one", "99999999999999999999999"] {
            assert_eq!(posts.get(id, "").unwrap_err().code(), Code::NotFound, "{id:?}");
        }
    }

    #[test]
    fn the_number_of_posts_is_bounded() {
        let mut posts = posts(POSTS_MAX);
        assert_eq!(posts.publish(Post::default()).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(posts.list("").len(), POSTS_MAX);
    }

    #[test]
    fn a_watcher_begins_with_a_snapshot_whose_last_event_alone_has_a_sequence() {
        let watch = posts(3).watch(0).unwrap();
        assert_eq!(sequences(&watch), [0, 0, 103]);
    }

    #[test]
    fn a_watcher_that_comes_back_gets_what_it_missed() {
        let mut posts = posts(1);
        posts.like("1", "ann").unwrap();
        posts.like("1", "bob").unwrap();
        assert_eq!(sequences(&posts.watch(101).unwrap()), [102, 103]);
        assert!(sequences(&posts.watch(103).unwrap()).is_empty());
    }

    #[test]
    fn a_watcher_from_another_life_or_from_too_long_ago_gets_a_snapshot() {
        let mut posts = posts(1);
        for _ in 0..HISTORY_MAX {
            posts.like("1", "").unwrap();
        }
        let now = 101 + HISTORY_MAX as u64;
        assert_eq!(sequences(&posts.watch(101).unwrap()).len(), HISTORY_MAX);
        for sequence in [1, 100, now + 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(sequences(&posts.watch(sequence).unwrap()), [now], "{sequence}");
        }
        assert_eq!(posts.history.len(), HISTORY_MAX);
    }

    #[test]
    fn a_change_reaches_watchers_and_asking_for_what_is_already_so_does_not() {
        let mut posts = posts(1);
        let mut watch = posts.watch(0).unwrap();
        posts.like("1", "ann").unwrap();
        posts.like("1", "ann").unwrap();
        let event = watch.live.try_recv().unwrap();
        assert_eq!((event.kind(), event.sequence), (Kind::Liked, 102));
        assert!(!event.post.unwrap().liked);
        assert!(watch.live.try_recv().is_err());
    }
}
