//! What a case is: what is sent, what the app does, what is expected. Plain data; `judge` runs it.

use std::time::Duration;

use crate::app::{App, Play, Stand, Then};
use crate::client::Client;
use crate::subject::{Kind, Knobs, Subject};

/// One case. In what is sent and said, `|` stands for a line's end.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) play: Play,
    pub(crate) stand: Stand,
    pub(crate) knobs: Knobs,
    pub(crate) run: Run,
    /// The peers' outcome is a matter of chance: it is shown as it was, and not compared.
    pub(crate) varies: bool,
    /// It can be seen with outrigger only.
    pub(crate) own: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// One of these codes, then the end of the connection; nothing reaches the app.
    Refused { sent: &'static [u8], codes: &'static [u16] },
    /// As `Refused`, but the head may have reached the app; never a whole request.
    BadBody { sent: &'static [u8], codes: &'static [u16] },
    /// It reaches the app, whose answer comes back.
    Passed { sent: &'static [u8], wants: &'static [Want] },
    /// The app's reply to a request, as the client sees it.
    Replied { sent: &'static [u8], sees: &'static [See] },
    /// Anything else.
    Script(fn(&mut Scene) -> Verdict),
}

/// What is wanted of a request that was passed on.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    /// The request line at the app.
    Line(&'static [u8]),
    /// A field with this name and value.
    Has(&'static [u8], &'static [u8]),
    /// A field with this name, whatever its value.
    Any(&'static [u8]),
    /// No field with this name.
    Lacks(&'static [u8]),
    /// So many fields with this name.
    Count(&'static [u8], usize),
    /// These bytes within the head.
    Raw(&'static [u8]),
    Body(&'static [u8]),
    Trailer(&'static [u8], &'static [u8]),
    NoTrailer(&'static [u8]),
    Chunked,
    /// So many requests arrive on the whole, one after the other, and all are answered.
    Arrivals(usize),
    /// The connection ends after the reply.
    Ends,
}

/// What the client is to see of a reply.
#[derive(Clone, Copy)]
pub(crate) enum See {
    Status(u16),
    /// The status line.
    Line(&'static [u8]),
    Has(&'static [u8], &'static [u8]),
    Lacks(&'static [u8]),
    Raw(&'static [u8]),
    Body(&'static [u8]),
    Trailer(&'static [u8], &'static [u8]),
    NoTrailer(&'static [u8]),
    Chunked,
    /// The body came whole.
    Whole,
    /// The body visibly did not come whole, and had no last chunk.
    Cut,
    /// As `Cut`, where only a reset can show it.
    Reset,
    /// Interim replies with these codes came before.
    Interim(&'static [u16]),
    /// A second request on the client's connection is answered well.
    Next,
    /// A second request goes to the app on another connection.
    Fresh,
    /// A second request goes to the app on the same connection.
    Reused,
    /// The client's connection ends.
    Ends,
}

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1|Host: a||";

impl Case {
    const fn new(id: &'static str, name: &'static str, play: Play, run: Run) -> Self {
        Self { id, name, play, stand: Stand::Open, knobs: Knobs::NONE, run, varies: false, own: false }
    }

    pub(crate) const fn knobs(mut self, knobs: Knobs) -> Self {
        self.knobs = knobs;
        self
    }

    pub(crate) const fn stands(mut self, stand: Stand) -> Self {
        self.stand = stand;
        self
    }

    pub(crate) const fn varies(mut self) -> Self {
        self.varies = true;
        self
    }

    pub(crate) const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// The letter of its group.
    pub(crate) fn group(&self) -> char {
        self.id.chars().next().unwrap_or('?')
    }
}

const BAD: &[u16] = &[400];

pub(crate) const fn refused(id: &'static str, name: &'static str, sent: &'static [u8]) -> Case {
    Case::new(id, name, Play::Ok, Run::Refused { sent, codes: BAD })
}

pub(crate) const fn refused_as(
    id: &'static str,
    name: &'static str,
    codes: &'static [u16],
    sent: &'static [u8],
) -> Case {
    Case::new(id, name, Play::Ok, Run::Refused { sent, codes })
}

pub(crate) const fn bad_body(id: &'static str, name: &'static str, sent: &'static [u8]) -> Case {
    Case::new(id, name, Play::Ok, Run::BadBody { sent, codes: BAD })
}

pub(crate) const fn passed(
    id: &'static str,
    name: &'static str,
    sent: &'static [u8],
    wants: &'static [Want],
) -> Case {
    Case::new(id, name, Play::Ok, Run::Passed { sent, wants })
}

/// A reply that is answered 502 and whose connection is not used again.
pub(crate) const fn bad_reply(id: &'static str, name: &'static str, says: &'static [u8], then: Then) -> Case {
    let sees = &[See::Status(502), See::Fresh];
    Case::new(id, name, Play::Once(says, then), Run::Replied { sent: GET, sees })
}

pub(crate) const fn replied(
    id: &'static str,
    name: &'static str,
    says: &'static [u8],
    then: Then,
    sees: &'static [See],
) -> Case {
    replied_to(id, name, GET, says, then, sees)
}

pub(crate) const fn replied_to(
    id: &'static str,
    name: &'static str,
    sent: &'static [u8],
    says: &'static [u8],
    then: Then,
    sees: &'static [See],
) -> Case {
    Case::new(id, name, Play::Once(says, then), Run::Replied { sent, sees })
}

pub(crate) const fn script(
    id: &'static str,
    name: &'static str,
    play: Play,
    run: fn(&mut Scene) -> Verdict,
) -> Case {
    Case::new(id, name, play, Run::Script(run))
}

/// The app and the proxy that one case has to itself.
pub(crate) struct Scene {
    pub(crate) kind: Kind,
    pub(crate) patience: Duration,
    // Ends before the app does: what it logs is then about the case and not about its end.
    pub(crate) subject: Subject,
    pub(crate) app: App,
}

impl Scene {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.subject.front, self.patience)
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.kind == Kind::Outrigger
    }
}

/// What was seen, in a few words, and what was wrong with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) word: String,
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    pub(crate) fn good(word: impl Into<String>) -> Self {
        Self { word: word.into(), faults: Vec::new() }
    }

    pub(crate) fn bad(word: impl Into<String>) -> Self {
        let word = word.into();
        Self { faults: vec![word.clone()], word }
    }

    /// Good or bad by what held; the word is the same.
    pub(crate) fn of(good: bool, word: impl Into<String>) -> Self {
        if good { Self::good(word) } else { Self::bad(word) }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}
