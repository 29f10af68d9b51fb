//! What the demo accepts as a name or a text; knows no service.

use tonic::Status;

use super::fault;

/// The text without the white space round it, where it has 1 to `characters_max` characters and none that controls.
pub(super) fn line(field: &str, text: &str, characters_max: usize) -> Result<String, Status> {
    let text = text.trim();
    let characters = text.chars().count();
    if characters == 0 {
        return Err(fault::invalid(field, "must not be empty"));
    }
    if characters > characters_max {
        let description = format!("must have at most {characters_max} characters, and has {characters}");
        return Err(fault::invalid(field, description));
    }
    if text.chars().any(char::is_control) {
        return Err(fault::invalid(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_trimmed_and_measured_in_characters() {
        assert_eq!(line("title", "  Ebb  ", 3).unwrap(), "Ebb");
        assert_eq!(line("title", "äöü", 3).unwrap(), "äöü");
        for (text, said) in [
            (" \t ", "title: must not be empty"),
            ("ebbs", "title: must have at most 3 characters, and has 4"),
            ("a\u{7}b", "title: must not contain control characters"),
        ] {
            assert_eq!(line("title", text, 3).unwrap_err().message(), said);
        }
    }
}
