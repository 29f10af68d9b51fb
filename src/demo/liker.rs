//! `demo.liker.v1.Liker` as a tonic service; knows nothing of browsers.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    fault, picture,
    posts::{Posts, Watch},
    proto::{
        demo::liker::v1::{
            GetPictureRequest, GetPostRequest, ImportPostsRequest, ImportPostsResponse, LikeEvent, LikeRequest,
            ListPostsRequest, ListPostsResponse, Post, UnlikeRequest, WatchLikesRequest, get_picture_request::Format,
            liker_server,
        },
        google::api::HttpBody,
    },
    text,
};

const TITLE_CHARACTERS_MAX: usize = 120;
const AUTHOR_CHARACTERS_MAX: usize = 40;
const LIKER_BYTES_MAX: usize = 64;

/// What is there from the start: title, author, likes.
const FIRST_POSTS: [(&str, &str, i32); 6] = [
    ("Low tide at six", "Mara Lindqvist", 41),
    ("What the fog left behind", "Tobias Ferreira", 27),
    ("The harbour before breakfast", "Ines Okafor", 63),
    ("Lamps along the breakwater", "Jun Takahara", 18),
    ("Nine waves, and then a tenth", "Sofia Brandt", 35),
    ("A good day to mend nets", "Callum Reyes", 52),
];

/// The posts, shared by all calls.
pub(super) struct Liker {
    posts: Mutex<Posts>,
    /// Cancelled when the service goes down.
    ending: CancellationToken,
}

impl Liker {
    pub(super) fn new(ending: CancellationToken) -> Self {
        // Microseconds since 1970: grows over restarts, and stays exact in a browser's doubles until 2255.
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut posts = Posts::new(u64::try_from(since_epoch.as_micros()).unwrap_or_default());
        for (title, author, likes) in FIRST_POSTS {
            // There is room for the first ones.
            let _ = posts.publish(Post { likes, ..new_post(title.to_owned(), author.to_owned()) });
        }
        Self { posts: Mutex::new(posts), ending }
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        // No code that can panic runs under the lock; were it so, the posts would still be whole.
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn import(&self, request: &ImportPostsRequest) -> Result<String, Status> {
        let title = text::line("title", &request.title, TITLE_CHARACTERS_MAX)?;
        let author = text::line("author", &request.author, AUTHOR_CHARACTERS_MAX)?;
        self.posts().publish(new_post(title, author))
    }
}

#[tonic::async_trait]
impl liker_server::Liker for Liker {
    type WatchLikesStream = Pin<Box<dyn Stream<Item = Result<LikeEvent, Status>> + Send>>;

    async fn list_posts(&self, request: Request<ListPostsRequest>) -> Result<Response<ListPostsResponse>, Status> {
        let liker = liker(&request.get_ref().liker)?;
        Ok(Response::new(ListPostsResponse { posts: self.posts().list(liker) }))
    }

    async fn get_post(&self, request: Request<GetPostRequest>) -> Result<Response<Post>, Status> {
        let GetPostRequest { id, liker: name } = request.get_ref();
        Ok(Response::new(self.posts().get(id, liker(name)?)?))
    }

    async fn like(&self, request: Request<LikeRequest>) -> Result<Response<Post>, Status> {
        let LikeRequest { id, liker: name } = request.get_ref();
        Ok(Response::new(self.posts().like(id, liker(name)?)?))
    }

    async fn unlike(&self, request: Request<UnlikeRequest>) -> Result<Response<Post>, Status> {
        let UnlikeRequest { id, liker: name } = request.get_ref();
        Ok(Response::new(self.posts().unlike(id, liker(name)?)?))
    }

    async fn watch_likes(
        &self,
        request: Request<WatchLikesRequest>,
    ) -> Result<Response<Self::WatchLikesStream>, Status> {
        let watcher =
            Watcher { watch: self.posts().watch(request.get_ref().after_sequence)?, ending: self.ending.clone() };
        let events = stream::try_unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await?;
            Ok(Some((event, watcher)))
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn import_posts(
        &self,
        request: Request<Streaming<ImportPostsRequest>>,
    ) -> Result<Response<ImportPostsResponse>, Status> {
        let mut requests = request.into_inner();
        let mut ids = Vec::new();
        loop {
            let next = tokio::select! {
                next = requests.message() => next?,
                () = self.ending.cancelled() => return Err(fault::going_down()),
            };
            match next {
                // `publish` bounds how many there can be.
                Some(request) => ids.push(self.import(&request)?),
                None => break,
            }
        }
        let imported = i32::try_from(ids.len()).unwrap_or(i32::MAX);
        Ok(Response::new(ImportPostsResponse { imported, ids }))
    }

    async fn get_picture(&self, request: Request<GetPictureRequest>) -> Result<Response<HttpBody>, Status> {
        let request = request.get_ref();
        self.posts().get(&request.id, "")?;
        let (content_type, data) = match request.format() {
            Format::Svg => ("image/svg+xml", picture::svg(&request.id).into_bytes()),
            Format::Png => ("image/png", picture::png(&request.id)),
        };
        Ok(Response::new(HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() }))
    }
}

/// One caller's view of what happens; ends only with an error, or when the caller goes away.
struct Watcher {
    watch: Watch,
    ending: CancellationToken,
}

impl Watcher {
    async fn next(&mut self) -> Result<LikeEvent, Status> {
        if let Some(event) = self.watch.first.pop_front() {
            return Ok(event);
        }
        tokio::select! {
            event = self.watch.live.recv() => event.map_err(|error| match error {
                RecvError::Lagged(_) => fault::too_slow_to_watch(),
                RecvError::Closed => fault::going_down(),
            }),
            () = self.ending.cancelled() => Err(fault::going_down()),
        }
    }
}

fn liker(name: &str) -> Result<&str, Status> {
    if name.len() > LIKER_BYTES_MAX {
        return Err(fault::invalid("liker", format!("must have at most {LIKER_BYTES_MAX} bytes")));
    }
    Ok(name)
}

fn new_post(title: String, author: String) -> Post {
    Post { title, author, published_at: Some(SystemTime::now().into()), ..Post::default() }
}
