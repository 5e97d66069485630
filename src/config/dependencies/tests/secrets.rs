//! No password is told, wherever it was put and however it was written.

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};

use crate::config::ByHand;
use crate::config::dependencies::tests::World;
use crate::config::urls::encoded;

/// A password out of pieces that can be told from all else, and what tempts a parser.
fn password() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Zq7".to_owned()),
        "[:/?#@%,&= \\[\\]+]{1,2}",
        "[0-9]{1,3}",
        // What would end the host, behind what would be its port.
        "[0-9]{1,2}[/?#]",
        Just("%4".to_owned()),
        Just("é".to_owned()),
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat() + "Zq7")
}

const FORMS: usize = 7;
const PLACES: usize = 6;

fn url(form: usize, password: &str) -> String {
    match form {
        0 => format!("postgres://me:{password}@db:5432/shop?sslmode=disable"),
        1 => format!("redis://:{password}@cache:6379/0"),
        2 => format!("mysql://root:{password}@my/d"),
        3 => format!("postgres://db/shop?user=me&password={password}"),
        4 => format!("redis+sentinel://:{password}@s1,s2/main"),
        5 => format!("https://me:{password}@h/x"),
        _ => format!("nosuch://me:{password}@h/x"),
    }
}

/// All that is told when the URL stands there, be it well or not.
fn told(url: &str, place: usize) -> Result<String, String> {
    let mut world = match place {
        0 => World::new(&format!("[probe.x]\nurl = \"{url}\"\n")),
        1 => World::new("[probe.x]\nurl_from = \"X\"\n").env("X", url),
        2 => World::new("").env("OUTRIGGER__PROBE__X__URL", url),
        3 => World::new(&format!("[probe.x]\nurl_from = \"{url}\"\nkind = \"{url}\"\n")),
        4 => World::new("").env("DATABASE_URL", url),
        _ => World::new(""),
    };
    if place == 5 {
        world.flags.probe = Some(ByHand::Url(url.to_owned()));
    }
    // Without a user there would be a fault before anything can leak.
    let loaded = world.env("USER", "me").try_load();
    loaded.map(|loaded| format!("{loaded:?}")).map_err(|faults| format!("{faults} {faults:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_password_is_told_however_it_is_written(
        password in password(),
        form in 0..FORMS,
        place in 0..PLACES,
    ) {
        for password in [&password, &encoded(&password)] {
            let (Ok(told) | Err(told)) = told(&url(form, password), place);
            prop_assert!(!told.contains("Zq7"), "{}", told);
        }
    }
}

/// So that the property above meets both what is well and what is not.
#[test]
fn every_form_at_every_place_is_told_without_its_password() {
    let mut well = 0;
    for (form, place) in (0..FORMS).flat_map(|form| (0..PLACES).map(move |place| (form, place))) {
        let outcome = told(&url(form, "Zq7"), place);
        well += usize::from(outcome.is_ok());
        let (Ok(told) | Err(told)) = outcome;
        assert!(!told.contains("Zq7"), "{told}");
    }
    // Five forms that are understood, in two variables; what is found by itself is no fault, whatever it holds.
    assert_eq!(well, 5 * 2 + FORMS);
}
