//! What the app inherits: nothing of the agent's own, a clean mask, the old limit, and no secret.

use crate::agent::{Place, words};

#[tokio::test]
async fn no_file_of_the_agents_an_empty_mask_and_the_first_limit() {
    const SCRIPT: &str = r#"for n in $(seq 0 999); do [ -e /proc/$$/fd/$n ] && open="$open $n"; done; echo $open > fds
                            ulimit -n > limit; grep Sig /proc/self/status > masks"#;
    let read = |place: &Place, name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let place = Place::new();
    // A limit that the agent raises for itself.
    let before = words(["sh", "-c", "ulimit -Sn 300; exec \"$@\"", "sh"]);
    let agent = place.start_behind(&before, &words(["sh", "-c", SCRIPT]), &[]);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 0, "{said:#?}");
    // What this process was given passes on, with the agent between or not; it may be more than the standard streams.
    let alone = Place::new();
    let mut direct = tokio::process::Command::new("sh");
    direct.args(["-c", SCRIPT]).current_dir(alone.path("")).stdin(std::process::Stdio::null());
    assert!(direct.status().await.unwrap().success());
    assert!(read(&alone, "fds").starts_with("0 1 2"));
    assert_eq!(read(&place, "fds"), read(&alone, "fds"));
    assert_eq!(read(&place, "limit").trim(), "300");
    // Above 31 are the real-time signals, two of which the C library handles as it likes.
    let mask = |place: &Place, name: &str| {
        let masks = read(place, "masks");
        let line = masks.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        u64::from_str_radix(&line, 16).unwrap() & 0x7fff_ffff
    };
    assert_eq!(mask(&place, "SigBlk:"), 0);
    assert_eq!(mask(&place, "SigIgn:"), mask(&alone, "SigIgn:"));
}

#[tokio::test]
async fn the_platforms_token_only_when_it_is_to_be_kept() {
    for (keep, expected) in [("false", false), ("true", true)] {
        let place = Place::new();
        let environment = [
            ("RAILWAY_TOKEN", "platform-secret"),
            ("RAILWAY_API_TOKEN", "platform-secret"),
            ("OUTRIGGER_TOKEN", "agent-secret-of-16"),
            ("OUTRIGGER__APP__KEEP_TOKEN", keep),
        ];
        let agent = place.start(&words(["sh", "-c", "env > given"]), &environment);
        assert_eq!(agent.ended().await.0, 0);
        let given = std::fs::read_to_string(place.path("given")).unwrap();
        assert_eq!(given.contains("RAILWAY_TOKEN=platform-secret"), expected, "{given}");
        assert_eq!(given.contains("RAILWAY_API_TOKEN=platform-secret"), expected, "{given}");
        assert!(!given.contains("OUTRIGGER_") && !given.contains("agent-secret"), "{given}");
    }
}
