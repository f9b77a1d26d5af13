//! The order of the rooms, as a crate's root declares it, and what it forbids.
//!
//! The first line of the crate's documentation with ` -> ` in it is the order. A room may import earlier ones and modules
//! that stand outside the order; the modules that see everything are imported by none.

use super::tidy::{Finding, Source};

/// Modules that put the rooms together.
const SEE_ALL: [&str; 6] = ["run", "replay", "infer", "doctor", "main", "serve"];

pub(super) struct Rooms<'a> {
    order: Vec<&'a str>,
}

impl<'a> Rooms<'a> {
    pub(super) fn declared(root: &'a str) -> Option<Self> {
        let line = root
            .lines()
            .find(|line| line.starts_with("//!") && line.contains(" -> "))?;
        Some(Self {
            order: line
                .trim_start_matches("//!")
                .split(" -> ")
                .map(str::trim)
                .collect(),
        })
    }

    fn place(&self, module: &str) -> Option<usize> {
        self.order.iter().position(|room| *room == module)
    }

    pub(super) fn contains(&self, module: &str) -> bool {
        self.place(module).is_some()
    }

    /// `source` is a file below the crate's `src`, `module` the first part of its path there.
    pub(super) fn check(&self, source: &Source<'_>, module: &str, findings: &mut Vec<Finding>) {
        let Some(own) = self.place(module) else { return };
        for (number, line) in source.code() {
            for imported in imports(line) {
                let problem = match self.place(imported) {
                    Some(place) if place > own => "a later room",
                    None if SEE_ALL.contains(&imported) => "a module that sees all rooms",
                    _ => continue,
                };
                findings
                    .push(source.finding(number, format!("room `{module}` imports {problem}: `{imported}`")));
            }
        }
    }
}

/// Names that follow `crate::` on a line, those of a group in braces included.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let name = |text: &'_ str| text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    line.match_indices("crate::")
        .filter(|(at, _)| !line[..*at].ends_with('$'))
        .flat_map(move |(at, found)| {
            let rest = &line[at + found.len()..];
            let group = rest.strip_prefix('{').and_then(|group| group.split('}').next());
            let names: Vec<&str> = match group {
                Some(group) => group.split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            names
                .into_iter()
                .map(move |text| name(text).map_or(text, |end| &text[..end]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "//! The agent.\n//! kernel -> connection -> span -> link\n";

    fn found(module: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        let source = Source {
            path: "agent-user/src/x.rs",
            text,
            tests: false,
        };
        Rooms::declared(ROOT)
            .unwrap()
            .check(&source, module, &mut findings);
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_later_room_is_found_wherever_it_is_named() {
        assert_eq!(
            found("connection", "use crate::kernel::Map;\nuse crate::link::Link;\n"),
            ["agent-user/src/x.rs:2: room `connection` imports a later room: `link`"]
        );
        assert_eq!(found("connection", "    let x = crate::span::new();").len(), 1);
        assert_eq!(
            found("connection", "use crate::{event, link::Link, kernel};").len(),
            1
        );
        assert_eq!(found("kernel", "use crate::run::Run;").len(), 1);
    }

    #[test]
    fn earlier_rooms_free_modules_and_tests_are_not_found() {
        assert!(found("link", "use crate::{kernel, span};\nuse crate::event::Event;").is_empty());
        assert!(found("run", "use crate::link::Link;").is_empty());
        assert!(
            found(
                "kernel",
                "fn a() {}\n#[cfg(test)]\nmod tests {\n    use crate::link::Link;\n}\n"
            )
            .is_empty()
        );
        assert!(found("kernel", "// see crate::link\n").is_empty());
    }
}
