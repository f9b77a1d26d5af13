//! Statement: SQL text without its literals, and what it says about itself.
//!
//! Enters: the text of one request (possibly several statements, possibly cut off). Leaves: [`Statement`]. Bounded:
//! [`TEXT_MAX_BYTES`] of normalised text, [`DEPTH_MAX`] parentheses. Deliberately absent: a grammar; what is not
//! understood passes through as words and symbols, and literals never do. Names follow OpenTelemetry's rules for
//! `db.query.text`, `db.operation.name` and `db.collection.name` (the first one in the text, as written, unquoted).

mod lexer;
mod prepared;

use compact_str::CompactString;

pub use lexer::Dialect;
use lexer::{Lexer, Token};
pub use prepared::Prepared;

use super::PropagatedContext;
use super::context::ContextReader;

/// Normalised text beyond this is cut and ends in `…`, as one does whose end was not seen.
pub const TEXT_MAX_BYTES: usize = 2_048;
/// Statement text a parser should wait for before it normalises.
pub const INPUT_MAX_BYTES: usize = 4_096;
const DEPTH_MAX: usize = 64;
const NAME_MAX_BYTES: usize = 192;
const VERB_MAX_BYTES: usize = 32;

/// What a statement's text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    /// Literals replaced by `?`, comments removed, white space and lists of literals collapsed.
    pub text: CompactString,
    /// The first statement's verb in upper case; empty where there is none or its end was not seen.
    pub operation: CompactString,
    /// The first table named, without quotes; empty where none was recognised.
    pub collection: CompactString,
    /// How many statements the text holds.
    pub statements: u32,
    /// From a `traceparent='...'` comment (sqlcommenter).
    pub context: Option<Box<PropagatedContext>>,
}

/// Normalises `sql`. `cut` says that the text goes on beyond the bytes given.
pub fn normalise(sql: &[u8], dialect: Dialect, keep_literals: bool, cut: bool) -> Statement {
    let input = &sql[..sql.len().min(INPUT_MAX_BYTES)];
    let cut = cut || input.len() < sql.len();
    let mut writer = Writer::new(input.len());
    let mut reader = Reader::default();
    let mut context = None;
    for token in Lexer::new(input, dialect) {
        if let Token::Comment(comment) = token {
            context = context.or_else(|| commented_context(comment));
            writer.space();
            continue;
        }
        reader.token(token);
        writer.token(token, keep_literals, reader.in_values);
        if writer.full {
            break;
        }
    }
    reader.finish();
    let cut = cut || writer.full;
    if cut && writer.text.trim_start().len() == reader.operation.len() {
        // Its first word may be only the beginning of one.
        reader.operation.clear();
    }
    Statement {
        text: writer.finish(cut),
        operation: reader.operation,
        collection: reader.collection,
        statements: reader.statements,
        context,
    }
}

/// Builds the normalised text.
struct Writer {
    text: String,
    space_due: bool,
    /// Where in `text` each open parenthesis lies.
    open: Vec<usize>,
    full: bool,
}

impl Writer {
    fn new(input_bytes: usize) -> Self {
        Self {
            text: String::with_capacity(input_bytes.min(TEXT_MAX_BYTES)),
            space_due: false,
            open: Vec::new(),
            full: false,
        }
    }

    fn space(&mut self) {
        self.space_due = !self.text.is_empty();
    }

    fn token(&mut self, token: Token<'_>, keep_literals: bool, in_values: bool) {
        match token {
            Token::Space | Token::Comment(_) => self.space(),
            Token::Literal(_) if !keep_literals => self.push(b"?"),
            Token::Word(bytes) | Token::Quoted(bytes) | Token::Literal(bytes) | Token::Parameter(bytes) => {
                self.push(bytes);
            }
            Token::Symbol(b'(') => {
                self.push(b"(");
                if self.open.len() < DEPTH_MAX {
                    self.open.push(self.text.len() - 1);
                }
            }
            Token::Symbol(b')') => {
                self.space_due = false;
                self.push(b")");
                if let Some(from) = self.open.pop() {
                    self.collapse(from, in_values);
                }
            }
            Token::Symbol(b',') => {
                self.space_due = false;
                self.push(b",");
            }
            Token::Symbol(symbol) => self.push(&[symbol]),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.text.len() + bytes.len() + 1 > TEXT_MAX_BYTES {
            self.full = true;
            return;
        }
        if std::mem::take(&mut self.space_due) && !self.text.ends_with('(') {
            self.text.push(' ');
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.text.push_str(&String::from_utf8_lossy(bytes)),
        }
    }

    /// `IN (?, ?, ?)` becomes `IN (?)`; a row of VALUES equal to the one before it goes.
    fn collapse(&mut self, from: usize, in_values: bool) {
        let (before, group) = self.text.split_at(from);
        if in_values {
            let before = before.trim_end();
            if let Some(rows) = before.strip_suffix(',')
                && rows.ends_with(group)
            {
                let keep = rows.len();
                self.text.truncate(keep);
            }
            return;
        }
        let only_literals = group.len() > 3
            && group[1..].starts_with(['?', '-'])
            && group
                .bytes()
                .all(|byte| matches!(byte, b'?' | b',' | b' ' | b'(' | b')' | b'-' | b'+'));
        let is_in = before
            .trim_end()
            .get(before.trim_end().len().saturating_sub(3)..)
            .is_some_and(|end| end.eq_ignore_ascii_case(" in") || end.eq_ignore_ascii_case(")in"));
        if only_literals && is_in {
            self.text.truncate(from);
            self.text.push_str("(?)");
        }
    }

    fn finish(mut self, cut: bool) -> CompactString {
        while self.text.ends_with([';', ' ']) {
            self.text.pop();
        }
        if cut {
            self.text.push('…');
        }
        CompactString::from(self.text)
    }
}

/// Which part of a statement the reader is in, as far as names are concerned.
#[derive(Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Body,
    /// The next identifier names the collection.
    NameDue {
        from: bool,
    },
    Name {
        from: bool,
        after_dot: bool,
    },
}

/// Finds verb, collection and statement count.
#[derive(Default)]
struct Reader {
    operation: CompactString,
    collection: CompactString,
    statements: u32,
    in_values: bool,
    place: Place,
    verb: Verb,
    /// Depth of parentheses, and at which a `FROM` belongs to a function's arguments (`EXTRACT(YEAR FROM t)`).
    depth: u32,
    argument_depth: u32,
    previous: Previous,
    index_named: bool,
    /// Behind WITH: the statement's own verb is still to come.
    with: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Verb {
    #[default]
    Other,
    Select,
    Insert,
    Define,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Previous {
    #[default]
    Other,
    /// `EXTRACT`, `SUBSTRING`, `TRIM`, `OVERLAY`: their arguments use FROM.
    FromFunction,
    Is,
    IsDistinct,
}

impl Reader {
    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Space | Token::Comment(_) => return,
            Token::Word(word) => self.word(word),
            Token::Quoted(quoted) => self.identifier(&quoted[1..quoted.len().max(2) - 1]),
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::Literal(_) | Token::Parameter(_) => self.leave_name(),
        }
        if !matches!(token, Token::Word(_)) {
            self.previous = Previous::Other;
        }
    }

    fn word(&mut self, word: &[u8]) {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        let previous = std::mem::take(&mut self.previous);
        match self.place {
            Place::Start => return self.verb(word),
            _ if self.with && self.depth == 0 && is_main_verb(word) => {
                self.with = false;
                self.operation.clear();
                return self.verb(word);
            }
            Place::NameDue { .. } if is_noise(word) => return,
            Place::NameDue { from: false } if is("from") || is("into") => return,
            Place::NameDue { .. } | Place::Name { after_dot: true, .. } => return self.identifier(word),
            Place::Name { .. } => self.leave_name(),
            _ => {}
        }
        let from = self.argument_depth == 0 && previous != Previous::IsDistinct && is("from");
        match word.len() {
            2 if is("is") => self.previous = Previous::Is,
            2 if self.index_named && is("on") => self.name_due(false),
            3 if previous == Previous::Is && is("not") => self.previous = Previous::Is,
            4 if from => self.name_due(true),
            4 if self.verb == Verb::Insert && is("into") => self.name_due(false),
            4 if is("join") => self.name_due(true),
            4 if is("trim") => self.previous = Previous::FromFunction,
            5 if self.verb == Verb::Define && is("table") => self.name_due(false),
            5 if self.verb == Verb::Define && is("index") => self.index_named = true,
            6 if is("values") => self.in_values = true,
            7 if is("extract") || is("overlay") => self.previous = Previous::FromFunction,
            8 if previous == Previous::Is && is("distinct") => self.previous = Previous::IsDistinct,
            9 if is("substring") => self.previous = Previous::FromFunction,
            _ => {}
        }
    }

    fn verb(&mut self, word: &[u8]) {
        let is_verb = word.len() <= VERB_MAX_BYTES
            && word
                .iter()
                .all(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        let mut upper = CompactString::default();
        if is_verb {
            upper.extend(word.iter().map(|byte| byte.to_ascii_uppercase() as char));
        }
        self.place = Place::Body;
        self.verb = match upper.as_str() {
            "SELECT" => Verb::Select,
            "INSERT" | "REPLACE" | "MERGE" | "UPSERT" => Verb::Insert,
            "CREATE" | "DROP" | "ALTER" | "LOCK" | "RENAME" | "OPTIMIZE" | "ANALYZE" | "CHECK"
            | "EXCHANGE" => Verb::Define,
            _ => Verb::Other,
        };
        match upper.as_str() {
            "WITH" if self.operation.is_empty() => self.with = true,
            "UPDATE" | "TRUNCATE" | "COPY" | "DESCRIBE" | "DESC" => self.name_due(false),
            _ => {}
        }
        if self.operation.is_empty() {
            self.operation = upper;
        }
    }

    fn name_due(&mut self, from: bool) {
        if self.collection.is_empty() {
            self.place = Place::NameDue { from };
        }
    }

    fn identifier(&mut self, name: &[u8]) {
        let (from, dot) = match self.place {
            Place::NameDue { from } => (from, ""),
            Place::Name {
                from,
                after_dot: true,
            } => (from, "."),
            _ => return self.leave_name(),
        };
        if self.collection.len() + name.len() > NAME_MAX_BYTES {
            return self.leave_name();
        }
        self.collection.push_str(dot);
        self.collection.push_str(&String::from_utf8_lossy(name));
        self.place = Place::Name {
            from,
            after_dot: false,
        };
    }

    fn leave_name(&mut self) {
        if matches!(self.place, Place::NameDue { .. } | Place::Name { .. }) {
            self.place = Place::Body;
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match (symbol, &self.place) {
            (
                b'.',
                Place::Name {
                    from,
                    after_dot: false,
                },
            ) => {
                self.place = Place::Name {
                    from: *from,
                    after_dot: true,
                };
                return;
            }
            // A function's rows, not a table.
            (b'(', Place::Name { from: true, .. }) => self.collection.clear(),
            _ => {}
        }
        self.leave_name();
        match symbol {
            b'(' => {
                self.depth += 1;
                if self.previous == Previous::FromFunction || self.argument_depth > 0 {
                    self.argument_depth += 1;
                }
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                self.argument_depth = self.argument_depth.saturating_sub(1);
            }
            b';' if self.depth == 0 => self.next_statement(),
            _ => {}
        }
    }

    fn next_statement(&mut self) {
        self.statements += u32::from(self.place != Place::Start);
        (self.place, self.verb) = (Place::Start, Verb::Other);
        (self.in_values, self.index_named, self.with) = (false, false, false);
    }

    fn finish(&mut self) {
        self.next_statement();
    }
}

fn is_main_verb(word: &[u8]) -> bool {
    const VERBS: [&str; 7] = [
        "select", "insert", "update", "delete", "merge", "values", "replace",
    ];
    VERBS
        .iter()
        .any(|verb| word.eq_ignore_ascii_case(verb.as_bytes()))
}

fn is_noise(word: &[u8]) -> bool {
    const NOISE: [&str; 15] = [
        "only",
        "if",
        "not",
        "exists",
        "lateral",
        "table",
        "low_priority",
        "ignore",
        "delayed",
        "quick",
        "overwrite",
        "high_priority",
        "temporary",
        "concurrently",
        "local",
    ];
    NOISE
        .iter()
        .any(|noise| word.eq_ignore_ascii_case(noise.as_bytes()))
}

/// sqlcommenter: `/*traceparent='00-...',tracestate='...'*/`.
fn commented_context(comment: &[u8]) -> Option<Box<PropagatedContext>> {
    const NAME: &[u8] = b"traceparent='";
    let value = &comment[memchr::memmem::find(comment, NAME)? + NAME.len()..];
    let end = memchr::memchr(b'\'', value)?;
    let mut reader = ContextReader::default();
    reader.see(b"traceparent", &value[..end]);
    reader.finish()
}

#[cfg(test)]
mod tests;
