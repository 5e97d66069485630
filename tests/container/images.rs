//! The images under test.
//!
//! `outrigger` is the last stage of `Dockerfile` as it stands there, around the binary that cargo has built: nothing is
//! compiled. That binary needs shared libraries, so the stage stands on an image with those instead of on nothing.
//! `CONTAINER_BUILD=1` builds the whole `Dockerfile` in their place (`CONTAINER_RUST_IMAGE` names another first stage).
//! `outrigger-app` is a user's own image: a busybox with an app, and the lines that `docs/OPERATIONS.md` gives.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use crate::docker::{Docker, WAIT, home, root, variable};

/// The agent alone.
pub(crate) const AGENT: &str = "outrigger";
/// A user's image: an app with the agent before it.
pub(crate) const APP: &str = "outrigger-app";
/// A shell, and what the binary needs.
const BASE: &str = "outrigger-base";
/// On each image: what it was made of.
const LABEL: &str = "made-of";
const BINARY: &str = env!("CARGO_BIN_EXE_outrigger");

/// Makes the images unless they are there and made of the same; the tests are processes that all come here at once.
pub(crate) async fn make(docker: &Docker) {
    let lock = File::create(home().join("images.lock")).expect("scripts/test made the folder");
    lock.lock().expect("a file can be locked");
    let stamp = stamp();
    let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let made_of = docker.try_run(&["image", "inspect", "-f", &format, APP], WAIT).await;
    if made_of.as_ref() == Ok(&stamp) {
        return;
    }
    let label = format!("{LABEL}={stamp}");
    let is_whole = variable("CONTAINER_BUILD").is_some_and(|value| value == "1");
    build(docker, BASE, &label, &base(is_whole)).await;
    if is_whole {
        build_whole(docker).await;
    } else {
        build(docker, AGENT, &label, &agent()).await;
    }
    build(docker, APP, &label, &app()).await;
}

async fn build(docker: &Docker, image: &str, label: &str, context: &TempDir) {
    let folder = context.path().to_str().expect("a temporary folder's path is UTF-8");
    docker.build(&["-t", image, "--label", label, folder]).await;
}

async fn build_whole(docker: &Docker) {
    let base = variable("CONTAINER_RUST_IMAGE").map(|image| format!("RUST_IMAGE={}", image.display()));
    let mut arguments = vec!["-t", AGENT, "--network", "host"];
    arguments.extend(base.iter().flat_map(|base| ["--build-arg", base.as_str()]));
    let root = root();
    arguments.push(root.to_str().expect("the checkout's path is UTF-8"));
    docker.build(&arguments).await;
}

/// What the images depend on.
fn stamp() -> String {
    let mut hasher = DefaultHasher::new();
    let binary = fs::metadata(BINARY).unwrap();
    let changed = binary.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    (binary.len(), changed, variable("CONTAINER_BUILD"), user_lines()).hash(&mut hasher);
    read("Dockerfile").hash(&mut hasher);
    for file in ["images.rs", "serve", "www/index.html", "www/cgi-bin/slow"] {
        read(&format!("tests/container/{file}")).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn base(is_whole: bool) -> TempDir {
    let context = context(&["FROM scratch", "COPY root /"]);
    let into = |path: &Path| {
        let inside = context.path().join("root").join(path.strip_prefix("/").expect("it is absolute"));
        fs::create_dir_all(inside.parent().expect("it is below the root")).unwrap();
        inside
    };
    let busybox = home().join("unpacked/bin/busybox");
    fs::copy(&busybox, into(Path::new("/bin/busybox"))).expect("scripts/test unpacked busybox");
    for name in ["sh", "httpd", "sleep", "ps", "tail", "cat", "kill", "true", "grep"] {
        symlink("busybox", into(&Path::new("/bin").join(name))).unwrap();
    }
    // A static binary proves that it is one.
    let libraries = if is_whole { Vec::new() } else { libraries() };
    for library in libraries {
        fs::copy(&library, into(Path::new(&library))).unwrap();
    }
    context
}

/// The shared libraries of the binary, and what loads them.
fn libraries() -> Vec<String> {
    let output = std::process::Command::new("ldd").arg(BINARY).output().expect("ldd is part of glibc");
    let said = String::from_utf8(output.stdout).unwrap();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    said.lines().filter_map(path).collect()
}

/// The last stage of the Dockerfile, after a stage that has what its first one builds.
fn agent() -> TempDir {
    let dockerfile = read("Dockerfile");
    let (_, last) = dockerfile.rsplit_once("\nFROM scratch\n").expect("the last stage begins with nothing");
    assert!(last.contains("\nENTRYPOINT "), "this is the whole of the last stage:\n{last}");
    let base = format!("FROM {BASE}");
    let context = context(&[&format!("{base} AS build"), "COPY out /out", &base, last]);
    let out = context.path().join("out");
    fs::create_dir_all(out.join("data")).unwrap();
    fs::copy(BINARY, out.join("outrigger")).unwrap();
    context
}

fn app() -> TempDir {
    let from = format!("FROM {BASE}");
    let mut lines = vec![from.as_str(), "COPY app /app"];
    let given = user_lines();
    lines.extend(given.iter().map(String::as_str));
    lines.push("CMD [\"/app/serve\"]");
    let context = context(&lines);
    copy_folder(&root().join("tests/container"), &context.path().join("app"));
    context
}

/// The lines that the docs tell a user to write.
fn user_lines() -> Vec<String> {
    let page = read("docs/OPERATIONS.md");
    let (_, section) = page.split_once("\n## In a container\n").expect("the page has this section");
    let (_, block) = section.split_once("```dockerfile\n").expect("the section has the lines");
    let (block, _) = block.split_once("```").expect("the block ends");
    let lines: Vec<String> = block.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "it is these two lines that the docs promise to be enough: {lines:?}");
    lines
}

fn context(dockerfile: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), dockerfile.join("\n")).unwrap();
    folder
}

/// The app's files, with their modes; the tests' own are left out.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let into = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_folder(&path, &into);
        } else if path.extension() != Some(OsStr::new("rs")) {
            fs::copy(&path, &into).unwrap();
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
