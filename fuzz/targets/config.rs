//! Configuration: a file is refused with at least one place, or its settings are the same when they are rendered and
//! read again.

use tidegate::config::{parse, render};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text, "fuzz.yaml") {
        Ok(settings) => {
            let rendered = render(&settings);
            let again = parse(&rendered, "rendered.yaml").unwrap_or_else(|errors| panic!("{errors}\n{rendered}"));
            assert_eq!(again, settings);
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}
