//! Log messages: constants with their data in fields, and each one from INFO up listed for operators.

use proc_macro2::{TokenStream, TokenTree};

use crate::source::{Fault, File};

const LEVELS: [&str; 3] = ["info", "warn", "error"];
const LISTED_IN: &str = "docs/OPERATIONS.md";

/// One log line that the code can write.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    path: String,
    line: usize,
    /// `None`: the message is no constant.
    message: Option<String>,
}

/// Every log line of INFO and above outside tests.
pub(crate) fn said(file: &File) -> Vec<Said> {
    let mut found = Vec::new();
    if file.is_test() {
        return found;
    }
    collect(file, file.tokens(), &mut found);
    found
}

fn collect(file: &File, tokens: TokenStream, found: &mut Vec<Said>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut in_test = false;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(g) if g.stream().to_string().replace(' ', "") == "cfg(test)" => in_test = true,
            TokenTree::Group(g) if in_test && g.delimiter() == proc_macro2::Delimiter::Brace => {
                in_test = false
            }
            TokenTree::Punct(p) if p.as_char() == ';' => in_test = false,
            TokenTree::Group(g) => collect(file, g.stream(), found),
            TokenTree::Ident(name) if LEVELS.iter().any(|level| name == level) => {
                if let (Some(TokenTree::Punct(bang)), Some(TokenTree::Group(arguments))) =
                    (tokens.get(i + 1), tokens.get(i + 2))
                    && bang.as_char() == '!'
                {
                    let (path, line) = (file.path.clone(), name.span().start().line);
                    found.push(Said { path, line, message: message(arguments.stream()) });
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The argument that begins with a string; a field's value stands after its name and `=`.
fn message(arguments: TokenStream) -> Option<String> {
    let mut begins = true;
    for token in arguments {
        if let (true, TokenTree::Literal(literal)) = (begins, &token) {
            return syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value());
        }
        begins = matches!(&token, TokenTree::Punct(p) if p.as_char() == ',');
    }
    None
}

pub(crate) fn constant(file: &File) -> Vec<Fault> {
    let fault = |said: Said| {
        let what = match said.message {
            None => "a log message is a constant text".to_owned(),
            Some(text) if text.contains('{') => format!("`{text}`: data are fields, not part of the message"),
            Some(text) if text.ends_with('.') => format!("`{text}`: no full stop"),
            Some(text) if is_capitalised(&text) => format!("`{text}`: lower case"),
            Some(_) => return None,
        };
        Some(file.fault(said.line, what))
    };
    said(file).into_iter().filter_map(fault).collect()
}

/// `Started` is; `SQLite` and `SIGTERM` are names.
fn is_capitalised(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase)
}

/// `operations`: the page for operators, with what to do at each message.
pub(crate) fn listed(said: &[Said], operations: Option<&File>) -> Vec<Fault> {
    let messages: Vec<(&Said, &str)> = said.iter().filter_map(|s| Some((s, s.message.as_deref()?))).collect();
    let Some(page) = operations else {
        let texts: Vec<&str> = messages.iter().map(|(_, text)| *text).collect();
        let what = format!("does not exist; it has to list: {}", texts.join("; "));
        let fault = Fault { path: LISTED_IN.to_owned(), line: 1, what };
        return if messages.is_empty() { Vec::new() } else { vec![fault] };
    };
    let page = squeeze(&page.text);
    let missing = messages.into_iter().filter(|(_, text)| !page.contains(&squeeze(text)));
    let fault = |(said, text): (&Said, &str)| Fault {
        path: said.path.clone(),
        line: said.line,
        what: format!("`{text}` is not listed in {LISTED_IN}"),
    };
    missing.map(fault).collect()
}

/// A message may be broken over two lines of the page.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<Option<String>> {
        said(&File::new("src/agent.rs", text)).into_iter().map(|s| s.message).collect()
    }

    #[test]
    fn a_message_is_found_behind_its_fields_and_inside_other_macros() {
        let some = |text: &str| vec![Some(text.to_owned())];
        assert_eq!(
            messages("fn f() { info!(from = %a, note = \"x\", ?b, \"phase changed\"); }"),
            some("phase changed")
        );
        assert_eq!(messages("fn f() { tracing::warn!(target: \"t\", \"late\"); }"), some("late"));
        assert_eq!(messages("fn f() { select! { _ = a => { error!(code, \"lost\") } } }"), some("lost"));
        assert!(messages("fn f() { debug!(\"tick\"); }").is_empty());
        assert!(messages("#[cfg(test)] mod tests { fn f() { info!(\"only a test\"); } }").is_empty());
    }

    #[test]
    fn a_message_that_is_no_plain_constant_is_refused() {
        for text in [
            "info!(message)",
            "info!(\"to {x}\")",
            "warn!(\"Late\")",
            "error!(\"lost.\")",
            "info!(a = \"b\")",
        ] {
            let file = File::new("src/agent.rs", &format!("fn f() {{ {text}; }}"));
            assert_eq!(constant(&file).len(), 1, "{text}");
        }
        assert!(
            constant(&File::new("src/agent.rs", "fn f() { info!(x, \"SIGTERM received\"); }")).is_empty()
        );
    }

    #[test]
    fn a_message_that_operators_cannot_look_up_is_refused() {
        let code = said(&File::new("src/agent.rs", "fn f() { info!(\"phase changed\"); }"));
        assert_eq!(listed(&code, Some(&File::new(LISTED_IN, "| `phase moved` |"))).len(), 1);
        assert!(listed(&code, Some(&File::new(LISTED_IN, "| `phase\nchanged` |"))).is_empty());
        assert_eq!(listed(&code, None).len(), 1);
        assert!(listed(&[], None).is_empty());
    }
}
