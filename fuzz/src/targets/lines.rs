//! Heads as lines, read in the plainest way.

/// A rendered head.
pub(crate) struct Lines<'h> {
    pub(crate) first: &'h [u8],
    /// Names in lower case, and whole lines.
    pub(crate) fields: Vec<(Vec<u8>, &'h [u8])>,
}

impl<'h> Lines<'h> {
    /// # Panics
    ///
    /// Where a CR or LF stands anywhere but in a line's end, where a line is no field, or where the empty line is not
    /// the last one and the only one.
    pub(crate) fn of(head: &'h [u8]) -> Self {
        let (mut lines, mut from) = (Vec::new(), 0);
        for (at, &byte) in head.iter().enumerate() {
            match byte {
                b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "a bare CR in {}", shown(head)),
                b'\n' => {
                    assert!(at > 0 && head[at - 1] == b'\r', "a bare LF in {}", shown(head));
                    lines.push(&head[from..at - 1]);
                    from = at + 1;
                }
                _ => assert!(byte == b'\t' || (byte >= b' ' && byte != 0x7f), "a control in {}", shown(head)),
            }
        }
        assert_eq!(from, head.len(), "the last line has no end: {}", shown(head));
        assert_eq!(lines.pop(), Some(&b""[..]), "no empty line: {}", shown(head));
        assert!(lines.iter().all(|line| !line.is_empty()), "an empty line within {}", shown(head));
        let (first, rest) = lines.split_first().expect("a head has a first line");
        let field = |line: &&'h [u8]| {
            let end =
                line.iter().position(|&b| b == b':').unwrap_or_else(|| panic!("no field: {}", shown(line)));
            (line[..end].to_ascii_lowercase(), *line)
        };
        Self { first, fields: rest.iter().map(field).collect() }
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n == name.as_bytes()).count()
    }

    /// The values of all lines of that name, without blanks around them.
    pub(crate) fn values(&self, name: &str) -> Vec<&'h [u8]> {
        let lines = self.fields.iter().filter(|(n, _)| n == name.as_bytes());
        lines.map(|(n, line)| blanks_off(&line[n.len() + 1..])).collect()
    }

    /// What the `Connection` lines name, in lower case.
    pub(crate) fn nominated(&self) -> Vec<Vec<u8>> {
        let values = self.values("connection");
        let tokens = values.iter().flat_map(|value| value.split(|&b| b == b','));
        tokens.map(|token| blanks_off(token).to_ascii_lowercase()).collect()
    }

    /// # Panics
    ///
    /// Unless every one of `lines` is here, in that order.
    pub(crate) fn has_all<'l>(&self, lines: impl Iterator<Item = &'l [u8]>) {
        let mut ours = self.fields.iter();
        for line in lines {
            assert!(ours.any(|(_, own)| *own == line), "lost, or out of order: {}", shown(line));
        }
    }
}

/// Without the blanks around it.
pub(crate) fn blanks_off(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
