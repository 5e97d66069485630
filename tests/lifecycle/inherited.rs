//! What the app inherits: three open files, a clean mask, the old limit, and no secret.

use crate::agent::{Place, words};

#[tokio::test]
async fn only_the_standard_streams_an_empty_mask_and_the_first_limit() {
    let place = Place::new();
    let script = r#"for n in $(seq 0 200); do [ -e /proc/$$/fd/$n ] && printf "$n "; done > fds
                    ulimit -n > limit; grep Sig /proc/self/status > masks"#;
    // A limit that the agent raises for itself, and a file that must not go past it: it is the shell's own affair.
    let before = words(["sh", "-c", "ulimit -Sn 300; exec \"$@\"", "sh"]);
    let agent = place.start_behind(&before, &words(["sh", "-c", script]), &[]);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 0, "{said:#?}");
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    // While the shell writes, 1 is the file, and the old 1 lies at 10 or so.
    let open: Vec<u32> = read("fds").split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert!(open.starts_with(&[0, 1, 2]) && open.iter().filter(|&&n| n != 10).count() == 3, "{open:?}");
    assert_eq!(read("limit").trim(), "300");
    let mask = |name: &str| {
        let masks = read("masks");
        let line = masks.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        u64::from_str_radix(&line, 16).unwrap()
    };
    assert_eq!((mask("SigBlk:"), mask("SigIgn:")), (0, 0));
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
