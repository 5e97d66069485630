//! The fields of a head or a trailer section, as spans of the input.
//!
//! httparse splits the lines; what it lets through beyond our rules is refused here. Each field gets a class from the
//! caller, which says what rendering does with it. It does not know requests from replies.

use httparse::{EMPTY_HEADER, Header, Status, parse_headers};

use crate::proxy::h1::names::is_nominated;
use crate::proxy::h1::{FIELDS_MAX, HEAD_MAX};

/// Room for the fields of nearly every message; making room for the most is several times the work of a whole head.
const FEW: usize = 32;

/// Why fields were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadFields {
    Syntax,
    TooMany,
}

/// What is done with a field when the head is rendered for the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Class {
    /// The line is copied.
    #[default]
    Pass,
    /// The line is left out.
    Drop,
    Host,
    Length,
    Coding,
    Connection,
    Te,
    Upgrade,
    Expect,
    Cookie,
}

/// One field as received.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Field<'b> {
    /// In the sender's case.
    pub(in crate::proxy) name: &'b [u8],
    /// Without the white space around it.
    pub(in crate::proxy) value: &'b [u8],
}

/// Offsets into the head; a head is no longer than they reach.
#[derive(Clone, Copy, Default)]
struct Span {
    start: u16,
    name_end: u16,
    value: u16,
    value_end: u16,
    class: Class,
}

const _: () = assert!(HEAD_MAX <= 1 << 16, "spans hold offsets below 64 Ki");

/// All fields, in order.
pub(super) struct Fields<'b> {
    /// From the first byte of the input to the end of the head.
    head: &'b [u8],
    /// Where the first line begins.
    first: usize,
    /// Where the empty line begins.
    end: usize,
    count: usize,
    spans: [Span; FIELDS_MAX],
}

/// All lines of one name: how many there are, and the first.
#[derive(Clone, Copy, Default)]
pub(super) struct Lines<'b> {
    pub(super) count: usize,
    pub(super) first: &'b [u8],
}

impl<'b> Lines<'b> {
    #[inline]
    pub(super) fn add(&mut self, value: &'b [u8]) {
        if self.count == 0 {
            self.first = value;
        }
        self.count += 1;
    }

    /// The value, where there is one line and no more.
    pub(super) fn only(&self) -> Option<&'b [u8]> {
        (self.count == 1).then_some(self.first)
    }
}

/// A field with its class, and where its line lies.
#[derive(Clone, Copy)]
pub(super) struct Line<'b> {
    pub(super) class: Class,
    pub(super) field: Field<'b>,
    pub(super) start: usize,
    /// Behind the line's end.
    pub(super) end: usize,
}

impl<'b> Fields<'b> {
    /// Reads the fields that begin at `first`, up to and with the empty line; `None`: more bytes are needed. `input` is
    /// [`HEAD_MAX`] bytes at most.
    #[inline]
    pub(super) fn parse(
        input: &'b [u8],
        first: usize,
        mut classify: impl FnMut(&'b [u8], &'b [u8]) -> Class,
    ) -> Result<Option<Self>, BadFields> {
        let mut few = [EMPTY_HEADER; FEW];
        match parse_headers(&input[first..], &mut few) {
            Ok(Status::Complete((length, parsed))) => {
                Self::take(input, first, length, parsed, &mut classify).map(Some)
            }
            Ok(Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Self::parse_many(input, first, &mut classify),
            Err(_) => Err(BadFields::Syntax),
        }
    }

    #[cold]
    fn parse_many(
        input: &'b [u8],
        first: usize,
        classify: &mut impl FnMut(&'b [u8], &'b [u8]) -> Class,
    ) -> Result<Option<Self>, BadFields> {
        let mut many = [EMPTY_HEADER; FIELDS_MAX];
        match parse_headers(&input[first..], &mut many) {
            Ok(Status::Complete((length, parsed))) => {
                Self::take(input, first, length, parsed, classify).map(Some)
            }
            Ok(Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(BadFields::TooMany),
            Err(_) => Err(BadFields::Syntax),
        }
    }

    fn take(
        input: &'b [u8],
        first: usize,
        length: usize,
        parsed: &[Header<'b>],
        classify: &mut impl FnMut(&'b [u8], &'b [u8]) -> Class,
    ) -> Result<Self, BadFields> {
        let head = &input[..first + length];
        let mut fields = Fields {
            head,
            first,
            end: head.len() - 1,
            count: parsed.len(),
            spans: [Span::default(); FIELDS_MAX],
        };
        let offset = |part: &[u8]| part.as_ptr().addr() - head.as_ptr().addr();
        // httparse takes a lone LF for a line's end. Every name begins behind such an end: the byte before it is a CR.
        let is_line = |at: usize| at == first || head.get(at.wrapping_sub(2)) == Some(&b'\r');
        for (span, header) in fields.spans.iter_mut().zip(parsed) {
            let start = offset(header.name.as_bytes());
            let value = offset(header.value);
            if !is_line(start) {
                return Err(BadFields::Syntax);
            }
            *span = Span {
                start: start as u16,
                name_end: (start + header.name.len()) as u16,
                value: value as u16,
                value_end: (value + header.value.len()) as u16,
                class: classify(header.name.as_bytes(), header.value),
            };
        }
        // The same for the end of the last line and for the empty one.
        let [.., b'\r', b'\n'] = head else { return Err(BadFields::Syntax) };
        fields.end = head.len() - 2;
        if is_line(fields.end) { Ok(fields) } else { Err(BadFields::Syntax) }
    }

    /// How many bytes of the input were read, from its first on.
    pub(super) fn len(&self) -> usize {
        self.head.len()
    }

    /// The input up to the end of the head.
    pub(super) fn head(&self) -> &'b [u8] {
        self.head
    }

    /// Where the first line begins.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Where the empty line begins.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    fn spans(&self) -> &[Span] {
        &self.spans[..self.count]
    }

    fn field(&self, span: &Span) -> Field<'b> {
        Field {
            name: &self.head[usize::from(span.start)..usize::from(span.name_end)],
            value: &self.head[usize::from(span.value)..usize::from(span.value_end)],
        }
    }

    /// All, as received.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'b>> {
        self.spans().iter().map(|span| self.field(span))
    }

    /// The lines that are not just copied.
    pub(super) fn special(&self) -> impl Iterator<Item = Line<'b>> {
        let spans = self.spans();
        spans.iter().enumerate().filter(|(_, span)| span.class != Class::Pass).map(move |(i, span)| Line {
            class: span.class,
            field: self.field(span),
            start: usize::from(span.start),
            end: spans.get(i + 1).map_or(self.end, |next| usize::from(next.start)),
        })
    }

    /// The values of all lines of `class`.
    pub(super) fn of(&self, class: Class) -> impl Iterator<Item = &'b [u8]> {
        self.spans().iter().filter(move |span| span.class == class).map(|span| self.field(span).value)
    }

    /// The value of the first line of that name.
    pub(super) fn get(&self, name: &str) -> Option<&'b [u8]> {
        let is_it = |span: &&Span| {
            usize::from(span.name_end) - usize::from(span.start) == name.len()
                && self.field(span).name.eq_ignore_ascii_case(name.as_bytes())
        };
        self.spans().iter().find(is_it).map(|span| self.field(span).value)
    }

    /// Leaves out what the `Connection` lines name.
    #[cold]
    pub(super) fn drop_nominated(&mut self) {
        for i in 0..self.count {
            let span = self.spans[i];
            if span.class == Class::Pass && is_nominated(self.field(&span).name, self.of(Class::Connection)) {
                self.spans[i].class = Class::Drop;
            }
        }
    }
}
