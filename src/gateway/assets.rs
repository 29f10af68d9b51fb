//! Files served as they are: held in memory, found by their whole path, so that no path can lead elsewhere.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use tokio::task;

use super::{
    deflate, etag,
    reply::{self, ReplyBody},
    request::Call,
};
use crate::{
    coding::{self, Coding, Levels},
    config::{StaticDir, StaticFiles},
};

/// All files together, in bytes; they are held in memory.
const TOTAL_BYTES_MAX: u64 = 64 << 20;

/// Files by URL path.
#[derive(Debug, Default)]
pub struct Assets {
    files: HashMap<String, Arc<Asset>>,
}

#[derive(Debug)]
pub(super) struct Asset {
    content_type: HeaderValue,
    etag: HeaderValue,
    bytes: Bytes,
    /// Compressed, in the order of [`Coding::ALL`]: made when first asked for, and kept.
    coded: [OnceLock<Bytes>; 3],
}

impl Assets {
    /// Reads every file.
    ///
    /// # Errors
    /// A folder that cannot be read, or too much in it.
    pub fn load(dirs: &[StaticDir]) -> io::Result<Self> {
        let mut assets = Self::default();
        let mut total = 0;
        for dir in dirs {
            match &dir.files {
                StaticFiles::Embedded(files) => {
                    files.iter().for_each(|(name, bytes)| assets.add(&dir.path, name, &Bytes::from_static(bytes)));
                }
                StaticFiles::Dir(root) => assets
                    .read(&dir.path, root, root, &mut total)
                    .map_err(|error| io::Error::new(error.kind(), format!("static {}: {error}", root.display())))?,
            }
        }
        Ok(assets)
    }

    pub(super) fn get(&self, path: &str) -> Option<&Arc<Asset>> {
        self.files.get(path)
    }

    fn read(&mut self, base: &str, root: &Path, dir: &Path, total: &mut u64) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.read(base, root, &path, total)?;
                continue;
            }
            *total += path.metadata()?.len();
            if *total > TOTAL_BYTES_MAX {
                return Err(io::Error::other(format!("the files are larger than {TOTAL_BYTES_MAX} bytes together")));
            }
            if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
                self.add(base, name, &fs::read(&path)?.into());
            }
        }
        Ok(())
    }

    fn add(&mut self, base: &str, name: &str, bytes: &Bytes) {
        let asset = Arc::new(Asset::new(content_type(name), bytes.clone()));
        if let Some(folder) = name.strip_suffix("index.html") {
            self.files.insert(format!("{base}{folder}"), asset.clone());
        }
        self.files.insert(format!("{base}{name}"), asset);
    }
}

impl Asset {
    pub(super) fn new(content_type: HeaderValue, bytes: Bytes) -> Self {
        let etag = etag::strong(&content_type, &bytes);
        Self { content_type, etag, bytes, coded: Default::default() }
    }

    /// The file in the coding that the client takes, or 304 where it has it already.
    pub(super) async fn answer(self: &Arc<Self>, call: &Call<'_>) -> Response<ReplyBody> {
        let mut response = self.whole();
        if etag::is_known(&call.head.headers, &self.etag) {
            return reply::not_modified(call, response);
        }
        let Some(coding) = call.choose_coding(&mut response) else { return response };
        if let Some(coded) = self.coded(coding, call.snapshot.compression.levels).await {
            *response.body_mut() = coded.into();
            deflate::mark(coding, response.headers_mut());
        }
        response
    }

    /// None where it could not be compressed.
    async fn coded(self: &Arc<Self>, coding: Coding, levels: Levels) -> Option<Bytes> {
        if self.coded[coding as usize].get().is_none() {
            let asset = self.clone();
            // Off the worker: a large file takes a while, and whoever asks meanwhile waits for the same.
            let made = task::spawn_blocking(move || {
                let make = || coding::deflate(coding, levels, &asset.bytes).map(Bytes::from).unwrap_or_default();
                asset.coded[coding as usize].get_or_init(make);
            });
            made.await.ok()?;
        }
        self.coded[coding as usize].get().filter(|coded| !coded.is_empty()).cloned()
    }

    fn whole(&self) -> Response<ReplyBody> {
        let mut response = Response::new(self.bytes.clone().into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    pub(super) fn answers(method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD)
    }
}

fn content_type(name: &str) -> HeaderValue {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    HeaderValue::from_static(match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_file_is_found_by_its_path_and_known_by_its_tag() {
        let files: BTreeMap<&'static str, &'static [u8]> =
            [("index.html", b"<p>".as_slice()), ("js/app.js", b"1".as_slice())].into();
        let assets = Assets::load(&[StaticDir { path: "/".to_owned(), files: StaticFiles::Embedded(files) }]).unwrap();
        assert!(assets.get("/../Cargo.toml").is_none());
        assert!(assets.get("/js/").is_none());
        assert_eq!(assets.get("/js/app.js").unwrap().content_type, "text/javascript; charset=utf-8");
        let page = assets.get("/").unwrap();
        assert_eq!(page.etag, assets.get("/index.html").unwrap().etag);
        assert_eq!(page.whole().headers()[header::ETAG], page.etag);
    }
}
