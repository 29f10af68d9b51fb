//! An upstream's files: read, and read again once they have changed. Knows nothing of what is in them.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use bytes::Bytes;

use crate::{
    config::{ConfigErrors, SchemaSource, Upstream},
    schema::{self, SchemaError, ServiceConfig},
};

/// The files of one upstream's schema and service configuration.
pub(super) struct Files {
    source: SchemaSource,
    service_config: Vec<PathBuf>,
    /// As they were when they were last read.
    read: Stamps,
    /// As they were at the last look.
    seen: Stamps,
}

/// What the files say.
pub(super) struct Contents {
    pub(super) set: Result<Option<Bytes>, SchemaError>,
    pub(super) service_config: Result<ServiceConfig, ConfigErrors>,
}

/// None for what is not there.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Tells, without reading it, that a file has changed or is another one. Of a symbolic link it is that of the file behind
/// it, so that one that is set anew, as Kubernetes does, is seen as well.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Contents {
    /// What is wrong with them.
    pub(super) fn fault(&self) -> Option<String> {
        let set = self.set.as_ref().err().map(ToString::to_string);
        set.or_else(|| self.service_config.as_ref().err().map(ToString::to_string))
    }
}

impl Files {
    /// Reads the files for the first time.
    pub(super) fn open(upstream: &Upstream) -> (Self, Contents) {
        let (source, service_config) = (upstream.schema.clone(), upstream.service_config.clone());
        let mut files = Self { source, service_config, read: Stamps::new(), seen: Stamps::new() };
        let contents = files.read();
        (files, contents)
    }

    /// There is nothing to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Reads files that have changed and were then left alone from one look to the next: what is being written is not
    /// read.
    pub(super) fn look(&mut self) -> Option<Contents> {
        let now = stamps(self.seen.keys().cloned());
        let (is_settled, has_changed) = (now == self.seen, now != self.read);
        self.seen = now;
        (is_settled && has_changed).then(|| self.read())
    }

    /// Reads the files, changed or not.
    pub(super) fn read(&mut self) -> Contents {
        let before = stamps(self.seen.keys().cloned());
        let loaded = schema::load_files(&self.source);
        let service_config = ServiceConfig::load(&self.service_config);
        self.seen = stamps(loaded.files.into_iter().chain(self.service_config.iter().cloned()));
        self.read = self.seen.clone();
        // What changed meanwhile is not what was read.
        self.read.retain(|path, stamp| before.get(path).is_none_or(|before| before == stamp));
        Contents { set: loaded.set, service_config }
    }
}

fn stamps(paths: impl Iterator<Item = PathBuf>) -> Stamps {
    paths
        .map(|path| (fs::metadata(&path).ok().as_ref().map(Stamp::of), path))
        .map(|(stamp, path)| (path, stamp))
        .collect()
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        path::Path,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::config;

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("tidegate-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, contents).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(source: SchemaSource, service_config: Vec<PathBuf>) -> (Files, Contents) {
        let quick = config::Quick { upstreams: vec!["http://127.0.0.1:1".to_owned()], ..config::Quick::default() };
        let mut upstream = config::quick(&quick).unwrap().upstreams.remove(0);
        (upstream.schema, upstream.service_config) = (source, service_config);
        Files::open(&upstream)
    }

    /// A set with a file of this name, which makes no bytes of another length.
    fn set(name: &str) -> Vec<u8> {
        let mut file = vec![0x0a, name.len() as u8];
        file.extend_from_slice(name.as_bytes());
        [&[0x0a, file.len() as u8], file.as_slice()].concat()
    }

    /// Looks twice; the first time, nothing that has changed has been left alone yet.
    #[track_caller]
    fn look(files: &mut Files) -> Option<Contents> {
        assert!(files.look().is_none(), "what may still be written to is read");
        files.look()
    }

    #[track_caller]
    fn assert_reads(files: &mut Files, expected: &[u8]) {
        let contents = look(files).expect("a change is seen");
        assert_eq!(contents.set.unwrap().unwrap(), expected);
        assert!(look(files).is_none(), "nothing changed");
    }

    fn descriptor_set(path: &Path) -> SchemaSource {
        SchemaSource::DescriptorSet(path.to_owned())
    }

    #[test]
    fn a_set_is_read_again_whichever_way_it_is_written() {
        let dir = Dir::new();
        let path = dir.write("a.binpb", set("a"));
        let (mut files, contents) = open(descriptor_set(&path), Vec::new());
        assert_eq!(contents.set.unwrap().unwrap(), set("a"));
        assert!(look(&mut files).is_none());

        dir.write("a.binpb", set("b"));
        assert_reads(&mut files, &set("b"));
        fs::rename(dir.write("a.tmp", set("c")), &path).unwrap();
        assert_reads(&mut files, &set("c"));
        fs::remove_file(&path).unwrap();
        assert!(look(&mut files).unwrap().set.is_err());
        assert!(look(&mut files).is_none(), "it is still not there");
        dir.write("a.binpb", set("d"));
        assert_reads(&mut files, &set("d"));
    }

    /// As Kubernetes mounts a ConfigMap: the file is a link through `..data`, and that link is set anew.
    #[test]
    fn links_that_are_swapped_are_seen() {
        let dir = Dir::new();
        dir.write("..1/a.binpb", set("a"));
        dir.write("..2/a.binpb", set("b"));
        symlink("..1", dir.0.join("..data")).unwrap();
        symlink("..data/a.binpb", dir.0.join("a.binpb")).unwrap();
        let (mut files, _) = open(descriptor_set(&dir.0.join("a.binpb")), Vec::new());
        symlink("..2", dir.0.join("..data_tmp")).unwrap();
        fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).unwrap();
        assert_reads(&mut files, &set("b"));
    }

    #[test]
    fn what_is_still_written_to_is_not_read() {
        let dir = Dir::new();
        let path = dir.write("a.binpb", set("a"));
        let (mut files, _) = open(descriptor_set(&path), Vec::new());
        for written in [&b""[..], b"\x0a", b"\x0a\x05"] {
            fs::write(&path, written).unwrap();
            assert!(files.look().is_none());
        }
        fs::write(&path, set("xyz")).unwrap();
        assert_reads(&mut files, &set("xyz"));
    }

    #[test]
    fn an_import_decides_even_where_it_was_missing() {
        let dir = Dir::new();
        let proto = |import: &str| format!("syntax = \"proto3\"; import \"{import}\";");
        let a = dir.write("a.proto", proto("x/b.proto"));
        dir.write("x/b.proto", "syntax = \"proto3\";");
        let includes = vec![dir.0.join("first"), dir.0.clone()];
        let (mut files, contents) = open(SchemaSource::Protos { files: vec![a], includes }, Vec::new());
        assert!(contents.fault().is_none(), "{:?}", contents.fault());

        dir.write("x/b.proto", proto("c.proto"));
        assert!(look(&mut files).unwrap().set.is_err());
        dir.write("c.proto", "syntax = \"proto3\";");
        assert!(look(&mut files).unwrap().set.is_ok());
        dir.write("first/x/b.proto", "syntax = \"proto3\"; message Shadow {}");
        let set = look(&mut files).unwrap().set.unwrap().unwrap();
        assert!(set.windows(6).any(|part| part == b"Shadow"), "an earlier directory comes first");
    }

    #[test]
    fn a_service_configuration_is_read_again_as_well() {
        let dir = Dir::new();
        let path = dir.write("a.yaml", "type: google.api.Service\n");
        let (mut files, contents) = open(SchemaSource::Reflection, vec![path]);
        assert!(!files.is_empty() && contents.set.unwrap().is_none());
        let old = contents.service_config.unwrap();
        dir.write("a.yaml", "type: google.api.Service\nhttp:\n  rules:\n    - selector: a.S.M\n      get: /a\n");
        assert_ne!(look(&mut files).unwrap().service_config.unwrap(), old);
        dir.write("a.yaml", "http: [");
        assert!(look(&mut files).unwrap().service_config.is_err());
    }
}
