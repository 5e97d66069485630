//! What a segment of a path looks like: a word that a programmer may have written, or something that stands for one
//! user, order or session. It does not know what was seen before.

/// The longest segment that can be a word, in bytes; longer ones are taken for slugs and tokens.
pub(super) const WORD_MAX: usize = 24;
/// From this length on, letters of which all are hexadecimal digits are an id.
const HEX_MIN: usize = 8;
/// From this length on, a mix of upper case, lower case and digits is an id, and letters without order are.
const TOKEN_MIN: usize = 8;
/// So many consonants in a row are in no word.
const CONSONANTS_MAX: usize = 5;
/// Mixed case whose parts are not longer than this on average, in letters, is no `camelCase`.
const HUMP_MAX: f64 = 2.5;
/// Words with several digits that stand for no one.
const WORDS_WITH_DIGITS: [&str; 4] = ["i18n", "l10n", "a11y", "oauth20"];

/// A segment after its percent-encoding is undone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Word {
    len: u8,
    bytes: [u8; WORD_MAX],
}

impl Word {
    /// The word that `segment` may be, or `None`, when it stands for something in particular.
    ///
    /// What follows a `;` is left out: it is a parameter of the segment, and the place of session ids.
    pub(super) fn of(segment: &[u8]) -> Option<Self> {
        let segment = segment.split(|&b| b == b';').next().unwrap_or_default();
        let mut word = Self { len: 0, bytes: [0; WORD_MAX] };
        let mut rest = segment;
        while let [first, tail @ ..] = rest {
            let (byte, tail) = match (first, tail) {
                (b'%', [high, low, tail @ ..]) => (hex(*high)? << 4 | hex(*low)?, tail),
                (&byte, tail) => (byte, tail),
            };
            let fits = byte.is_ascii_alphanumeric() || is_joint(byte);
            if !fits || word.len as usize == WORD_MAX {
                return None;
            }
            word.bytes[word.len as usize] = byte;
            word.len += 1;
            rest = tail;
        }
        (!looks_like_id(word.text())).then_some(word)
    }

    /// Whether it names a version: `v1`, `v10`, `v2.1`, `v1beta1`, `v1alpha`.
    pub(super) fn is_version(&self) -> bool {
        is_version(self.text())
    }

    /// The word itself: ASCII letters, digits and `-_.~` only.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len as usize]).expect("a word is made of ASCII")
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// What joins the parts of a word.
const fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Whether `text` (ASCII letters, digits and joints) looks like an id, a number or a token.
///
/// The rule is kept simple so that it can be promised: two digits, or a part that is only digits, make an id, except for
/// versions. So do long hexadecimal words, mixed case with a digit, and letters in no order of a language.
fn looks_like_id(text: &str) -> bool {
    let of = |test: fn(&u8) -> bool| text.bytes().filter(test).count();
    let (digits, letters) = (of(u8::is_ascii_digit), of(u8::is_ascii_alphabetic));
    if letters == 0 {
        return true;
    }
    if is_version(text) || WORDS_WITH_DIGITS.contains(&text) {
        return false;
    }
    let is_mixed = of(u8::is_ascii_uppercase) > 0 && of(u8::is_ascii_lowercase) > 0;
    // Joints inside of hexadecimal digits do not make words of them.
    let is_hex = |hex: usize, all: usize| all >= HEX_MIN && hex == all;
    let of_part = |part: &str| {
        let hex = part.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        is_number || is_hex(hex, part.len()) || is_without_order(part)
    };
    digits >= 2
        || digits > 0 && is_mixed && text.len() >= TOKEN_MIN
        || is_hex(of(u8::is_ascii_hexdigit), digits + letters)
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(of_part)
}

/// `v1`, `v10`, `v2.1`, `v1beta1`, `v1alpha`.
fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['v', 'V']) else { return false };
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let (major, minor) = rest.split_once('.').unwrap_or((rest, "0"));
    if number(major) && number(minor) {
        return true;
    }
    ["alpha", "beta", "rc"]
        .iter()
        .any(|stage| rest.split_once(stage).is_some_and(|(n, of)| number(n) && (of.is_empty() || number(of))))
}

/// Whether letters are drawn rather than written: no vowel, too many consonants in a row, or cases that alternate.
fn is_without_order(part: &str) -> bool {
    if part.len() < TOKEN_MIN {
        return false;
    }
    let is_vowel = |b: u8| b"aeiouyAEIOUY".contains(&b);
    let longest = part.as_bytes().split(|&b| is_vowel(b) || !b.is_ascii_alphabetic()).map(<[u8]>::len).max();
    let upper = part.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = part.bytes().filter(u8::is_ascii_lowercase).count();
    let humps = part.as_bytes().windows(2).filter(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    let humps = 1 + humps.count();
    // An acronym inside a camel is one hump, so only changes from lower to upper case are counted.
    let alternates = upper > 0 && lower > 0 && (part.len() as f64) <= HUMP_MAX * humps as f64;
    longest > Some(CONSONANTS_MAX) || alternates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_word(segment: &str) -> bool {
        Word::of(segment.as_bytes()).is_some()
    }

    #[test]
    fn what_a_programmer_writes_is_a_word() {
        for word in [
            "api",
            "users",
            "v1",
            "v10",
            "v2.1",
            "v1beta1",
            "getUserById",
            "order-items",
            "healthz",
            "oauth2",
            "search.json",
            "index.php",
            ".well-known",
            "Checkout",
            "i18n",
            "s3",
            "_next",
            "wp-login.php",
            "helloworld.Greeter",
            "SayHello",
            "sign_in",
            "HttpRequest",
            "graphql",
            "caf%65",
        ] {
            assert!(is_word(word), "{word}");
        }
        assert_eq!(Word::of(b"caf%65").unwrap().text(), "cafe");
        assert_eq!(Word::of(b"cart;jsessionid=0A1B").unwrap().text(), "cart");
    }

    #[test]
    fn what_stands_for_somebody_is_no_word() {
        for id in [
            "1",
            "42",
            "2026-11-23",
            "1.5",
            "deadbeef",
            "DEADBEEF",
            "de-ad-be-ef",
            "user-42",
            "user42",
            "ord_1234567",
            "0f6c1a9e-7b1d-4d3c-9f0e-2b7f3a5c6d7e",
            "{0f6c1a9e}",
            "a@b.example",
            "ana%40b.example",
            "dGhpc0lz",
            "aGVsbG8=",
            "eyJhbGciOi",
            "V1StGXR8_Z5",
            "how-to-write-a-very-long-slug",
            "xkqzvbtrw",
            "aBcDeFgHiJ",
            "a b",
            "%C3%A9t%C3%A9",
            "%ff",
            "%zz",
            "%2",
            "\u{e9}t\u{e9}",
            "Users(1)",
            "-",
            "",
            ";x",
            "a%2Fb",
            "a%00",
        ] {
            assert!(!is_word(id), "{id}");
        }
        assert_eq!(Word::of(b"\xff\xfe"), None);
    }
}
