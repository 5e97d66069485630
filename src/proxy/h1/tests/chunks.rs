//! Chunked bodies.

use crate::proxy::h1::{BadChunk, Chunks, Piece, chunk, chunk_head, last_chunk};

type Decoded = (Vec<u8>, Vec<u8>, usize);

/// The body, its trailer section, and how many bytes they took, with the input cut into pieces of `size`; `None`: it
/// has not ended.
pub(super) fn decode(input: &[u8], size: usize) -> Result<Option<Decoded>, BadChunk> {
    let (mut chunks, mut data, mut at) = (Chunks::default(), Vec::new(), 0);
    for end in (size.min(input.len())..input.len()).step_by(size).chain([input.len()]) {
        loop {
            match chunks.next(&input[at..end])? {
                Piece::More { taken } => {
                    assert_eq!(at + taken, end, "all that is no data is taken");
                    at = end;
                    break;
                }
                Piece::Data { taken, len } => {
                    assert!(len > 0);
                    data.extend_from_slice(&input[at + taken..at + taken + len]);
                    at += taken + len;
                }
                Piece::End { taken } => {
                    assert_eq!(chunks.next(b"GET /"), Ok(Piece::End { taken: 0 }));
                    return Ok(Some((data, chunks.trailers().to_vec(), at + taken)));
                }
            }
        }
    }
    Ok(None)
}

fn refused(input: &[u8]) -> Option<BadChunk> {
    let whole = decode(input, usize::MAX);
    assert_eq!(decode(input, 1).err(), whole.as_ref().err().copied());
    whole.err()
}

#[test]
fn data_come_out_whatever_the_split() {
    let input = b"3\r\nabc\r\n0A;x=\"y\"\r\n0123\r\n6789\r\n00\r\n\r\nnext";
    for size in 1..=input.len() {
        let (data, trailers, taken) = decode(input, size).unwrap().unwrap();
        assert_eq!((&data[..], &trailers[..]), (&b"abc0123\r\n6789"[..], &b""[..]));
        assert_eq!(&input[taken..], b"next");
    }
}

#[test]
fn a_body_has_not_ended_before_its_last_byte() {
    let input = b"3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for end in 0..input.len() {
        assert_eq!(decode(&input[..end], 2), Ok(None), "{end}");
    }
}

#[test]
fn sizes_are_hex_digits_and_nothing_else() {
    for size in
        ["0x3", "+3", "-3", " 3", "3 ", "3_", "", "g", "3\t", "FFFFFFFFFFFFFFFF0", "00000000000000003", "_3"]
    {
        assert_eq!(
            refused(format!("{size}\r\nabc\r\n0\r\n\r\n").as_bytes()),
            Some(BadChunk::Size),
            "{size:?}"
        );
    }
    assert_eq!(refused(b"3;a\r\nabc\r\n3 ;a\r\n"), Some(BadChunk::Size));
    assert_eq!(refused(b";a\r\nabc\r\n"), Some(BadChunk::Size));
}

#[test]
fn the_largest_size_is_no_overflow() {
    let mut chunks = Chunks::default();
    assert_eq!(chunks.next(b"fFfFfFfFfFfFfFfF\r\nab"), Ok(Piece::Data { taken: 18, len: 2 }));
    assert_eq!(chunks.next(b"cd"), Ok(Piece::Data { taken: 0, len: 2 }));
}

#[test]
fn lines_end_in_crlf_and_nothing_else() {
    for (input, bad) in [
        (&b"3\nabc\r\n0\r\n\r\n"[..], BadChunk::Size),
        (b"3\r\rabc", BadChunk::Size),
        (b"3\rabc", BadChunk::Size),
        (b"3;a\nabc\r\n0\r\n\r\n", BadChunk::Extension),
        (b"3;a\rb\r\nabc", BadChunk::Size),
        (b"3;a\0\r\nabc", BadChunk::Extension),
        (b"3\r\nabc\n0\r\n\r\n", BadChunk::Data),
        (b"3\r\nabc\r0\r\n\r\n", BadChunk::Data),
        (b"3\r\nabc0\r\n\r\n", BadChunk::Data),
        (b"2\r\nSEE-THIS\r\n0\r\n\r\n", BadChunk::Data),
        (b"0\n\r\n", BadChunk::Size),
        (b"0\r\n\n", BadChunk::Trailers),
        (b"0\r\nA: b\n\r\n", BadChunk::Trailers),
        (b"0\r\nA: b\r\n\n", BadChunk::Trailers),
        (b"0\r\nA: b\rc\r\n\r\n", BadChunk::Trailers),
        (b"0\r\n\rX", BadChunk::Trailers),
    ] {
        assert_eq!(refused(input), Some(bad), "{:?}", String::from_utf8_lossy(input));
    }
}

#[test]
fn extensions_of_a_body_have_a_bound_together() {
    let one = |length: usize| format!("1;{}\r\na\r\n", "x".repeat(length - 1));
    let fits = format!("{}{}0\r\n\r\n", one(4000), one(96));
    assert!(decode(fits.as_bytes(), 7).unwrap().is_some());
    let long = format!("{}{}0\r\n\r\n", one(4000), one(97));
    assert_eq!(refused(long.as_bytes()), Some(BadChunk::Extension));
}

#[test]
fn trailers_are_gathered_and_checked() {
    let (_, trailers, _) = decode(b"0\r\nX-T: v\r\nY: w\r\n\r\n", 1).unwrap().unwrap();
    assert_eq!(trailers, b"X-T: v\r\nY: w\r\n\r\n");
    for lines in ["A : b", ": b", "A", " A: b", "A: b\r\n c", "A: \0"] {
        let input = format!("0\r\n{lines}\r\n\r\n");
        assert_eq!(refused(input.as_bytes()), Some(BadChunk::Trailers), "{lines:?}");
    }
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert_eq!(refused(many.as_bytes()), Some(BadChunk::Trailers));
    let long = |length: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(length - "A: \r\n".len()));
    assert!(decode(long(16 * 1024).as_bytes(), 999).unwrap().is_some());
    assert_eq!(refused(long(16 * 1024 + 1).as_bytes()), Some(BadChunk::TrailersTooLong));
}

#[test]
fn trailers_carry_no_framing_no_routing_and_no_credentials() {
    let trailers =
        b"Content-Length: 9\r\nHost: x\r\nX-T: v\r\nSet-Cookie: a\r\nTransfer_Encoding: chunked\r\n\
        X-Forwarded-For: y\r\nAuthorization: z\r\nx-forwarded_for: evil\r\nServer-Timing: a\r\nTE: b\r\n\r\n";
    let mut out = Vec::new();
    last_chunk(trailers, &mut out).unwrap();
    assert_eq!(out, b"0\r\nX-T: v\r\nServer-Timing: a\r\n\r\n");
    let mut out = Vec::new();
    last_chunk(b"Host: x\r\n\r\n", &mut out).unwrap();
    assert_eq!(out, b"0\r\n\r\n");
}

#[test]
fn bad_trailers_append_nothing() {
    for bad in [&b"A: b\r\n"[..], b"A: b\r\n\r\nC: d\r\n\r\n", b"A: b\n\r\n", b"A b\r\n\r\n", b"X"] {
        let mut out = b"kept".to_vec();
        assert_eq!(last_chunk(bad, &mut out), Err(BadChunk::Trailers));
        assert_eq!(out, b"kept");
    }
    let mut out = Vec::new();
    assert_eq!(last_chunk(b"", &mut out), Ok(()));
    assert_eq!(out, b"0\r\n\r\n");
}

#[test]
fn chunks_are_written_with_their_size_in_hex() {
    for (length, line) in
        [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (4096, "1000"), (usize::MAX, "ffffffffffffffff")]
    {
        let mut out = Vec::new();
        chunk_head(length, &mut out);
        assert_eq!(out, format!("{line}\r\n").as_bytes());
    }
    let mut out = Vec::new();
    chunk(b"hello", &mut out);
    chunk(b"", &mut out);
    assert_eq!(out, b"5\r\nhello\r\n");
}
