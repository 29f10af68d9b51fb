//! Just enough of Rust's lexical structure to read paths off a source. Knows nothing of modules.

/// The source with comments and the insides of literals blanked; lines keep their places.
pub(crate) fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let len = skipped_len(&chars, at);
        if len == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..at + len].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at += len;
        }
    }
    out
}

/// The code without what is only compiled for tests: `#[cfg(test)]` and the item that follows it.
pub(crate) fn without_tests(code: &str) -> String {
    const CFG: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(CFG) {
        out.push_str(&rest[..start]);
        rest = &rest[start + CFG.len()..];
        rest = &rest[item_len(rest)..];
    }
    out + rest
}

/// Names of the modules that are files of their own and only compiled for tests.
pub(crate) fn test_modules(code: &str) -> Vec<&str> {
    let after = code.split("#[cfg(test)]").skip(1);
    after
        .filter_map(|rest| rest[..item_len(rest)].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .collect()
}

/// The identifier at the front.
pub(crate) fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The first names after `crate::` or its like: one, or those of a group `{a::b, c::{d, e}}`.
pub(crate) fn first_names(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else { return vec![ident(text)] };
    let (mut names, mut depth, mut begins) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(ident(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// Up to the end of the item at the front: its `;`, or the brace that closes its first one.
fn item_len(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// Length of the comment or literal that begins at `at`; 0 where none does.
fn skipped_len(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let after_ident = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_len(rest),
        ['"', ..] => quoted_len(rest, '"'),
        // A quote that closes after one character, or begins an escape, is a character; else it is a lifetime.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted_len(rest, '\''),
        ['r', '"' | '#', ..] if !after_ident => raw_len(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !after_ident => raw_len(rest, 2),
        _ => 0,
    }
}

fn block_comment_len(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (at, depth) = (at + 2, depth + 1),
            ('*', '/') => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_len(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A raw string whose hashes begin at `prefix`; 0 for a raw identifier.
fn raw_len(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let body = prefix + hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return 0;
    }
    let closes =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (body..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

#[test]
fn comments_and_literals_are_blanked_and_lifetimes_are_not() {
    for (source, expected) in [
        ("a // crate::x\nb", "a b"),
        ("a /* /* x */ y */ b", "a b"),
        (r#"f("crate::\"x", 'y', '\'', b'z')"#, "f( , , , b )"),
        ("r#\"a\"b\"# r#type br\"x\" c", "r#type c"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
    ] {
        let code = code_of(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{source}");
        assert_eq!((code.chars().count(), code.lines().count()), (source.chars().count(), source.lines().count()));
    }
}

#[test]
fn items_for_tests_are_taken_away() {
    let code = "use a;\n#[cfg(test)]\nmod tests { fn f() { {} } }\nuse b;\n#[cfg(test)]\npub mod cases;\nuse c;";
    assert_eq!(without_tests(code), "use a;\n\nuse b;\n\nuse c;");
    assert_eq!(test_modules(code), ["cases"]);
}

#[test]
fn the_first_names_of_a_path_or_group_are_read() {
    assert_eq!(first_names("wire::{a, b};"), ["wire"]);
    assert_eq!(
        first_names("{\n    call::{Head, x::{Y, Z}},\n    status::Code, limits,\n};"),
        ["call", "status", "limits"]
    );
}
