//! What every backend of the jobs store has to do, on SQLite and on MariaDB; on
//! MySQL, too, where `TEST_DATABASE_URL` names one.
//!
//! Nothing waits for time: rows are set off instead.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod accept;
mod backend;
mod callbacks;
mod faults;
mod model;
mod people;
mod run;
mod sweep;

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
