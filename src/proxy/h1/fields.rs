//! The fields of a head or a trailer section, as spans of the input.
//!
//! A name is a token and stands right before its colon, a value is text, and a line ends in CRLF; there are no other
//! lines. Each field gets a class from the caller, which says what rendering does with it. It does not know requests
//! from replies.

use crate::proxy::h1::names::is_nominated;
use crate::proxy::h1::{FIELDS_MAX, HEAD_MAX, scan};

/// The fields of nearly every message: spans of so many lie in place, those of more on the heap.
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
    /// Behind the line's end.
    end: u16,
    class: Class,
}

const _: () = assert!(HEAD_MAX <= 1 << 16, "spans hold offsets below 64 Ki");

/// All fields, in order.
pub(super) struct Fields<'b> {
    /// From the first byte of the input to the end of the head.
    head: &'b [u8],
    /// Where the first line begins.
    first: usize,
    /// Of them, those in `few`.
    count: usize,
    few: [Span; FEW],
    /// Bounded by [`FIELDS_MAX`].
    more: Vec<Span>,
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
    /// None as yet; they begin at `first`. `input` is [`HEAD_MAX`] bytes at most.
    pub(super) fn new(input: &'b [u8], first: usize) -> Self {
        Fields { head: input, first, count: 0, few: [Span::default(); FEW], more: Vec::new() }
    }

    /// Reads them, up to and with the empty line. Whether it is there: otherwise more bytes are needed.
    #[inline(never)]
    pub(super) fn read(
        &mut self,
        mut classify: impl FnMut(&'b [u8], &'b [u8]) -> Class,
    ) -> Result<bool, BadFields> {
        let input = self.head;
        let mut rest = &input[self.first..];
        loop {
            let (name, value) = rest.split_at(scan::token(rest));
            let [b':', value @ ..] = value else { return self.end_at(rest, value) };
            if name.is_empty() {
                return Err(BadFields::Syntax);
            }
            let value = without_blanks_before(value);
            let (value, after) = value.split_at(scan::text(value));
            let [b'\r', b'\n', after @ ..] = after else { return incomplete(after) };
            // A line that ends where the longest head does leaves no room for the empty one: the caller refuses that.
            let Ok(end) = u16::try_from(input.len() - after.len()) else { return Ok(false) };
            let value_start = usize::from(end) - value.len() - 2;
            let value = without_blanks_behind(value);
            let start = input.len() - rest.len();
            self.push(Span {
                // All smaller than the end.
                start: start as u16,
                name_end: (start + name.len()) as u16,
                value: value_start as u16,
                value_end: (value_start + value.len()) as u16,
                end,
                class: classify(name, value),
            })?;
            rest = after;
        }
    }

    /// What begins at `rest` is the empty line, or else no line; `after` follows the token that `rest` begins with.
    fn end_at(&mut self, rest: &[u8], after: &[u8]) -> Result<bool, BadFields> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.head = &self.head[..self.head.len() - rest.len() + 2];
                Ok(true)
            }
            [b'\r'] => Ok(false),
            _ if after.is_empty() => Ok(false),
            _ => Err(BadFields::Syntax),
        }
    }

    #[inline]
    fn push(&mut self, span: Span) -> Result<(), BadFields> {
        if let Some(place) = self.few.get_mut(self.count) {
            *place = span;
            self.count += 1;
            return Ok(());
        }
        self.push_more(span)
    }

    #[cold]
    fn push_more(&mut self, span: Span) -> Result<(), BadFields> {
        if self.count + self.more.len() == FIELDS_MAX {
            return Err(BadFields::TooMany);
        }
        self.more.push(span);
        Ok(())
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
        self.head.len() - 2
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.few[..self.count].iter().chain(&self.more)
    }

    /// All, as received.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'b>> {
        self.spans().map(|span| span.field(self.head))
    }

    /// The lines that are not just copied.
    pub(super) fn special(&self) -> impl Iterator<Item = Line<'b>> {
        self.spans().filter(|span| span.class != Class::Pass).map(|span| Line {
            class: span.class,
            field: span.field(self.head),
            start: usize::from(span.start),
            end: usize::from(span.end),
        })
    }

    /// The values of all lines of `class`.
    pub(super) fn of(&self, class: Class) -> impl Iterator<Item = &'b [u8]> {
        self.spans().filter(move |span| span.class == class).map(|span| span.field(self.head).value)
    }

    /// The value of the first line of that name.
    pub(super) fn get(&self, name: &str) -> Option<&'b [u8]> {
        let is_it = |span: &&Span| {
            usize::from(span.name_end - span.start) == name.len()
                && span.field(self.head).name.eq_ignore_ascii_case(name.as_bytes())
        };
        self.spans().find(is_it).map(|span| span.field(self.head).value)
    }

    /// Leaves out what the `Connection` lines name.
    #[cold]
    pub(super) fn drop_nominated(&mut self) {
        let is_out = |span: &Span| {
            span.class == Class::Pass && is_nominated(span.field(self.head).name, self.of(Class::Connection))
        };
        let out: Vec<bool> = self.spans().map(is_out).collect();
        let spans = self.few[..self.count].iter_mut().chain(&mut self.more);
        for (span, _) in spans.zip(out).filter(|(_, out)| *out) {
            span.class = Class::Drop;
        }
    }
}

impl Span {
    #[inline]
    fn field<'b>(&self, input: &'b [u8]) -> Field<'b> {
        Field {
            name: &input[usize::from(self.start)..usize::from(self.name_end)],
            value: &input[usize::from(self.value)..usize::from(self.value_end)],
        }
    }
}

/// What follows a value is not yet the end of its line, or cannot be.
fn incomplete(after: &[u8]) -> Result<bool, BadFields> {
    if matches!(after, [] | [b'\r']) { Ok(false) } else { Err(BadFields::Syntax) }
}

#[inline]
fn without_blanks_before(value: &[u8]) -> &[u8] {
    // One space, nearly always.
    let value = value.strip_prefix(b" ").unwrap_or(value);
    let blanks = |value: &[u8]| value.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    if matches!(value, [b' ' | b'\t', ..]) { &value[blanks(value)..] } else { value }
}

#[inline]
fn without_blanks_behind(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
