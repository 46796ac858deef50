//! URLs of MySQL and MariaDB.

use std::str::FromStr;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::{Host, Url};

use crate::InvalidUrl;

/// The parameters that a URL may have.
const SUPPORTED: &str = "ssl-mode, ssl-ca, ssl-cert, ssl-key, socket, statement-cache-capacity";

/// Parses `url`. The session's settings are not part of the options: [`super::session`] sets
/// all of them.
pub(crate) fn options(url: &str) -> Result<MySqlConnectOptions, InvalidUrl> {
    let parsed = Url::parse(url).map_err(|_| InvalidUrl::Malformed("mysql"))?;
    for (name, value) in parsed.query_pairs() {
        check(&name, &value)?;
    }
    let options = MySqlConnectOptions::from_str(url).map_err(|_| InvalidUrl::Malformed("mysql"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(InvalidUrl::NoDatabase);
    }
    // sqlx keeps the brackets of an IPv6 address, and then looks it up as a name.
    let options = match parsed.host() {
        Some(Host::Ipv6(address)) => options.host(&address.to_string()),
        _ => options,
    };
    Ok(options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false))
}

/// Checks a parameter. Refuses one that would be ignored, because its author expects an effect,
/// such as TLS. Accepts one that repeats a setting of every session.
fn check(name: &str, value: &str) -> Result<(), InvalidUrl> {
    let reason = match name {
        "ssl-ca" | "sslca" | "ssl-cert" | "sslcert" | "ssl-key" | "sslkey" | "socket" => return Ok(()),
        "ssl-mode" | "sslmode" if value.parse::<MySqlSslMode>().is_ok() => return Ok(()),
        "ssl-mode" | "sslmode" => "expected disabled, preferred, required, verify_ca or verify_identity".to_owned(),
        "statement-cache-capacity" if value.parse::<usize>().is_ok() => return Ok(()),
        "statement-cache-capacity" => "expected a number".to_owned(),
        "charset" if value.eq_ignore_ascii_case("utf8mb4") => return Ok(()),
        "collation" if value.to_ascii_lowercase().starts_with("utf8mb4_") => return Ok(()),
        "charset" | "collation" => "the character set is always utf8mb4".to_owned(),
        "timezone" | "time-zone" if value == "+00:00" => return Ok(()),
        "timezone" | "time-zone" => "the time zone is always +00:00".to_owned(),
        _ => format!("not supported; the parameters are {SUPPORTED}"),
    };
    Err(InvalidUrl::Parameter { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(parameters: &str) -> String {
        options(&format!("mysql://u:secret@host/db?{parameters}")).unwrap_err().to_string()
    }

    #[test]
    fn parameters_that_would_break_a_promise_are_refused_by_name() {
        for (parameters, named) in [
            ("charset=utf8", "charset"),
            ("charset=latin1", "charset"),
            ("charset=utf8mb4&charset=utf8", "charset"),
            ("charset=", "charset"),
            ("collation=utf8_general_ci", "collation"),
            ("collation=latin1_swedish_ci", "collation"),
            ("timezone=Europe%2FBerlin", "timezone"),
            ("time-zone=%2B02:00", "time-zone"),
            ("ssl-mode=on", "ssl-mode"),
            ("sslmode=", "sslmode"),
            ("statement-cache-capacity=many", "statement-cache-capacity"),
            ("ssl_mode=required", "ssl_mode"),
            ("ssl-mode=required&useSSL=true", "useSSL"),
            ("password=secret", "password"),
            ("Charset=utf8mb4", "Charset"),
        ] {
            let error = refused(parameters);
            assert!(error.starts_with(&format!("parameter {named}: ")), "{parameters}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn parameters_that_are_supported_or_name_what_holds_anyway_are_accepted() {
        for parameters in [
            "",
            "charset=utf8mb4",
            "charset=UTF8MB4",
            "charset=utf8mb4&collation=utf8mb4_unicode_ci",
            "timezone=%2B00:00",
            "ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem&ssl-cert=/cert.pem&ssl-key=/key.pem",
            "sslmode=disabled",
            "socket=/run/mysqld.sock&statement-cache-capacity=0",
        ] {
            let options = options(&format!("mysql://u@host/db?{parameters}")).unwrap();
            assert_eq!(options.get_database(), Some("db"), "{parameters}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_without_brackets() {
        for (host, expected) in [
            ("db.example", "db.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "::1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
        ] {
            let options = options(&format!("mysql://u:p@{host}:3307/db")).unwrap();
            assert_eq!((options.get_host(), options.get_port()), (expected, 3307));
        }
    }

    #[test]
    fn a_database_is_named() {
        for url in ["mysql://u@host", "mysql://u@host/", "mysql://u@host?charset=utf8mb4"] {
            assert!(matches!(options(url), Err(InvalidUrl::NoDatabase)), "{url}");
        }
        assert!(matches!(options("mysql://u@[::1/db"), Err(InvalidUrl::Malformed(_))));
    }
}
