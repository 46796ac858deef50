//! Command-line arguments for a database.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{Database, InvalidUrl, Options};

/// The database to use.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Where the data is: `mysql://user:password@host:port/database` or `sqlite://path`.
    #[arg(long = "database-url", env = "DATABASE_URL", hide_env_values = true, value_parser = checked)]
    url: SecretString,

    /// User of MySQL or MariaDB. Replaces the user of the URL; without percent-encoding.
    #[arg(id = "database_user", long = "database-user", value_name = "USER", env = "DATABASE_USER")]
    user: Option<String>,

    /// Password of MySQL or MariaDB. Replaces the password of the URL; without
    /// percent-encoding.
    #[arg(
        id = "database_password",
        long = "database-password",
        value_name = "PASSWORD",
        env = "DATABASE_PASSWORD",
        hide_env_values = true
    )]
    password: Option<SecretString>,
}

impl DatabaseArgs {
    /// The database at `url`, without command-line arguments.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        checked(url).map(|url| Self { url, user: None, password: None })
    }

    /// Prepares a pool. Connections are made when they are needed.
    pub fn open(&self, options: Options) -> Result<Database, InvalidUrl> {
        Database::open(self.with_credentials()?.expose_secret(), options)
    }

    /// The URL with user and password. A file of SQLite has none.
    fn with_credentials(&self) -> Result<SecretString, InvalidUrl> {
        let user = self.user.as_deref().filter(|user| !user.is_empty());
        let password = self.password.as_ref().map(|password| without_newline(password.expose_secret()));
        let password = password.filter(|password| !password.is_empty());
        if (user.is_none() && password.is_none()) || self.url.expose_secret().starts_with("sqlite:") {
            return Ok(self.url.clone());
        }
        let malformed = || InvalidUrl::Malformed("mysql");
        let mut url = Url::parse(self.url.expose_secret()).map_err(|_| malformed())?;
        if let Some(user) = user {
            url.set_username(&encoded(user)).map_err(|()| malformed())?;
        }
        if let Some(password) = password {
            url.set_password(Some(&encoded(password))).map_err(|()| malformed())?;
        }
        Ok(String::from(url).into())
    }
}

/// The text, percent-encoded.
fn encoded(text: &str) -> String {
    // Percent-encoding in a URL equals that of a form, except for the space.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A Kubernetes Secret made from a file often ends with a newline. URLs ignore it.
fn without_newline(password: &str) -> &str {
    password.trim_end_matches(['\r', '\n'])
}

fn checked(url: &str) -> Result<SecretString, InvalidUrl> {
    crate::open::check(url)?;
    Ok(SecretString::from(url))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        #[command(flatten)]
        database: DatabaseArgs,
    }

    fn url(flags: &[&str]) -> String {
        let flags = std::iter::once("example").chain(flags.iter().copied());
        let args = Example::try_parse_from(flags).unwrap().database;
        args.with_credentials().unwrap().expose_secret().to_owned()
    }

    #[test]
    fn user_and_password_replace_those_of_the_url() {
        let plain = "--database-url=mysql://db.example.com:3307/jobs?ssl-mode=required";
        assert_eq!(url(&[plain]), "mysql://db.example.com:3307/jobs?ssl-mode=required");
        let both = ["--database-user=me", "--database-password=a+/=@:%41 #?"];
        let expected = "mysql://me:a%2B%2F%3D%40%3A%2541%20%23%3F@db.example.com:3307/jobs?ssl-mode=required";
        assert_eq!(url(&[plain, both[0], both[1]]), expected);
        let full = "--database-url=mysql://them:secret@db/jobs";
        assert_eq!(url(&[full, both[0]]), "mysql://me:secret@db/jobs");
        assert_eq!(url(&[full, "--database-password=x\n"]), "mysql://them:x@db/jobs");
    }

    #[test]
    fn what_is_empty_or_needs_no_credentials_is_left_alone() {
        let full = "--database-url=mysql://them:secret@db/jobs";
        assert_eq!(url(&[full, "--database-user=", "--database-password="]), "mysql://them:secret@db/jobs");
        let file = "--database-url=sqlite://jobs.db";
        assert_eq!(url(&[file, "--database-user=me", "--database-password=x"]), "sqlite://jobs.db");
    }

    #[test]
    fn passwords_do_not_show() {
        let flags = ["example", "--database-url=mysql://them:hush@db/jobs", "--database-password=hush"];
        assert!(!format!("{:?}", Example::try_parse_from(flags).unwrap()).contains("hush"));
    }
}
