//! What stands before the bytes: the boundary in the request's head, and the heads of the parts. Strict where servers are
//! known to differ in what they read.

/// What is said of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    /// Where the part's bytes begin in the body.
    pub offset: usize,
    /// Never empty.
    pub name: String,
    /// Without folders; empty where the client had none to give, absent where the part is no file.
    pub filename: Option<String>,
    /// As it was sent; empty where it was not.
    pub content_type: String,
}

/// What stands between the parts of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    bytes: [u8; BOUNDARY_BYTES_MAX],
    length: u8,
}

impl PartHead {
    /// Reads the lines of a part's head, each with its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let head = std::str::from_utf8(head).map_err(|_| "a part's head is not UTF-8")?;
        let (mut disposition, mut content_type) = (None, None);
        for line in head.split_terminator("\r\n") {
            if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return Err("a control character in a part's head");
            }
            if line.starts_with([' ', '\t']) {
                return Err("a folded line in a part's head");
            }
            let (name, value) = line.split_once(':').ok_or("a line without a colon in a part's head")?;
            let slot = match name.to_ascii_lowercase().as_str() {
                name if !is_token(name) => return Err("a header of a part has no sound name"),
                "content-disposition" => &mut disposition,
                "content-type" => &mut content_type,
                // Servers differ in whether they undo it (RFC 7578 §4.7: senders should not generate it).
                "content-transfer-encoding" if !is_identity(value.trim()) => {
                    return Err("a part is in a transfer encoding");
                }
                // RFC 7578 §4.8: others are ignored.
                _ => continue,
            };
            if slot.replace(value.trim()).is_some() {
                return Err("a header of a part is given twice");
            }
        }
        let (name, filename) = parse_disposition(disposition.ok_or("a part without a content-disposition")?)?;
        Ok(Self { offset: 0, name, filename, content_type: content_type.unwrap_or_default().to_owned() })
    }
}

impl Boundary {
    /// The one that a `content-type` names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(content_type: &str) -> Result<Self, &'static str> {
        let (_, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let mut found = None;
        each_parameter(parameters, |name, value| match (name, found) {
            ("boundary", Some(_)) => Err("names two boundaries"),
            ("boundary", None) => {
                found = Some(Self::new(value).ok_or("names a boundary that is none")?);
                Ok(())
            }
            _ => Ok(()),
        })?;
        found.ok_or("names no boundary")
    }

    /// None for a text that RFC 2046 §5.1.1 does not let be one.
    pub fn new(text: &str) -> Option<Self> {
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let mut bytes = [0; BOUNDARY_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let sound = !text.is_empty() && !text.ends_with(' ') && text.bytes().all(is_sound);
        sound.then_some(Self { bytes, length: text.len() as u8 })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

fn is_identity(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

/// The name, and the file's name (RFC 7578 §4.2).
fn parse_disposition(value: &str) -> Result<(String, Option<String>), &'static str> {
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    if !kind.trim_end().eq_ignore_ascii_case("form-data") {
        return Err("a part whose content-disposition is not form-data");
    }
    let (mut name, mut filename) = (None, None);
    each_parameter(parameters, |parameter, value| {
        let slot = match parameter {
            "name" => &mut name,
            "filename" => &mut filename,
            // RFC 7578 §4.2 forbids it; who takes it and who does not see different names.
            "filename*" | "name*" => return Err("a part is named with an extended parameter"),
            _ => return Ok(()),
        };
        match slot.replace(value.to_owned()) {
            None => Ok(()),
            Some(_) => Err("a part is named twice"),
        }
    })?;
    let name = name.filter(|name| !name.is_empty()).ok_or("a part without a name")?;
    Ok((name, filename.map(|path| without_folders(&path).to_owned())))
}

/// A client may send a whole path, and a backend may trust it (RFC 7578 §4.2): only the last part says anything here.
fn without_folders(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    if matches!(name, "." | "..") { "" } else { name }
}

/// Calls `each` with what stands as `; name=value` in a header, the first semicolon already taken; names come in lower
/// case, quotes are gone.
fn each_parameter(
    mut rest: &str,
    mut each: impl FnMut(&str, &str) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    const UNSOUND: &str = "a parameter is not name=value";
    rest = rest.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(UNSOUND)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quotation mark without its other")?,
            None => after.split_at(after.find([';', ' ', '\t']).unwrap_or(after.len())),
        };
        // Browsers write `%22` for a quotation mark (WHATWG HTML §4.10.21.8); one behind a backslash ends the value for
        // some servers and not for others.
        if value.ends_with('\\') {
            return Err("a backslash before a quotation mark");
        }
        if !is_token(name) || value.contains('"') {
            return Err(UNSOUND);
        }
        each(&name.to_ascii_lowercase(), value)?;
        rest = match (after.trim_start(), after.trim_start().strip_prefix(';')) {
            ("", _) => "",
            (_, Some(next)) if !next.trim().is_empty() => next.trim(),
            _ => return Err(UNSOUND),
        };
    }
    Ok(())
}

/// RFC 9110 §5.6.2
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// RFC 2046 §5.1.1
const BOUNDARY_BYTES_MAX: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(head: &str) -> Result<(String, Option<String>), &'static str> {
        PartHead::parse(head.as_bytes()).map(|head| (head.name, head.filename))
    }

    #[test]
    fn names_are_read_as_they_stand() {
        let plain = |name: &str, filename: Option<&str>| Ok((name.to_owned(), filename.map(str::to_owned)));
        for (parameters, wanted) in [
            ("; name=\"a\"", plain("a", None)),
            ("; name=a ; filename=b", plain("a", Some("b"))),
            (";NAME=\"ä b; c\"; FileName=\"\"", plain("ä b; c", Some(""))),
            ("; name=\"a\"; size=3; filename=\"100%22.txt\"", plain("a", Some("100%22.txt"))),
            ("; name=\"a\"; filename=\"C:\\dir\\x.txt\"", plain("a", Some("x.txt"))),
            ("; name=\"a\"; filename=\"../../etc/passwd\"", plain("a", Some("passwd"))),
            ("; name=\"a\"; filename=\"dir/..\"", plain("a", Some(""))),
        ] {
            assert_eq!(names(&format!("Content-Disposition: form-data{parameters}")), wanted, "{parameters}");
        }
        for encoding in ["binary", "8BIT"] {
            let head = format!("content-transfer-encoding: {encoding}\r\ncontent-disposition: form-data; name=a");
            assert_eq!(names(&head), plain("a", None));
        }
    }

    #[test]
    fn heads_that_servers_read_in_two_ways_are_refused() {
        let disposition = "Content-Disposition: form-data; name=\"a\"";
        for (head, what) in [
            (String::new(), "without a content-disposition"),
            ("Content-Type: text/plain".to_owned(), "without a content-disposition"),
            ("Content-Disposition: form-data".to_owned(), "without a name"),
            ("Content-Disposition: form-data; name=\"\"".to_owned(), "without a name"),
            ("Content-Disposition: attachment; name=\"a\"".to_owned(), "not form-data"),
            (format!("{disposition}; name=\"b\""), "named twice"),
            (format!("{disposition}; filename=\"b\"; filename=\"c\""), "named twice"),
            (format!("{disposition}; filename*=UTF-8''b"), "extended"),
            (format!("{disposition}; filename=\"a\\\"b\""), "backslash"),
            (format!("{disposition}; filename=\"a"), "quotation"),
            (format!("{disposition}; filename=a\"b\""), "name=value"),
            (format!("{disposition}; filename"), "name=value"),
            (format!("{disposition};"), "name=value"),
            (format!("{disposition} filename=\"a\""), "name=value"),
            (format!("{disposition}\r\n{disposition}"), "given twice"),
            (format!("{disposition}\r\nContent-Type: a/b\r\ncontent-type: a/b"), "given twice"),
            (format!("{disposition}\r\n filename=\"x\""), "folded"),
            (format!("{disposition}\r\nContent-Transfer-Encoding: base64"), "transfer encoding"),
            (format!("{disposition}\r\nContent-Type : text/plain"), "sound name"),
            (format!("{disposition}\r\nnothing"), "colon"),
            (format!("{disposition}\nContent-Type: text/plain"), "control"),
            (format!("{disposition}\r\nX: a\0b"), "control"),
        ] {
            let refused = names(&head).unwrap_err();
            assert!(refused.contains(what), "{head:?}: {refused}");
        }
        assert!(PartHead::parse(b"Content-Disposition: form-data; name=\"\xe4\"\r\n").is_err());
    }

    #[test]
    fn a_boundary_is_what_the_standard_lets_be_one() {
        for (kind, boundary) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data;charset=utf-8; Boundary=\"a b:c\"", Some("a b:c")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=\"a\";boundary=b", None),
            ("multipart/form-data; boundary=a;b", None),
            ("multipart/form-data; boundary=a{b", None),
            (&format!("multipart/form-data; boundary={}", "a".repeat(70)), Some(&*"a".repeat(70))),
            (&format!("multipart/form-data; boundary={}", "a".repeat(71)), None),
        ] {
            let found = Boundary::of(kind).ok();
            assert_eq!(found.as_ref().map(Boundary::as_bytes), boundary.map(str::as_bytes), "{kind}");
        }
    }
}
