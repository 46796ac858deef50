//! An empty database for one test.

use std::future::{Ready, ready};

use kit_database::Options;
use testkit::SqlBackend;

pub(crate) struct Backend(pub(crate) SqlBackend);

impl Backend {
    pub(crate) fn sqlite(_: &str) -> Ready<Self> {
        ready(Self(SqlBackend::sqlite(Options::DEFAULT)))
    }

    pub(crate) async fn mysql(name: &str) -> Self {
        Self(SqlBackend::mysql(name, Options::DEFAULT).await)
    }

    pub(crate) async fn hostile(name: &str) -> Self {
        Self(SqlBackend::hostile(name, Options::DEFAULT).await)
    }
}
