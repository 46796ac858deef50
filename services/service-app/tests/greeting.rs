//! The kind of jobs in docs/jobs.md, and a check that the document shows the same code.

use jobs_runner::testing::{self, Harness};
use jobs_runner::{Context, Done, Failure, Handler, Registry, Statement};
use jobs_store::Parameter;
use kit_database::Database;
use serde_json::json;

#[rustfmt::skip]
#[expect(unreachable_pub, reason = "it is public where it belongs")]
mod kind {
    use super::*;
// docs/jobs.md begins
pub struct Greeting;

#[derive(serde::Deserialize)]
pub struct Payload { name: String }

impl Handler for Greeting {
    const KIND: &'static str = "greeting";
    type Payload = Payload;
    async fn run(&self, payload: Payload, context: &Context) -> Result<Done, Failure> {
        let row = Statement::new("INSERT INTO greetings (job_id, name) VALUES (?, ?)");
        Done::new().effect(row.bind(context.job()).bind(payload.name.as_str())).result(format!("Hello {}!", payload.name))
    }
}
// docs/jobs.md ends
}
use kind::Greeting;

#[test]
fn the_page_shows_this_code() {
    let code = include_str!("greeting.rs");
    let code = code.split_once("// docs/jobs.md begins\n").unwrap().1;
    let code = code.split_once("// docs/jobs.md ends").unwrap().0;
    let page = include_str!("../../../docs/jobs.md");
    assert!(page.contains(&format!("```rust\n{code}```")), "docs/jobs.md has different code");
}

#[tokio::test]
async fn a_handler_alone() {
    let done = testing::run(Greeting, &json!({"name": "Ada"})).await.unwrap();
    assert_eq!((done.as_result(), done.as_effect().len()), (&json!("Hello Ada!"), 1));
    let failure = testing::run(Greeting, &json!({})).await.unwrap_err();
    assert!(failure.is_permanent() && failure.reason().contains("missing field `name`"), "{failure:?}");
    assert_eq!(Parameter::from("Ada"), Parameter::Text("Ada".to_owned()));
}

#[tokio::test]
async fn the_whole_way() {
    let harness = Harness::start(Registry::new().with(Greeting)).await;
    let Database::Sqlite(pool) = harness.database() else { panic!("the harness is on SQLite") };
    let table = "CREATE TABLE greetings (job_id BLOB, name TEXT)";
    testkit::execute(harness.database(), table).await.unwrap();
    let id = harness.submit("greeting", &json!({"name": "Ada"}), 1).await;
    let row = harness.ended(id).await;
    assert_eq!(row.result.as_deref(), Some("\"Hello Ada!\""), "{row:?}");
    let names: Vec<String> =
        kit_database::sqlx::query_scalar("SELECT name FROM greetings").fetch_all(pool.reader()).await.unwrap();
    assert_eq!(names, ["Ada"]);
}
