//! The contract of the jobs store, tested on SQLite and MariaDB, and on MySQL where
//! `TEST_DATABASE_URL` names one.
//!
//! No test waits: it moves the times in the rows instead.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod accept;
mod backend;
mod callbacks;
mod faults;
mod model;
mod query;
mod run;
mod sweep;

/// Defines a test on each backend for each function.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            use crate::backend::Backend;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Backend::sqlite().await).await;
                }
            )+
        }
        mod mysql {
            use crate::backend::Backend;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Backend::mysql(stringify!($test)).await).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_backend;
