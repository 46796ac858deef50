//! The contract of a job queue, tested in one process and on a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "this is how tests fail")]

mod backend;
mod broker;
mod closing;
mod consuming;
mod dead;
mod publishing;
mod tls;

/// Defines a test for each backend from each function that takes one.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod in_process {
            use crate::backend::Backend;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&Backend::in_process()).await;
                }
            )+
        }
        mod rabbitmq {
            use crate::backend::Backend;
            $(
                #[tokio::test]
                async fn $test() {
                    let backend = Backend::rabbitmq(stringify!($test)).await;
                    super::$test(&backend).await;
                    backend.clean_up().await;
                }
            )+
        }
    };
}
pub(crate) use on_every_backend;
