//! What a body must hold.

use http::{header, response};
use serde_json::Value;

use crate::config::probes::{Http as Ask, JsonCondition};
use crate::prober::http::{BODY_LEN_MAX, Body};

/// The longest value that is told, in characters; what is longer is cut.
const VALUE_LEN_MAX: usize = 60;

/// Whether the body is as it must be; the error says what is wrong, as the end of a sentence.
pub(super) fn check(ask: &Ask, head: &response::Parts, body: &Body) -> Result<(), String> {
    let checked = contains(ask.body_contains.as_deref(), body).and_then(|()| json(ask.json.as_ref(), body));
    checked.map_err(|why| {
        let packed = head.headers.get(header::CONTENT_ENCODING).and_then(|packed| packed.to_str().ok());
        match packed {
            Some(packed) if packed != "identity" => {
                format!("{why} (it came packed with `{packed}`, unasked, and was not unpacked)")
            }
            Some(_) | None => why,
        }
    })
}

fn contains(wanted: Option<&str>, body: &Body) -> Result<(), String> {
    let Some(wanted) = wanted else { return Ok(()) };
    if String::from_utf8_lossy(&body.bytes).contains(wanted) {
        return Ok(());
    }
    let place = if body.is_cut { beginning() } else { "its body does".to_owned() };
    Err(format!("but {place} not hold `{}`", cut(wanted)))
}

fn json(condition: Option<&JsonCondition>, body: &Body) -> Result<(), String> {
    let Some(JsonCondition { pointer, equals }) = condition else { return Ok(()) };
    if body.is_cut {
        return Err(format!("but its body is longer than {BODY_LEN_MAX} bytes, so its JSON was not read"));
    }
    let parsed: Value =
        serde_json::from_slice(&body.bytes).map_err(|error| format!("but its body is not JSON: {error}"))?;
    let found = match parsed.pointer(pointer) {
        None => return Err(format!("but its body has no `{pointer}`; `{equals}` is expected there")),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(other @ (Value::Null | Value::Bool(_) | Value::Number(_))) => other.to_string(),
    };
    let is_scalar = !matches!(parsed.pointer(pointer), Some(Value::Array(_) | Value::Object(_)));
    if is_scalar && found == *equals {
        return Ok(());
    }
    Err(format!("but `{pointer}` in its body is {}; `{equals}` is expected", quoted(&found, is_scalar)))
}

fn quoted(found: &str, is_scalar: bool) -> String {
    if is_scalar { format!("`{}`", cut(found)) } else { found.to_owned() }
}

fn beginning() -> String {
    format!("the first {BODY_LEN_MAX} bytes of its body, beyond which nobody looked, do")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_LEN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body { bytes: text.as_bytes().to_vec(), is_cut: false }
    }

    fn at(pointer: &str, equals: &str, text: &str) -> Result<(), String> {
        let condition = JsonCondition { pointer: pointer.to_owned(), equals: equals.to_owned() };
        json(Some(&condition), &body(text))
    }

    #[test]
    fn a_value_of_json_is_compared_as_text_or_as_it_is_written() {
        let text = r#"{"s": "none", "n": 3, "f": 1.5, "t": true, "z": null, "a": [1], "d": {"e/f": "x"}}"#;
        for (pointer, equals) in [
            ("/s", "none"),
            ("/n", "3"),
            ("/f", "1.5"),
            ("/t", "true"),
            ("/z", "null"),
            ("/a/0", "1"),
            ("/d/e~1f", "x"),
        ] {
            assert_eq!(at(pointer, equals, text), Ok(()), "{pointer}");
        }
        let said = |pointer: &str, equals: &str| at(pointer, equals, text).unwrap_err();
        assert_eq!(said("/s", "major"), "but `/s` in its body is `none`; `major` is expected");
        assert_eq!(said("/x", "y"), "but its body has no `/x`; `y` is expected there");
        assert_eq!(said("/a", "a list"), "but `/a` in its body is a list; `a list` is expected");
        assert_eq!(said("/n", "3.0"), "but `/n` in its body is `3`; `3.0` is expected");
    }

    #[test]
    fn what_is_not_json_or_too_long_is_said() {
        assert!(at("/s", "x", "<html>").unwrap_err().starts_with("but its body is not JSON: "));
        let long = Body { bytes: b"{}".to_vec(), is_cut: true };
        let condition = JsonCondition { pointer: "/s".to_owned(), equals: "x".to_owned() };
        let said = json(Some(&condition), &long).unwrap_err();
        assert_eq!(said, "but its body is longer than 65536 bytes, so its JSON was not read");
        let said = contains(Some("x"), &long).unwrap_err();
        assert!(said.contains("first 65536 bytes") && said.ends_with("do not hold `x`"), "{said}");
    }

    #[test]
    fn text_is_looked_for_in_whatever_the_body_is() {
        assert_eq!(contains(Some("b"), &body("abc")), Ok(()));
        assert_eq!(contains(Some("b"), &Body { bytes: b"\xffab".to_vec(), is_cut: false }), Ok(()));
        assert_eq!(contains(Some("x"), &body("abc")), Err("but its body does not hold `x`".to_owned()));
        assert_eq!(contains(None, &body("")), Ok(()));
    }
}
