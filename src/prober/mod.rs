//! Active checks: is the app ready?
