//! How far a run of allowed bytes goes, eight bytes at a time.
//!
//! It knows bytes, not what they are part of.

/// The high bit of every byte.
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
/// The others.
const SEVEN: u64 = !HIGH;

/// Which bytes a token is made of (RFC 9110, 5.6.2).
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
/// Which bytes a host's name is made of.
const HOST: [bool; 256] = table(b"-._~%!$");

/// Letters, digits, and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = b'0';
    while byte <= b'z' {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}

/// Whether `byte` may stand in a token.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether `byte` may stand in the text of a value: no control but the tab.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// How many bytes of a token `input` begins with.
#[inline]
pub(super) fn token(input: &[u8]) -> usize {
    // Names of fields are letters and hyphens, nearly all.
    let at = run(input, |word| !(letters(word) | exactly(word, b'-')));
    at + input[at..].iter().take_while(|&&byte| is_token(byte)).count()
}

/// How many bytes of a host's name `input` begins with.
pub(super) fn host(input: &[u8]) -> usize {
    let at = run(input, |word| !(letters(word) | exactly(word, b'.')));
    at + input[at..].iter().take_while(|&&byte| HOST[usize::from(byte)]).count()
}

/// How many bytes of text `input` begins with.
#[inline]
pub(super) fn text(input: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += run(&input[at..], |word| below(word, b' ') | equal(word, 0x7f));
        // Tabs are rare: they stop the run and are stepped over.
        if input.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

/// How many bytes of a request's target `input` begins with: no white space, no control, no `#`.
#[inline]
pub(super) fn target(input: &[u8]) -> usize {
    run(input, |word| below(word, b' ' + 1) | equal(word, 0x7f) | equal(word, b'#'))
}

/// How many bytes come before the first that `stops`; of its answer, only the lowest high bit counts.
#[inline]
fn run(input: &[u8], stops: impl Fn(u64) -> u64) -> usize {
    let (words, rest) = input.as_chunks();
    let mut at = 0;
    for word in words {
        let found = stops(u64::from_le_bytes(*word)) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let mut last = [b'a'; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = stops(u64::from_le_bytes(last)) & HIGH;
    if found == 0 { input.len() } else { at + found.trailing_zeros() as usize / 8 }
}

/// Marks bytes below `limit`, which is 0x80 at most. The lowest mark is right; a borrow may set others above it.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(u64::from_ne_bytes([limit; 8])) & !word
}

/// Marks bytes that are `byte`. Every mark is right, at the price of one step more.
fn exactly(word: u64, byte: u8) -> u64 {
    let differ = word ^ u64::from_ne_bytes([byte; 8]);
    !(((differ & SEVEN) + SEVEN) | differ)
}

/// Marks letters. Every mark is right.
fn letters(word: u64) -> u64 {
    let lower = (word | u64::from_ne_bytes([0x20; 8])) & SEVEN;
    let from_a = lower + u64::from_ne_bytes([0x80 - b'a'; 8]);
    let above_z = lower + u64::from_ne_bytes([0x80 - b'z' - 1; 8]);
    from_a & !above_z & !word
}

/// Marks bytes that are `byte`, as [`below`] does.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ u64::from_ne_bytes([byte; 8]), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of inputs of every length up to three words, between bytes that pass.
    fn check(run: impl Fn(&[u8]) -> usize, passes: impl Fn(u8) -> bool, around: &[u8]) {
        for &filler in around {
            for length in 1..=24 {
                for place in 0..length {
                    for byte in 0..=u8::MAX {
                        let mut input = vec![filler; length];
                        input[place] = byte;
                        let expected = if passes(byte) { length } else { place };
                        assert_eq!(run(&input), expected, "{byte:#x} at {place} of {length}, {filler:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn text_ends_at_the_first_control_byte_that_is_no_tab() {
        check(text, |b| b == b'\t' || !b.is_ascii_control(), &[b'a', b'\t', b' ', 0x80, 0xff]);
    }

    #[test]
    fn a_target_ends_at_white_space_a_control_or_a_hash() {
        check(target, |b| b > b' ' && b != 0x7f && b != b'#', &[b'a', b'!', b'"', b'$', b'~', 0x80, 0xff]);
    }

    #[test]
    fn tokens_and_hosts_end_at_the_first_foreign_byte() {
        let is = |others: &'static [u8]| move |b: u8| b.is_ascii_alphanumeric() || others.contains(&b);
        check(token, is(b"!#$%&'*+-.^_`|~"), b"a-");
        check(host, is(b"-._~%!$"), b"a-");
    }

    #[test]
    fn of_two_foreign_bytes_the_first_counts() {
        for (first, second) in [(b'\r', b'\n'), (0x7f, b'\r'), (0, 0x7f), (b'\n', b' '), (0x1f, 0x20)] {
            for place in 0..16 {
                let mut input = vec![b'a'; 18];
                (input[place], input[place + 1]) = (first, second);
                assert_eq!(text(&input), place);
            }
        }
    }
}
