//! One request, ended: what was asked, how it ended, and by whose fault.
//!
//! Only outcomes whose [`Fault`] is the app's move a verdict. An aborted client, a bad request and our own mistake are
//! not the app's failure; what cannot be charged for certain is not counted.

/// The request's method, from a closed set so that it can label a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// Anything else, passed on unchanged.
    Other,
}

impl Method {
    /// Every method, in the order of [`Method::index`].
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Other,
    ];

    /// Position in [`Method::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label in metrics: the method itself, or `_OTHER`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Other => "_OTHER",
        }
    }
}

/// The class of the status code that the client was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    /// No status was sent: the client had gone.
    None,
    /// 1xx; a 101 that opened a tunnel.
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirect,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
}

impl StatusClass {
    /// Every class, in the order of [`StatusClass::index`].
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Informational,
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
    ];

    /// The class of a status code; zero or an unknown code is `None`.
    pub const fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// Position in [`StatusClass::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// To whom an ending is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing went wrong.
    Nobody,
    /// The app: the only fault that is evidence against a release.
    App,
    /// The client left, or sent what cannot be read.
    Client,
    /// The agent itself: a limit, a stale connection that could not be retried.
    Agent,
    /// The app was still starting.
    Boot,
    /// The agent or the app was shutting down.
    Shutdown,
}

impl Fault {
    /// The label in metrics and records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::App => "app",
            Self::Client => "client",
            Self::Agent => "agent",
            Self::Boot => "boot",
            Self::Shutdown => "shutdown",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The app answered, and not with an error of its own.
    Answered,
    /// The app answered 5xx (501 and 505 are answers, not failures).
    AppError,
    /// The app refused the connection after it had been ready, or its accept queue was full.
    AppUnreachable,
    /// The app closed or reset the connection before a reply, or its reply could not be read.
    AppBadReply,
    /// The app's reply ended before its end.
    AppTruncated,
    /// No reply head within the time limit.
    AppTimeout,
    /// The client left before the reply head (499 in other proxies).
    ClientAborted,
    /// The client left while the reply was on its way.
    ClientLeft,
    /// The client's request could not be read or is refused by the contract.
    ClientFault,
    /// The agent shed the request at one of its limits.
    Shed,
    /// A pooled connection turned out closed and the request could not be sent again.
    StaleConnection,
    /// The app did not become ready while the request was held.
    NotReady,
    /// The agent was draining.
    Draining,
    /// The other app of a split was asked instead; what the client was sent is counted there.
    Crossed,
}

impl Outcome {
    /// Every outcome, in the order of [`Outcome::index`].
    pub const ALL: [Self; 14] = [
        Self::Answered,
        Self::AppError,
        Self::AppUnreachable,
        Self::AppBadReply,
        Self::AppTruncated,
        Self::AppTimeout,
        Self::ClientAborted,
        Self::ClientLeft,
        Self::ClientFault,
        Self::Shed,
        Self::StaleConnection,
        Self::NotReady,
        Self::Draining,
        Self::Crossed,
    ];

    /// Position in [`Outcome::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// To whom this ending is charged.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Answered | Self::Crossed => Fault::Nobody,
            Self::AppError
            | Self::AppUnreachable
            | Self::AppBadReply
            | Self::AppTruncated
            | Self::AppTimeout => Fault::App,
            Self::ClientAborted | Self::ClientLeft | Self::ClientFault => Fault::Client,
            Self::Shed | Self::StaleConnection => Fault::Agent,
            Self::NotReady => Fault::Boot,
            Self::Draining => Fault::Shutdown,
        }
    }

    /// Whether the request says anything about the app's error rate: it was answered, it failed by the app's fault, or
    /// the client left while a good reply was on its way.
    pub const fn is_judged(self) -> bool {
        match self {
            Self::Answered | Self::ClientLeft => true,
            Self::ClientAborted
            | Self::ClientFault
            | Self::Shed
            | Self::StaleConnection
            | Self::NotReady
            | Self::Draining
            | Self::Crossed => false,
            Self::AppError
            | Self::AppUnreachable
            | Self::AppBadReply
            | Self::AppTruncated
            | Self::AppTimeout => true,
        }
    }

    /// The label in metrics and records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AppError => "app_error",
            Self::AppUnreachable => "app_unreachable",
            Self::AppBadReply => "app_bad_reply",
            Self::AppTruncated => "app_truncated",
            Self::AppTimeout => "app_timeout",
            Self::ClientAborted => "client_aborted",
            Self::ClientLeft => "client_left",
            Self::ClientFault => "client_fault",
            Self::Shed => "shed",
            Self::StaleConnection => "stale_connection",
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
            Self::Crossed => "crossed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_match_the_tables() {
        for (i, m) in Method::ALL.iter().enumerate() {
            assert_eq!(m.index(), i);
        }
        for (i, s) in StatusClass::ALL.iter().enumerate() {
            assert_eq!(s.index(), i);
        }
        for (i, o) in Outcome::ALL.iter().enumerate() {
            assert_eq!(o.index(), i);
        }
    }

    #[test]
    fn only_the_apps_faults_are_judged_failures() {
        for o in Outcome::ALL {
            if o.fault() == Fault::App {
                assert!(o.is_judged(), "{o:?}");
            }
        }
        assert!(!Outcome::ClientAborted.is_judged());
        assert!(!Outcome::Shed.is_judged());
    }
}
