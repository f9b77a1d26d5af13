//! Redaction: the one place that says what of the traffic is a secret.
//!
//! Enters: names and values as parsers meet them. Leaves: text that is safe to store. Bounded: nothing is kept; output is
//! never longer than input by more than [`REDACTED`] per parameter. Deliberately absent: the statement normalisers of
//! each query language, which write [`LITERAL`] where a literal stood; and rules for headers: of an HTTP head nothing is
//! kept but the host, the user agent and trace ids (`http/fields.rs`).

use std::borrow::Cow;

/// Stands where a secret stood (the word OpenTelemetry's semantic conventions use).
pub const REDACTED: &str = "REDACTED";

/// Stands where a literal of a statement stood.
pub const LITERAL: &str = "?";

/// Query parameters whose values are secrets, lower case. The first group is that of OpenTelemetry's `url.query`.
const SECRET_PARAMETERS: &[&str] = &[
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-goog-signature",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-goog-credential",
    "access_token",
    "accesstoken",
    "api_key",
    "api-key",
    "apikey",
    "assertion",
    "auth",
    "authorization",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "cookie",
    "credential",
    "credentials",
    "credit_card",
    "cvv",
    "id_token",
    "jsessionid",
    "jwt",
    "key",
    "otp",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "phpsessid",
    "pin",
    "private_key",
    "pwd",
    "refresh_token",
    "samlresponse",
    "secret",
    "secret_key",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "ssn",
    "token",
    "x-api-key",
];

/// Endings of other names of such parameters: `csrf_token`, `newPassword`, `user[password]`.
const SECRET_ENDINGS: &[&str] = &[
    "apikey",
    "api_key",
    "api-key",
    "passwd",
    "password",
    "secret",
    "sessionid",
    "signature",
    "token",
];

const LONGEST_PARAMETER: usize = 24;

/// Whether the value of this query or form parameter must not be kept. Compared without regard to case; percent-encoded
/// names are compared as sent.
pub fn is_secret_parameter(name: &str) -> bool {
    let is_known = (1..=LONGEST_PARAMETER).contains(&name.len())
        && SECRET_PARAMETERS
            .iter()
            .any(|secret| secret.eq_ignore_ascii_case(name));
    let brackets = ["]", "%5D", "%5d"];
    let innermost = brackets.iter().find_map(|bracket| name.strip_suffix(bracket));
    let innermost = innermost.unwrap_or(name).as_bytes();
    let ends_with = |ending: &&str| {
        let place = innermost.len().checked_sub(ending.len());
        place.is_some_and(|place| innermost[place..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    is_known || SECRET_ENDINGS.iter().any(ends_with)
}

/// A URL's query (without its `?`) with the values of secret parameters replaced; borrowed where there are none.
pub fn query(raw: &str) -> Cow<'_, str> {
    let separators = ['&', ';'];
    let secret = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => !value.is_empty() && is_secret_parameter(name),
        None => false,
    };
    if !raw.split(separators).any(secret) {
        return Cow::Borrowed(raw);
    }
    let mut clean = String::with_capacity(raw.len());
    for pair in raw.split_inclusive(separators) {
        let (body, separator) = match pair.strip_suffix(separators) {
            Some(body) => (body, &pair[body.len()..]),
            None => (pair, ""),
        };
        match body.split_once('=') {
            Some((name, _)) if secret(body) => {
                clean.push_str(name);
                clean.push('=');
                clean.push_str(REDACTED);
            }
            _ => clean.push_str(body),
        }
        clean.push_str(separator);
    }
    Cow::Owned(clean)
}

/// An authority or URL without the `user:password@` it may carry.
pub fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_parameters_lose_their_values_and_nothing_else_changes() {
        assert_eq!(query("a=1&token=abc&b=2"), "a=1&token=REDACTED&b=2");
        assert_eq!(query("Password=x;user=u"), "Password=REDACTED;user=u");
        assert_eq!(query("sig=a=b=c&"), "sig=REDACTED&");
        assert_eq!(query("&&=&token=&token&x"), "&&=&token=&token&x");
        assert_eq!(
            query("csrf_token=1&newPassword=2&user[password]=3&u%5Bsecret%5D=4&pass=5&é=é"),
            "csrf_token=REDACTED&newPassword=REDACTED&user[password]=REDACTED&u%5Bsecret%5D=REDACTED&pass=REDACTED&é=é"
        );
        assert!(matches!(
            query("tokens=5&page=2&passes=1&tok=x"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn userinfo_is_cut_from_an_authority() {
        assert_eq!(without_userinfo("user:pw@host:80"), "host:80");
        assert_eq!(without_userinfo("host"), "host");
    }

    #[test]
    fn no_secret_name_is_longer_than_the_bound() {
        assert!(
            SECRET_PARAMETERS
                .iter()
                .all(|name| name.len() <= LONGEST_PARAMETER)
        );
        let lower = |name: &&str| name.chars().all(|c| !c.is_ascii_uppercase());
        assert!(SECRET_PARAMETERS.iter().chain(SECRET_ENDINGS).all(lower));
    }
}
