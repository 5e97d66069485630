//! Redis Sentinels: which server they call the primary, and how many of them answer.
//!
//! One is asked at a time, over a connection that is closed at once. What a single Sentinel says may be old, so whoever asks
//! goes on to the next one where the server it names is none.

use std::time::Duration;

use ::redis::{Value, cmd};

use crate::config::probes::{Redis as Ask, Sentinel, Server};
use crate::prober::dial::{Dialer, Stage};
use crate::prober::probe::{Failure, Reply};
use crate::prober::redis::wire::{Credentials, Trouble, Wire, text};

/// How long one Sentinel may take; then the next one is asked.
const WAIT: Duration = Duration::from_millis(400);

/// What each Sentinel said last.
pub(super) struct Sentinels {
    heard: Vec<Heard>,
    /// The one whose turn it is in a round that is well.
    next: usize,
}

enum Heard {
    /// It was not asked yet.
    Nothing,
    /// It names a primary, or knows none.
    Answer(Option<Server>),
    /// It did not answer, in these words; whether the reason was our own.
    Failed(String, Owner),
}

#[derive(Clone, Copy, PartialEq)]
enum Owner {
    Theirs,
    Ours,
}

impl Sentinels {
    pub(super) fn new(count: usize) -> Self {
        Self { heard: (0..count).map(|_| Heard::Nothing).collect(), next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    /// Asks the Sentinel at `index`, and remembers what it said. The primary that it names.
    pub(super) async fn ask(
        &mut self,
        index: usize,
        ask: &Ask,
        dialer: &Dialer,
        stage: &mut Stage,
    ) -> Option<Server> {
        let (server, sentinel) = (&ask.servers[index], ask.sentinel.as_ref()?);
        let asked = tokio::time::timeout(WAIT, named(server, sentinel, ask, dialer, stage)).await;
        self.heard[index] = match asked {
            Ok(Ok(named)) => Heard::Answer(named),
            Ok(Err(Failure::Down(why))) => Heard::Failed(short(server, &why), Owner::Theirs),
            Ok(Err(Failure::Unable(why))) => Heard::Failed(short(server, &why), Owner::Ours),
            Err(_late) => {
                let why = format!("{server}: no answer within {} ms", WAIT.as_millis());
                Heard::Failed(why, Owner::Theirs)
            }
        };
        match &self.heard[index] {
            Heard::Answer(named) => named.clone(),
            Heard::Nothing | Heard::Failed(..) => None,
        }
    }

    /// Asks the one whose turn it is.
    pub(super) async fn ask_next(&mut self, ask: &Ask, dialer: &Dialer, stage: &mut Stage) -> Option<Server> {
        let index = self.next % self.len();
        self.next = index + 1;
        self.ask(index, ask, dialer, stage).await
    }

    /// Why none of them names a primary.
    pub(super) fn failure(&self, primary: &str) -> Failure {
        if self.heard.iter().any(|heard| matches!(heard, Heard::Answer(_))) {
            return Failure::Down(format!("the Sentinels know no primary `{primary}`"));
        }
        let words = format!("no Sentinel answers ({})", self.silent());
        let is_ours = |heard: &Heard| matches!(heard, Heard::Failed(_, Owner::Ours));
        if self.heard.iter().all(is_ours) { Failure::Unable(words) } else { Failure::Down(words) }
    }

    /// How many answer, once each was asked; what is to be said against that.
    pub(super) fn tell(&self, reply: &mut Reply) {
        reply.number("sentinels", self.len() as f64);
        if self.heard.iter().any(|heard| matches!(heard, Heard::Nothing)) {
            return;
        }
        let up = self.heard.iter().filter(|heard| matches!(heard, Heard::Answer(_))).count();
        reply.number("sentinels_up", up as f64);
        // Without a majority they agree on no failover.
        if up * 2 <= self.len() {
            reply.concern(format!(
                "only {up} of {} Sentinels answer, too few for a failover ({})",
                self.len(),
                self.silent()
            ));
        }
    }

    /// Those that do not answer, each with the reason.
    fn silent(&self) -> String {
        let why = |heard: &Heard| match heard {
            Heard::Failed(why, _) => Some(why.clone()),
            Heard::Nothing | Heard::Answer(_) => None,
        };
        let all: Vec<String> = self.heard.iter().filter_map(why).collect();
        all.join(", ")
    }
}

/// The reason without what is said already.
fn short(server: &Server, why: &str) -> String {
    let reason = match why.strip_prefix("no connection to ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, reason)| reason),
        None => why,
    };
    format!("{server}: {reason}")
}

/// The primary that a Sentinel names; `None` where it knows none of that name.
async fn named(
    server: &Server,
    sentinel: &Sentinel,
    ask: &Ask,
    dialer: &Dialer,
    stage: &mut Stage,
) -> Result<Option<Server>, Failure> {
    let mut wire = Wire::connect(server, &ask.tls, dialer, stage).await?;
    let credentials = Credentials { user: sentinel.user.as_deref(), password: sentinel.password.as_ref() };
    wire.introduce(credentials, stage).await?;
    let mut which = cmd("SENTINEL");
    which.arg("get-master-addr-by-name").arg(&sentinel.primary);
    match wire.ask("SENTINEL get-master-addr-by-name", &which, stage).await {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::Array(parts)) => {
            let (host, port) = (parts.first().and_then(text), parts.get(1).and_then(text));
            match (host, port.and_then(|port| port.parse().ok())) {
                // What begins with a slash would be a socket of this machine.
                (Some(host), Some(port)) if !host.starts_with('/') => Ok(Some(Server { host, port })),
                _ => Err(Failure::Down("what it names is no address".to_owned())),
            }
        }
        Ok(_) => Err(Failure::Down("its answer is not a Sentinel's".to_owned())),
        Err(Trouble::Said(words)) => Err(Failure::Down(words)),
        Err(Trouble::Broken(how)) => Err(Failure::Down(how)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(heard: Vec<Heard>) -> Sentinels {
        Sentinels { heard, next: 0 }
    }

    fn refused(port: u16) -> Heard {
        let server = Server { host: "10.0.0.5".to_owned(), port };
        let why = format!("no connection to {server}: Connection refused (os error 111)");
        Heard::Failed(short(&server, &why), Owner::Theirs)
    }

    #[test]
    fn no_answer_and_no_such_primary_are_two_things() {
        assert_eq!(
            sentinels(vec![refused(1), refused(2)]).failure("app"),
            Failure::Down(
                "no Sentinel answers (10.0.0.5:1: Connection refused (os error 111), 10.0.0.5:2: Connection \
                 refused (os error 111))"
                    .to_owned()
            )
        );
        assert_eq!(
            sentinels(vec![refused(1), Heard::Answer(None)]).failure("app"),
            Failure::Down("the Sentinels know no primary `app`".to_owned())
        );
        let ours = || Heard::Failed("10.0.0.5:1: Too many open files".to_owned(), Owner::Ours);
        assert!(matches!(sentinels(vec![ours(), ours()]).failure("app"), Failure::Unable(_)));
        assert!(matches!(sentinels(vec![ours(), refused(2)]).failure("app"), Failure::Down(_)));
    }

    #[test]
    fn a_minority_is_a_concern_once_all_were_asked() {
        let told = |heard| {
            let mut reply = Reply::default();
            sentinels(heard).tell(&mut reply);
            reply.concerns
        };
        assert!(told(vec![Heard::Answer(None), refused(2), Heard::Nothing]).is_empty());
        assert!(told(vec![Heard::Answer(None), Heard::Answer(None), refused(3)]).is_empty());
        assert_eq!(
            told(vec![Heard::Answer(None), refused(2), refused(3)])[0]
                .split(" (")
                .next()
                .expect("there is a first part"),
            "only 1 of 3 Sentinels answer, too few for a failover"
        );
    }
}
