//! Command lines without their secrets.
//!
//! Enters: arguments. Leaves: one line, cut to [`LINE_MAX_BYTES`]. Deliberately absent: certainty; a secret given without
//! any telling name stays.

const LINE_MAX_BYTES: usize = 512;
const REDACTED: &str = "***";

/// Words in an option's name that make its value a secret.
const TELLING: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "private-key",
];

pub(super) fn without_secrets(arguments: &[String]) -> String {
    let mut line = String::new();
    let mut hide_next = false;
    for argument in arguments {
        if !line.is_empty() {
            line.push(' ');
        }
        let hidden = std::mem::take(&mut hide_next);
        if hidden && !argument.starts_with("--") {
            line.push_str(REDACTED);
        } else {
            match argument.split_once('=') {
                Some((name, _)) if is_telling(name) => {
                    line.push_str(name);
                    line.push('=');
                    line.push_str(REDACTED);
                }
                _ => {
                    line.push_str(&without_password(argument));
                    hide_next = argument.starts_with('-') && is_telling(argument);
                }
            }
        }
        if line.len() > LINE_MAX_BYTES {
            let cut = (0..=LINE_MAX_BYTES)
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0);
            line.truncate(cut);
            line.push('…');
            break;
        }
    }
    line
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|word| name.contains(word))
}

/// `scheme://user:password@host` without the password.
fn without_password(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else {
        return argument.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end]
        .rsplit_once('@')
        .and_then(|(user, host)| Some((user.split_once(':')?.0, host)))
    {
        Some((user, host)) => format!("{scheme}://{user}:{REDACTED}@{host}{}", &rest[authority_end..]),
        None => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        without_secrets(
            &arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn secrets_are_replaced_in_every_usual_form() {
        assert_eq!(
            line(&["app", "--password=hunter2", "-v"]),
            "app --password=*** -v"
        );
        assert_eq!(
            line(&["app", "--api-key", "hunter2", "run"]),
            "app --api-key *** run"
        );
        assert_eq!(line(&["app", "--token", "--flag"]), "app --token --flag");
        assert_eq!(
            line(&["app", "postgres://me:hunter2@db:5432/x?a=b"]),
            "app postgres://me:***@db:5432/x?a=b"
        );
        assert_eq!(line(&["java", "-Ddb.password=hunter2"]), "java -Ddb.password=***");
        assert_eq!(line(&["app", "http://host/a@b:c"]), "app http://host/a@b:c");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "ä".repeat(1_000);
        let cut = line(&[&long]);
        assert!(cut.len() <= LINE_MAX_BYTES + '…'.len_utf8() && cut.ends_with('…'));
    }
}
