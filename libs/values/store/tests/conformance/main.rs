//! What every backend of the values store has to do, on SQLite and on MariaDB;
//! on MySQL, too, where `TEST_DATABASE_URL` names one.
//!
//! Time is the backend's own, and moved by the tests: nothing waits for it.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod backend;
mod catalog;
mod locks;
mod manager;
mod migrations;
mod model;
mod users;
mod worker;

/// Makes a test for each backend of each function that takes one.
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
