//! The table of `docs/PROXY.md`: what was measured becomes text, and text is compared with what was measured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::case::{Case, Verdict};
use crate::subject::Kind;

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->";

/// What the cases of a block have in common, by the beginning of their ids.
const BLOCKS: &[(&str, &str)] = &[
    ("A01", "Content-Length and Transfer-Encoding together"),
    ("A02", "Transfer-Encoding in HTTP/1.0"),
    ("A03", "Transfer-Encoding other than one `chunked`"),
    ("A05", "Several lengths"),
    ("A06", "Content-Length"),
    ("A07", "Chunks of a request"),
    ("A08", "Requests that end too early"),
    ("A09", "Fields of a request"),
    ("A10", "Request lines"),
    ("A11", "Bad replies of the app"),
    ("A12", "Replies with two lengths"),
    ("A13", "Truncated and broken replies"),
    ("A14", "HTTP/1.0 and replies ended by close"),
    ("A15", "Replies without a body"),
    ("A16", "Bytes after a reply"),
    ("A17", "Bytes without a request"),
    ("A18", "Split replies"),
    ("A19", "Odd but good replies"),
    ("A20", "Odd requests"),
    ("B01", "Fields of one hop in requests"),
    ("B02", "Fields of one hop in replies"),
    ("B03", "Case and order"),
    ("B04", "Host"),
    ("B05", "Targets"),
    ("B06", "Fragments"),
    ("B07", "Methods"),
    ("B08", "Other forms of target"),
    ("B09", "Fields that pass"),
    ("B10", "Fields that are added"),
    ("B11", "Fields that are left alone"),
    ("B12", "Sizes"),
    ("B13", "HTTP/1.0 clients"),
    ("C01", "Bodies"),
    ("C02", "Empty bodies"),
    ("C04", "Streams"),
    ("C05", "Early replies"),
    ("C06", "`Expect: 100-continue`"),
    ("C07", "Interim replies"),
    ("C08", "Reply trailers"),
    ("C09", "Request trailers"),
    ("C10", "Upgrades"),
    ("C12", "Switches that nobody asked for"),
    ("C13", "Tunnels"),
    ("C14", "Pipelines"),
    ("C15", "Replies to HTTP/1.0"),
    ("C16", "Ranges and codings"),
    ("C17", "The end of a client's connection"),
    ("C18", "Half-closed clients"),
    ("E01", "Connections that the app closes"),
    ("E03", "Connections that die under a request"),
    ("E04", "Connections used again"),
    ("E05", "An app that is not there yet"),
    ("E06", "An app that is silent"),
    ("E07", "A client that is silent"),
    ("E08", "Slow clients in numbers"),
    ("E09", "A client that does not read"),
    ("E10", "A client that leaves"),
    ("E11", "Overload"),
    ("E12", "Errors that the proxy makes"),
    ("E13", "An app of one thread"),
    ("E14", "What the app says of its connections"),
    ("H", "How outrigger counts"),
];

/// What one proxy did in each case, by id.
pub(crate) type Measured = BTreeMap<&'static str, Verdict>;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/PROXY.md")
}

fn page() -> String {
    std::fs::read_to_string(path()).unwrap()
}

/// A cell: what is not as promised is in bold.
pub(crate) fn cell(verdict: &Verdict) -> String {
    let word = verdict.word.replace('|', "\\|");
    if verdict.is_good() { word } else { format!("**{word}**") }
}

/// The cells of the page, by id.
pub(crate) fn rows() -> BTreeMap<String, [String; 3]> {
    let page = page();
    let (_, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (table, _) = rest.split_once(END).expect("the page has the second mark");
    let rows = table.lines().filter_map(|line| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<&str> = inner.split(" | ").map(str::trim).collect();
        let id = cells.first()?.to_string();
        let of = |i: usize| cells.get(cells.len() - i).map(ToString::to_string);
        (cells.len() >= 5).then_some((id, [of(3)?, of(2)?, of(1)?]))
    });
    rows.collect()
}

/// Whether the page names this version of a peer.
pub(crate) fn names_version(kind: Kind, version: &str) -> bool {
    page().contains(&match kind {
        Kind::Outrigger => "outrigger".to_owned(),
        Kind::Nginx => format!("| nginx {version} |"),
        Kind::Haproxy => format!("| HAProxy {version} |"),
    })
}

/// What the page says otherwise than was measured.
pub(crate) fn differences(cases: &[&Case], kind: Kind, measured: &Measured) -> Vec<String> {
    let rows = rows();
    let column = kind as usize;
    let mut faults = Vec::new();
    for case in cases {
        let Some(verdict) = measured.get(case.id) else { continue };
        let is_comparable = kind == Kind::Outrigger || !case.varies;
        let said = rows.get(case.id).map(|row| row[column].as_str());
        if is_comparable && said != Some(cell(verdict).as_str()) {
            faults.push(format!(
                "{} ({}): the page says {}, measured {} {:?}",
                case.id,
                case.name,
                said.unwrap_or("nothing"),
                cell(verdict),
                verdict.faults
            ));
        }
    }
    faults
}

/// Puts what was measured into the page.
pub(crate) fn write(cases: &[&Case], measured: [&Measured; 3], versions: [&str; 2]) {
    let mut table = String::new();
    let mut block = "";
    for case in cases {
        let of = BLOCKS.iter().find(|(prefix, _)| case.id.starts_with(prefix));
        let (prefix, title) = of.unwrap_or_else(|| panic!("{} belongs to no block", case.id));
        if block != *prefix {
            block = prefix;
            table.push_str(&format!(
                "\n**{title}**\n\n| | | outrigger | nginx {} | HAProxy {} |\n",
                versions[0], versions[1]
            ));
            table.push_str("|---|---|---|---|---|\n");
        }
        let shown = measured.map(|one| one.get(case.id).map_or_else(|| "–".to_owned(), cell));
        let name = case.name.replace('|', "\\|") + if case.varies { " ~" } else { "" };
        table.push_str(&format!("| {} | {name} | {} |\n", case.id, shown.join(" | ")));
    }
    let page = page();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    std::fs::write(path(), format!("{before}{BEGIN}{table}\n{END}{after}")).unwrap();
}
