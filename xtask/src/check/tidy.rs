//! Our own rules about the sources: length, headers, rooms, lints, protocol names.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};
use spanhound_tests::tree;

use super::rooms::Rooms;
use crate::command;

const LINES_AT_MOST: usize = 500;
/// Languages whose files are held to the rules about length.
const LANGUAGES: [&str; 9] = ["rs", "ts", "tsx", "js", "css", "py", "go", "java", "sh"];
/// Written by a generator, and committed.
const GENERATED: [&str; 1] = ["proto/src/v1.rs"];
/// Crates whose layout is rooms.
const CRATES_OF_ROOMS: [&str; 2] = ["agent-user/src", "collector/src"];

pub(super) struct Source<'a> {
    /// From the repository's root.
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// The whole file is compiled for tests only.
    pub(super) tests: bool,
}

#[derive(Debug)]
pub(super) struct Finding {
    path: String,
    line: usize,
    problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.problem)
    }
}

impl Source<'_> {
    pub(super) fn finding(&self, line: usize, problem: impl Into<String>) -> Finding {
        Finding {
            path: self.path.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    /// Lines of code with their numbers: neither comments nor tests, at the file's end or in one of their own.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|_| !self.tests)
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }
}

pub(super) fn check() -> Result<()> {
    let root = tree::root();
    let listed = command::output(command::in_directory("git", &root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in listed.lines().filter(|path| !GENERATED.contains(path)) {
        let language = Path::new(path)
            .extension()
            .and_then(|extension| extension.to_str());
        if language.is_some_and(|language| LANGUAGES.contains(&language)) {
            // A file deleted and not yet committed is listed too.
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                files.push((path, text));
            }
        }
    }
    let findings = findings(&sources(
        files.iter().map(|(path, text)| (*path, text.as_str())).collect(),
    ));
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    bail!("{} findings\n{}", lines.len(), lines.join("\n"))
}

fn sources<'a>(files: Vec<(&'a str, &'a str)>) -> Vec<Source<'a>> {
    let test_modules: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let tests = |path: &str| {
        let module = path.trim_end_matches(".rs");
        path.starts_with("tests/tests/")
            || test_modules.iter().any(|test| {
                module == test
                    || module
                        .strip_prefix(test)
                        .is_some_and(|rest| rest.starts_with('/'))
            })
    };
    files
        .into_iter()
        .map(|(path, text)| Source {
            path,
            text,
            tests: tests(path),
        })
        .collect()
}

/// Modules in files of their own that a file declares for tests only, as paths without the ending.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let own = path.trim_end_matches(".rs");
    let directory = match own.rsplit_once('/') {
        Some((directory, "mod" | "lib" | "main")) => directory,
        _ => own,
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        .filter_map(|pair| pair[1].trim().strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, module)| format!("{directory}/{module}"))
        .collect()
}

fn findings(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > LINES_AT_MOST {
            findings.push(source.finding(
                LINES_AT_MOST + 1,
                format!("{lines} lines: split at {LINES_AT_MOST}"),
            ));
        }
        if source.path.ends_with(".rs") {
            bare_allow(source, &mut findings);
        }
    }
    for directory in CRATES_OF_ROOMS {
        let root = format!("{directory}/lib.rs");
        let rooms = sources
            .iter()
            .find(|source| source.path == root)
            .and_then(|source| Rooms::declared(source.text));
        for source in sources {
            let Some(inside) = source
                .path
                .strip_prefix(directory)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
            if let Some(rooms) = &rooms {
                rooms.check(source, module, &mut findings);
                header(source, inside, rooms.contains(module), &mut findings);
            }
        }
    }
    protocol_names(sources, &mut findings);
    findings
}

/// A lint is expected with a reason, never allowed.
fn bare_allow(source: &Source<'_>, findings: &mut Vec<Finding>) {
    for (number, line) in source.code() {
        let attribute = line.trim_start();
        if attribute.starts_with("#[allow(") || attribute.starts_with("#![allow(") {
            findings.push(source.finding(number, "`#[expect(lint, reason = \"...\")]` instead of `allow`"));
        }
    }
}

/// Each file begins by saying what it is; a room's first file also says what enters and what leaves.
fn header(source: &Source<'_>, inside: &str, room: bool, findings: &mut Vec<Finding>) {
    if inside == "main.rs" || source.tests {
        return;
    }
    let header: Vec<&str> = source
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect();
    if header.is_empty() {
        findings.push(source.finding(1, "no header: begin with `//!` and what this is"));
        return;
    }
    let first_file =
        room && (!inside.contains('/') || (inside.ends_with("/mod.rs") && inside.matches('/').count() == 1));
    if first_file
        && !["Enters", "Leaves", "Bounded"]
            .iter()
            .all(|word| header.iter().any(|line| line.contains(word)))
    {
        findings.push(source.finding(
            1,
            "a room's header says what `Enters`, what `Leaves` and what is `Bounded`",
        ));
    }
}

/// Rooms of the agent that may name a protocol: the protocols themselves, the table, and the rules that name spans.
const NAME_PROTOCOLS: [&str; 2] = ["agent-user/src/protocol/", "agent-user/src/span/"];

fn protocol_names(sources: &[Source<'_>], findings: &mut Vec<Finding>) {
    let Some(table) = sources
        .iter()
        .find(|source| source.path == "agent-user/src/protocol/table.rs")
    else {
        return;
    };
    let variants = variants(table);
    for source in sources {
        let elsewhere = !NAME_PROTOCOLS.iter().any(|room| source.path.starts_with(room));
        if !source.path.starts_with("agent-user/src/") || !elsewhere {
            continue;
        }
        for (number, line) in source.code() {
            for (at, found) in line.match_indices("Protocol::") {
                let rest = &line[at + found.len()..];
                let end = rest
                    .find(|letter: char| !letter.is_alphanumeric())
                    .unwrap_or(rest.len());
                if variants.contains(&rest[..end]) {
                    let problem = format!(
                        "names a protocol (`{}`) outside the protocols' room",
                        &rest[..end]
                    );
                    findings.push(source.finding(number, problem));
                }
            }
        }
    }
}

/// `Name = "name", ...;` lines of the table.
fn variants<'a>(table: &'a Source<'_>) -> BTreeSet<&'a str> {
    table
        .text
        .lines()
        .filter_map(|line| line.trim().split_once(" = \""))
        .map(|(variant, _)| variant)
        .filter(|variant| !variant.is_empty() && variant.chars().all(char::is_alphanumeric))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        findings(&sources(files.to_vec()))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const LIB: (&str, &str) = ("agent-user/src/lib.rs", "//! kernel -> link\n");

    #[test]
    fn a_file_of_501_lines_is_too_long_and_one_of_500_is_not() {
        assert!(found(&[("web/src/a.ts", &"x\n".repeat(500))]).is_empty());
        assert_eq!(
            found(&[("web/src/a.ts", &"x\n".repeat(501))]),
            ["web/src/a.ts:501: 501 lines: split at 500"]
        );
    }

    #[test]
    fn allow_is_found_and_expect_is_not() {
        let expect = "#[expect(dead_code, reason = \"x\")]\nfn a() {}\n";
        assert!(found(&[("xtask/src/a.rs", expect)]).is_empty());
        assert_eq!(
            found(&[("xtask/src/a.rs", "fn b() {}\n  #[allow(dead_code)]\nfn a() {}\n")]).len(),
            1
        );
    }

    #[test]
    fn files_have_headers_and_a_rooms_first_file_a_full_one() {
        let full = "//! Link: x.\n//! Enters: a. Leaves: b. Bounded: c.\n";
        assert!(
            found(&[
                LIB,
                ("agent-user/src/link/mod.rs", full),
                ("agent-user/src/link/a.rs", "//! A.\n")
            ])
            .is_empty()
        );
        assert_eq!(
            found(&[LIB, ("agent-user/src/link/mod.rs", "//! Link: x.\n")]).len(),
            1
        );
        assert_eq!(found(&[LIB, ("agent-user/src/link/a.rs", "use x;\n")]).len(), 1);
        assert!(found(&[LIB, ("agent-user/src/main.rs", "fn main() {}\n")]).is_empty());
    }

    #[test]
    fn modules_that_only_tests_see_may_import_what_they_test() {
        let parent = (
            "agent-user/src/kernel/mod.rs",
            "//! Enters Leaves Bounded\n#[cfg(test)]\npub(crate) mod harness;\n",
        );
        let files = [
            LIB,
            parent,
            ("agent-user/src/kernel/harness/a.rs", "use crate::link::Link;\n"),
        ];
        assert!(found(&files).is_empty());
        let visible = (
            "agent-user/src/kernel/mod.rs",
            "//! Enters Leaves Bounded\nmod harness;\n",
        );
        assert_eq!(found(&[LIB, visible, files[2]]).len(), 2);
        assert_eq!(
            test_modules("a/b.rs", "#[cfg(test)]\nmod tests;\n"),
            ["a/b/tests"]
        );
    }

    #[test]
    fn a_protocol_is_named_in_its_own_room_only() {
        let table = (
            "agent-user/src/protocol/table.rs",
            "//! T.\nprotocols! {\n    Redis = \"redis\", redis::D;\n}\n",
        );
        let guilty = "//! X.\nfn a() { Protocol::Redis; Protocol::ALL; Protocol::from_name(x) }\n";
        let path = "agent-user/src/x.rs";
        assert_eq!(found(&[LIB, table, (path, guilty)]).len(), 1);
        assert!(found(&[LIB, table, ("agent-user/src/span/x.rs", guilty)]).is_empty());
    }
}
