//! Happy eyeballs (RFC 8305): an address that does not answer does not delay the others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How long one address is tried before the next one is tried as well: the value that RFC
/// 8305 recommends.
const DELAY: Duration = Duration::from_millis(250);

/// Connects to the address that answers first. Tries the addresses in turn: the next one
/// when one has failed, or after [`DELAY`]. Returns the first error if all of them fail.
pub(crate) async fn first<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut left = interleaved(addresses).into_iter();
    let (mut attempts, mut failed) = (FuturesUnordered::new(), None);
    loop {
        attempts.extend(left.next().map(&connect));
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => return Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = tokio::time::sleep(DELAY), if left.len() > 0 => {}
        }
    }
}

/// Alternates between IPv6 and IPv4, because an outage of one affects all of its addresses. Keeps
/// the given order within each.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == begins_with_v4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    while one.len() + other.len() > 0 {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn addresses<const N: usize>(addresses: [&str; N]) -> Vec<SocketAddr> {
        addresses.map(|address| address.parse().unwrap()).into()
    }

    /// Connects by port: 1 never answers, 2 refuses at once, 3 refuses after 100 ms, and
    /// any other answers after that number of milliseconds.
    async fn connect(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => std::future::pending().await,
            2 => Err(io::Error::other("refused")),
            3 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(io::Error::other("refused late"))
            }
            answer => {
                tokio::time::sleep(Duration::from_millis(answer.into())).await;
                Ok(address)
            }
        }
    }

    async fn won<const N: usize>(of: [&str; N]) -> (Result<String, String>, u128) {
        let began = Instant::now();
        let winner = first(addresses(of), connect).await;
        let winner = winner.map(|address| address.to_string()).map_err(|error| error.to_string());
        (winner, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        for (of, winner, after) in [
            (["1.0.0.1:10", "1.0.0.2:10", "1.0.0.3:10"], "1.0.0.1:10", 10),
            (["1.0.0.1:1", "1.0.0.2:10", "1.0.0.3:10"], "1.0.0.2:10", 260),
            (["1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:10"], "1.0.0.3:10", 510),
            (["1.0.0.1:1", "1.0.0.2:2", "1.0.0.3:10"], "1.0.0.3:10", 260),
            (["1.0.0.1:2", "1.0.0.2:2", "1.0.0.3:10"], "1.0.0.3:10", 10),
            (["1.0.0.1:3", "1.0.0.2:10", "1.0.0.3:10"], "1.0.0.2:10", 110),
            // The slow one is not given up when the next one is tried.
            (["1.0.0.1:300", "1.0.0.2:1", "1.0.0.3:1"], "1.0.0.1:300", 300),
            (["[3::1]:1", "[3::2]:1", "1.0.0.3:10"], "1.0.0.3:10", 260),
        ] {
            assert_eq!(won(of).await, (Ok(winner.to_owned()), after), "{of:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_fail_the_first_error_is_told() {
        assert_eq!(won(["1.0.0.1:2", "1.0.0.2:3"]).await, (Err("refused".to_owned()), 100));
        assert_eq!(won(["1.0.0.1:3", "1.0.0.2:2"]).await, (Err("refused late".to_owned()), 100));
        assert!(won([]).await.0.is_err());
    }

    #[test]
    fn families_alternate() {
        let turns = interleaved(addresses(["[3::1]:1", "[3::2]:1", "1.0.0.1:1", "[3::3]:1", "1.0.0.2:1"]));
        assert_eq!(turns, addresses(["[3::1]:1", "1.0.0.1:1", "[3::2]:1", "1.0.0.2:1", "[3::3]:1"]));
    }
}
