//! Comments of proto files, by the full name of what they stand at. Knows nothing of how they are shown.

use std::collections::HashMap;

use prost::Message;

use super::{
    BUILTIN,
    raw::{self, Damaged, Field, Fields},
};
use crate::limits::DEPTH_MAX;

/// The comments of some sets. A field is named `pkg.Message.field`, a value `pkg.Enum.VALUE`.
#[derive(Debug, Default)]
pub struct Comments(HashMap<String, String>);

impl Comments {
    /// Reads serialized sets and what is built in. Of a symbol that several have, the first comment stays; a file without
    /// source information has none.
    pub fn read<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        const FILE: u32 = 1;
        let mut comments = Self::default();
        for set in std::iter::once(BUILTIN).chain(sets) {
            for field in Fields::of(set) {
                if let Ok(Field { number: FILE, value: Some(file), .. }) = field {
                    // What is damaged was refused when the set was merged.
                    let _ = comments.read_file(file);
                }
            }
        }
        comments
    }

    /// The comment of a symbol.
    pub fn of(&self, full_name: &str) -> Option<&str> {
        self.0.get(full_name).map(String::as_str)
    }

    fn read_file(&mut self, file: &[u8]) -> Result<(), Damaged> {
        const PACKAGE: u32 = 2;
        const SOURCE_CODE_INFO: u32 = 9;
        let (mut package, mut located) = ("", HashMap::new());
        for field in Fields::of(file) {
            match field? {
                Field { number: PACKAGE, value: Some(name), .. } => package = raw::text(name)?,
                Field { number: SOURCE_CODE_INFO, value: Some(info), .. } => locate(info, &mut located)?,
                _ => {}
            }
        }
        if located.is_empty() {
            return Ok(());
        }
        self.walk(file, Kind::File, package, &mut Vec::new(), &mut located)
    }

    /// Gives what is declared in a descriptor its comments; `path` leads to the descriptor.
    fn walk(
        &mut self,
        descriptor: &[u8],
        kind: Kind,
        scope: &str,
        path: &mut Vec<i32>,
        located: &mut HashMap<Vec<i32>, String>,
    ) -> Result<(), Damaged> {
        let mut counts = HashMap::new();
        for field in Fields::of(descriptor) {
            let Field { number, value: Some(child), .. } = field? else { continue };
            let Some(child_kind) = kind.child(number).filter(|_| path.len() < DEPTH_MAX * 2) else { continue };
            let count: &mut i32 = counts.entry(number).or_default();
            path.extend([i32::try_from(number).map_err(|_| Damaged)?, *count]);
            *count += 1;
            let own = raw::name(child)?;
            let name = if scope.is_empty() { own.to_owned() } else { format!("{scope}.{own}") };
            if let Some(comment) = located.remove(path) {
                self.0.entry(name.clone()).or_insert(comment);
            }
            self.walk(child, child_kind, &name, path, located)?;
            path.truncate(path.len() - 2);
        }
        Ok(())
    }
}

/// What can hold declarations (descriptor.proto).
#[derive(Clone, Copy)]
enum Kind {
    File,
    Message,
    Enum,
    Service,
    /// A field, a value, a method.
    Leaf,
}

impl Kind {
    /// What a field of the descriptor declares.
    fn child(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::File, 4) | (Self::Message, 3) => Some(Self::Message),
            (Self::File, 5) | (Self::Message, 4) => Some(Self::Enum),
            (Self::File, 6) => Some(Self::Service),
            (Self::File, 7) | (Self::Message, 2 | 6) | (Self::Enum | Self::Service, 2) => Some(Self::Leaf),
            _ => None,
        }
    }
}

/// Adds the comments of a serialized `SourceCodeInfo` by their paths. One location is decoded at a time: most have no
/// comment.
fn locate(info: &[u8], located: &mut HashMap<Vec<i32>, String>) -> Result<(), Damaged> {
    const LOCATION: u32 = 1;
    for field in Fields::of(info) {
        let Field { number: LOCATION, value: Some(location), .. } = field? else { continue };
        let location = wire::Location::decode(location).map_err(|_| Damaged)?;
        let texts = [location.leading_comments, location.trailing_comments];
        if let Some(text) = texts.iter().map(|text| tidy(text)).find(|text| !text.is_empty()) {
            located.entry(location.path).or_insert(text);
        }
    }
    Ok(())
}

/// The text of a comment: without the space behind each `//`, and without what is marked as not for the public
/// (AIP-192, "Internal comments").
fn tidy(comment: &str) -> String {
    let mut public = String::new();
    let mut rest = comment;
    while let Some((before, internal)) = rest.split_once("(--") {
        public.push_str(before);
        rest = internal.split_once("--)").map_or("", |(_, after)| after);
    }
    public.push_str(rest);
    let lines: Vec<&str> = public.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

/// descriptor.proto as it is on the wire.
mod wire {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Location {
        #[prost(int32, repeated, tag = "1")]
        pub(super) path: Vec<i32>,
        #[prost(string, tag = "3")]
        pub(super) leading_comments: String,
        #[prost(string, tag = "4")]
        pub(super) trailing_comments: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stand_under_the_names_of_what_they_describe() {
        let comments = Comments::read([include_bytes!(concat!(env!("OUT_DIR"), "/demo.binpb")).as_slice()]);
        for (name, text) in [
            ("demo.liker.v1.Liker.ListPosts", "All posts, oldest first."),
            ("demo.liker.v1.Post.liked", "Whether the liker named"),
            ("demo.chat.v1.ChatEvent.Kind.EARLIER", "Said before this caller joined."),
            ("demo.chat.v1.Chat.Join", "Joins a room for as long as the call lasts. The first message names the room"),
            ("google.rpc.Status", "The `Status` type defines"),
        ] {
            assert!(
                comments.of(name).is_some_and(|comment| comment.starts_with(text)),
                "{name}: {:?}",
                comments.of(name)
            );
        }
        assert_eq!(comments.of("demo.liker.v1.Post"), None);
    }

    #[test]
    fn a_trailing_comment_stands_in_for_a_leading_one() {
        let comments = Comments::read([include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb")).as_slice()]);
        assert_eq!(comments.of("tidegate.test.v1.StreamReq.count"), Some("messages to send"));
    }

    #[test]
    fn comments_lose_their_margin_and_what_is_internal() {
        for (comment, expected) in [
            (" One line.\n", "One line."),
            (" Two\n   lines, indented.  \n\n And a paragraph.\n", "Two\n  lines, indented.\n\nAnd a paragraph."),
            (" Public. (-- api-linter: off --) Also.\n", "Public.  Also."),
            (" (-- never closed\n secret\n", ""),
            ("*\n", "*"),
        ] {
            assert_eq!(tidy(comment), expected);
        }
    }
}
