//! No password is told, wherever it was put and however it was written.

use proptest::prelude::*;

use crate::config::ByHand;
use crate::config::dependencies::tests::World;
use crate::config::urls::encoded;

/// A password out of pieces that can be told from all else, and what tempts a parser.
fn password() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Zq7".to_owned()),
        "[:/?#@%,&= \\[\\]+]{1,2}",
        "[0-9]{1,3}",
        Just("%4".to_owned()),
        Just("é".to_owned()),
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat() + "Zq7")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_password_is_told_however_it_is_written(password in password(), form in 0..7usize, place in 0..6usize) {
        let written = encoded(&password);
        for password in [&password, &written] {
            let url = match form {
                0 => format!("postgres://me:{password}@db:5432/shop?sslmode=disable"),
                1 => format!("redis://:{password}@cache:6379/0"),
                2 => format!("mysql://root:{password}@my/d"),
                3 => format!("postgres://db/shop?user=me&password={password}"),
                4 => format!("redis+sentinel://:{password}@s1,s2/main"),
                5 => format!("https://me:{password}@h/x"),
                _ => format!("nosuch://me:{password}@h/x"),
            };
            let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
            let mut world = match place {
                0 => World::new(&format!("[probe.x]\nurl = \"{quoted}\"\n")),
                1 => World::new("[probe.x]\nurl_from = \"X\"\n").env("X", &url),
                2 => World::new("").env("OUTRIGGER__PROBE__X__URL", &url),
                3 => World::new(&format!("[probe.x]\nurl_from = \"{quoted}\"\nkind = \"{quoted}\"\n")),
                4 => World::new("").env("DATABASE_URL", &url),
                _ => World::new(""),
            };
            if place == 5 {
                world.flags.probe = Some(ByHand::Url(url));
            }
            let told = match world.try_load() {
                Ok(loaded) => format!("{loaded:?}"),
                Err(faults) => format!("{faults} {faults:?}"),
            };
            prop_assert!(!told.contains("Zq7"), "{}", told);
        }
    }
}
