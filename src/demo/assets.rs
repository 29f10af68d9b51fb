//! The demo's page, compiled in. Knows nothing of how it is served.

use std::collections::BTreeMap;

macro_rules! page {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../web/demo/", $name)).as_slice())),*]
    };
}

/// The files of the page by name.
pub fn assets() -> BTreeMap<&'static str, &'static [u8]> {
    BTreeMap::from(page! {
        "app.js" "calls.js" "chat.js" "dom.js" "favicon.svg" "flow.js" "index.html" "live.js" "matrix.js" "message.js" "panel.js" "posts.js" "proofs.js" "style.css" "trouble.js" "visitor.js" "wire.js"
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web/demo");
        let on_disk: BTreeMap<_, _> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        let compiled: BTreeMap<_, _> =
            assets().into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
        assert_eq!(on_disk, compiled);
    }

    #[test]
    fn the_page_names_no_other_host() {
        for (name, bytes) in assets() {
            let text = String::from_utf8_lossy(bytes).replace("http://www.w3.org/", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
    }
}
