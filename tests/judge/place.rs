//! A directory with recordings, and the binary run in it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the binary gave back.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A directory of its own.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    /// With these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory can be made"));
        for (name, text) in files {
            std::fs::write(place.path().join(name), text).expect("a file can be written");
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `outrigger judge` there.
    pub(crate) fn judge(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .arg("judge")
            .args(arguments)
            .current_dir(self.path())
            // What stands around must not matter.
            .env("OUTRIGGER__JUDGE__ENABLED", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // One that ends without reading it closes the pipe.
        let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Ended {
            code: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ended {
    /// The lines of `--json`: ticks, and the summary.
    pub(crate) fn json(&self) -> (Vec<Value>, Value) {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        let mut lines: Vec<Value> =
            self.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let last = lines.pop().expect("there is a summary");
        (lines, last["summary"].clone())
    }
}
