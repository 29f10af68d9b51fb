//! The section `redis`: as it is written, and what it means. Knows nothing of who speaks with Redis, or how.

use std::{path::PathBuf, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    check::Findings,
    names::host_port,
    raw::RawUpstreamTls,
    settings::{Redis, RedisPlace, RedisUrl},
    text::{Period, Scalar, Text},
};

/// What a user name may hold unescaped (RFC 3986 §2.3).
const USER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PREFIX_BYTES_MAX: usize = 64;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedis {
    /// Where it is: `redis://host:port`, `rediss://host:port` (TLS) or `unix:/path`. With a user and a database where they are
    /// not the default ones: `redis://user@host:6379/1`. At least Redis 6.2, or what speaks like it; no cluster.
    pub(super) url: Text<RedisUrl>,
    /// The file that holds the password, and nothing else. It is read for every connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password_file: Option<Text<PathBuf>>,
    /// How the server behind `rediss://` is verified.
    #[serde(default, skip_serializing_if = "RawUpstreamTls::is_default")]
    pub(super) tls: RawUpstreamTls,
    /// What all keys and channels begin with: the same for all gateways of a fleet, another for another fleet.
    #[serde(default = "prefix")]
    pub(super) prefix: Text<KeyPrefix>,
    /// How long a gateway holds an upstream stream of which it says nothing: so soon after its death another one takes the
    /// stream over. A gateway that stops in order gives its streams up at once.
    #[serde(default = "lease")]
    pub(super) lease: Text<Period>,
    /// Longest time for a connection to open, and for the answer to a command.
    #[serde(default = "timeout")]
    pub(super) timeout: Text<Period>,
}

/// Letters, digits and some marks: nothing that Redis gives a meaning of its own.
#[derive(Clone, Debug)]
pub(super) struct KeyPrefix(pub(super) String);

impl Scalar for KeyPrefix {
    const FORMAT: &'static str = "key-prefix";
    const LOOKS: &'static str = "letters, digits, `-`, `_`, `.` and `:`, at most 64 of them";

    fn parse(text: &str) -> Result<Self, String> {
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if text.is_empty() || text.len() > PREFIX_BYTES_MAX || !text.bytes().all(is_sound) {
            return Err(format!("is not made of {}", Self::LOOKS));
        }
        Ok(Self(text.to_owned()))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for RedisUrl {
    const FORMAT: &'static str = "redis";
    const LOOKS: &'static str = "`redis://host:port`, `rediss://host:port` or `unix:/path`";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self { place: RedisPlace::Unix(path.into()), user: None, database: 0 }),
                false => Err("needs an absolute path: `unix:/path`".to_owned()),
            };
        }
        let Some((scheme @ ("redis" | "rediss"), rest)) = text.split_once("://") else {
            return Err(format!("is not {}", Self::LOOKS));
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, authority) = authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
        if user.is_some_and(|user| user.contains(':')) {
            // What is checked is printed, and a file of settings is seldom kept as a secret is.
            return Err("holds a password; write that into a file and name it in `password_file`".to_owned());
        }
        let user = user.filter(|user| !user.is_empty()).map(|user| percent_decode_str(user).decode_utf8());
        let user = user.transpose().map_err(|_| "has a user that is not UTF-8")?.map(String::from);
        let database = match database {
            "" => 0,
            digits => digits.parse::<u16>().map_err(|_| "has a path that is no number of a database")?,
        };
        let (host, port) = host_port(authority)?;
        let port = port.unwrap_or(6379);
        let place = if scheme == "redis" { RedisPlace::Tcp { host, port } } else { RedisPlace::Tls { host, port } };
        Ok(Self { place, user, database })
    }

    fn print(&self) -> String {
        let (scheme, host, port) = match &self.place {
            RedisPlace::Unix(path) => return format!("unix:{}", path.display()),
            RedisPlace::Tcp { host, port } => ("redis", host, port),
            RedisPlace::Tls { host, port } => ("rediss", host, port),
        };
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{}@", utf8_percent_encode(user, USER)));
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let database = if self.database == 0 { String::new() } else { format!("/{}", self.database) };
        format!("{scheme}://{user}{host}:{port}{database}")
    }
}

impl From<RawRedis> for Redis {
    fn from(raw: RawRedis) -> Self {
        Self {
            url: raw.url.0,
            password_file: raw.password_file.map(|file| file.0),
            tls: raw.tls.into(),
            prefix: raw.prefix.0.0,
            lease: raw.lease.0.0,
            timeout: raw.timeout.0.0,
        }
    }
}

impl From<&Redis> for RawRedis {
    fn from(Redis { url, password_file, tls, prefix, lease, timeout }: &Redis) -> Self {
        Self {
            url: Text(url.clone()),
            password_file: password_file.clone().map(Text),
            tls: tls.into(),
            prefix: Text(KeyPrefix(prefix.clone())),
            lease: Text(Period(*lease)),
            timeout: Text(Period(*timeout)),
        }
    }
}

/// What does not fit together.
pub(super) fn check(raw: &RawRedis, findings: &mut Findings<'_>) {
    let is_tls = matches!(raw.url.0.place, RedisPlace::Tls { .. });
    if !is_tls && !raw.tls.is_default() {
        findings.fault("redis.tls", "the URL is not `rediss://`");
    }
    // It is renewed every third, and may be late.
    if raw.lease.0.0 < 2 * raw.timeout.0.0 {
        findings.fault("redis.lease", "is shorter than two of `redis.timeout`: a late answer would lose it");
    }
}

fn prefix() -> Text<KeyPrefix> {
    Text(KeyPrefix("tidegate".to_owned()))
}

fn lease() -> Text<Period> {
    Text(Period(Duration::from_secs(5)))
}

fn timeout() -> Text<Period> {
    Text(Period(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show<T: Scalar>(text: &str) -> String {
        T::parse(text).map_or_else(|error| format!("! {error}"), |value| value.print())
    }

    #[test]
    fn a_url_of_redis_names_a_place_and_no_password() {
        for (text, expected) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
            ("redis://cache:7000/", "redis://cache:7000"),
            ("redis://cache:7000/3", "redis://cache:7000/3"),
            ("rediss://me@cache.example.com", "rediss://me@cache.example.com:6379"),
            ("redis://a%40b@cache", "redis://a%40b@cache:6379"),
            ("redis://@cache", "redis://cache:6379"),
            ("redis://[::1]:1/0", "redis://[::1]:1"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("unix:///run/redis.sock", "unix:/run/redis.sock"),
            ("redis://:secret@cache", "! holds a password"),
            ("redis://me:secret@cache", "! holds a password"),
            ("redis://me@cache:secret@cache", "! holds a password"),
            ("cache:6379", "! is not `redis://"),
            ("http://cache", "! is not `redis://"),
            ("redis://", "! has no valid host"),
            ("redis://cache:0", "! has no valid port"),
            ("redis://cache/x", "! has a path that is no number"),
            ("redis://%ff@cache", "! has a user that is not UTF-8"),
            ("unix:redis.sock", "! needs an absolute path"),
        ] {
            let shown = show::<RedisUrl>(text);
            assert!(shown == expected || expected.starts_with('!') && shown.starts_with(expected), "{text}: {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_prefix_has_no_mark_that_redis_reads() {
        assert_eq!(show::<KeyPrefix>("eu-west:tidegate_1."), "eu-west:tidegate_1.");
        for text in ["", "a b", "{a}", "a*", "ä", &"x".repeat(65)] {
            assert!(show::<KeyPrefix>(text).starts_with("! is not made of"), "{text}");
        }
    }
}
