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

/// What a byte counts as, five bits a kind, so that the kinds of a whole word are one sum; 0: it is in no word.
const KINDS: [u32; 256] = kinds();
const DIGIT: u32 = 0;
const UPPER: u32 = 5;
const LOWER: u32 = 10;
const HEX: u32 = 15;
const JOINT: u32 = 20;

const fn kinds() -> [u32; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let joint = matches!(b, b'-' | b'_' | b'.' | b'~');
        kinds[byte] = (b.is_ascii_digit() as u32) << DIGIT
            | (b.is_ascii_uppercase() as u32) << UPPER
            | (b.is_ascii_lowercase() as u32) << LOWER
            | (b.is_ascii_hexdigit() as u32) << HEX
            | (joint as u32) << JOINT;
        byte += 1;
    }
    kinds
}

/// A segment after its percent-encoding is undone, short and of letters, digits and joints only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Word {
    len: u8,
    kinds: u32,
    bytes: [u8; WORD_MAX],
}

impl Word {
    /// The segment, or `None`, when it is too long or holds what no word does.
    ///
    /// What follows a `;` is left out: it is a parameter of the segment, and the place of session ids.
    pub(super) fn read(segment: &[u8]) -> Option<Self> {
        let mut word = Self { len: 0, kinds: 0, bytes: [0; WORD_MAX] };
        let mut at = 0;
        while let Some(&byte) = segment.get(at) {
            at += 1;
            let byte = match byte {
                b';' => break,
                b'%' => {
                    let (high, low) = (segment.get(at)?, segment.get(at + 1)?);
                    at += 2;
                    hex(*high)? << 4 | hex(*low)?
                }
                byte => byte,
            };
            let kinds = KINDS[byte as usize];
            *word.bytes.get_mut(word.len as usize).filter(|_| kinds != 0)? = byte;
            word.kinds += kinds;
            word.len += 1;
        }
        Some(word)
    }

    /// Whether it looks like an id, a number or a token, and not like what a programmer writes.
    ///
    /// The rule is kept simple so that it can be promised: two digits, or a part that is only digits, make an id, except
    /// for versions. So do long hexadecimal words, mixed case with a digit, and letters in no order of a language.
    pub(super) fn looks_like_id(&self) -> bool {
        let of = |kind: u32| (self.kinds >> kind & 31) as usize;
        let (digits, upper, lower) = (of(DIGIT), of(UPPER), of(LOWER));
        if upper + lower == 0 {
            return true;
        }
        if digits > 0 && self.is_known_by_digits() {
            return false;
        }
        // Joints inside of hexadecimal digits do not make words of them.
        digits >= 2
            || digits > 0 && upper > 0 && lower > 0 && self.len as usize >= TOKEN_MIN
            || of(HEX) >= HEX_MIN && of(HEX) == digits + upper + lower
            || self.bytes().split(|b| !b.is_ascii_alphanumeric()).any(is_no_part)
    }

    fn is_known_by_digits(&self) -> bool {
        matches!(self.bytes[0], b'v' | b'V') && self.is_version()
            || WORDS_WITH_DIGITS.iter().any(|word| word.as_bytes() == self.bytes())
    }

    /// Whether it names a version: `v1`, `v10`, `v2.1`, `v1beta1`, `v1alpha`.
    pub(super) fn is_version(&self) -> bool {
        is_version(self.text())
    }

    /// The word itself: ASCII letters, digits and `-_.~` only.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("a word is made of ASCII")
    }

    /// Whether the segment is written just like it.
    pub(super) fn is(&self, segment: &[u8]) -> bool {
        self.bytes() == segment
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// Whether what stands between two joints is a number, an id, or no word.
fn is_no_part(part: &[u8]) -> bool {
    let is_number = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let is_hex = part.len() >= HEX_MIN && part.iter().all(u8::is_ascii_hexdigit);
    is_number || is_hex || is_without_order(part)
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
fn is_without_order(part: &[u8]) -> bool {
    if part.len() < TOKEN_MIN {
        return false;
    }
    let is_vowel = |b: u8| b"aeiouyAEIOUY".contains(&b);
    let longest = part.split(|&b| is_vowel(b) || !b.is_ascii_alphabetic()).map(<[u8]>::len).max();
    let upper = part.iter().filter(|b| b.is_ascii_uppercase()).count();
    let lower = part.iter().filter(|b| b.is_ascii_lowercase()).count();
    // An acronym inside a camel is one hump, so only changes from lower to upper case are counted.
    let humps =
        1 + part.windows(2).filter(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase()).count();
    let alternates = upper > 0 && lower > 0 && (part.len() as f64) <= HUMP_MAX * humps as f64;
    longest > Some(CONSONANTS_MAX) || alternates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_word(segment: &str) -> bool {
        Word::read(segment.as_bytes()).is_some_and(|word| !word.looks_like_id())
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
        assert_eq!(Word::read(b"caf%65").unwrap().text(), "cafe");
        assert_eq!(Word::read(b"cart;jsessionid=0A1B").unwrap().text(), "cart");
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
        assert_eq!(Word::read(b"\xff\xfe"), None);
    }
}
