//! User and password in arguments of their own.

use clap::Parser;
use kit_database::sqlx::query_scalar;
use kit_database::{Database, DatabaseArgs, Options};
use url::Url;

use crate::server;

#[derive(Debug, Parser)]
struct Example {
    #[command(flatten)]
    database: DatabaseArgs,
}

#[tokio::test]
async fn a_password_may_contain_any_characters() {
    let database = server().await.database("credentials").await;
    let mut url = Url::parse(database.url()).unwrap();
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    let name = database.name();
    let user = format!("u@:/{}", &name[name.len().saturating_sub(12)..]);
    for password in ["+a/b==", "p@s:w%41?#", "with a space", "Pässwörter ✓", "$(A) ${B} 'c' \"d\" [e]"] {
        let sql = password.replace('\'', "''");
        let server = server().await;
        server.execute(&format!("CREATE OR REPLACE USER '{user}'@'%' IDENTIFIED BY '{sql}'")).await;
        server.execute(&format!("GRANT ALL ON `{name}`.* TO '{user}'@'%'")).await;
        let (user, password) = (format!("--database-user={user}"), format!("--database-password={password}"));
        let args = Example::try_parse_from(["test", "--database-url", url.as_str(), &user, &password]).unwrap();
        let Database::MySql(pool) = args.database.open(Options::DEFAULT).unwrap() else { panic!("not MySQL") };
        let one: i64 = query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
        assert_eq!(one, 1);
        pool.close().await;
    }
    server().await.execute(&format!("DROP USER '{user}'@'%'")).await;
}
