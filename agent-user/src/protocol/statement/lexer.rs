//! Cuts SQL text into tokens.
//!
//! Enters: statement bytes, possibly cut off anywhere. Leaves: tokens that point into them. Bounded: no allocation.
//! Deliberately absent: a grammar. Where quoting is ambiguous the longer literal wins: rather too little text than a secret.

/// Whose quoting and comment rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL: `"identifier"`, `E'\''`, `$tag$..$tag$`, nested comments.
    PostgreSql,
    /// MySQL and MariaDB: `` `identifier` ``, `"literal"`, backslash escapes, `#` comments, `/*! executed */`.
    MySql,
    /// Cassandra: `"identifier"`, `$$..$$`, `//` comments.
    Cql,
    /// ClickHouse: both identifier quotes, backslash escapes, `#` comments.
    ClickHouse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Keyword or plain identifier.
    Word(&'a [u8]),
    /// With its quotes.
    Quoted(&'a [u8]),
    Literal(&'a [u8]),
    /// Bind parameter (`$1`, `?`).
    Parameter(&'a [u8]),
    Comment(&'a [u8]),
    Space,
    Symbol(u8),
}

pub(super) struct Lexer<'a> {
    dialect: Dialect,
    rest: &'a [u8],
    /// Inside MySQL's `/*! ... */`, whose text is executed.
    executed_comment: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a [u8], dialect: Dialect) -> Self {
        Self {
            dialect,
            rest: sql,
            executed_comment: false,
        }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, from: usize, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let tail = self.rest.get(from..).unwrap_or_default();
        let count = tail.iter().position(|&byte| !keep(byte)).unwrap_or(tail.len());
        self.take(from + count)
    }

    /// A quoted run that begins at `from` with its opening quote; unclosed, it reaches to the end.
    fn take_quoted(&mut self, from: usize, backslash: bool) -> &'a [u8] {
        let quote = self.rest[from];
        let mut at = from + 1;
        loop {
            let tail = self.rest.get(at..).unwrap_or_default();
            let next = if backslash {
                memchr::memchr2(quote, b'\\', tail)
            } else {
                memchr::memchr(quote, tail)
            };
            let Some(found) = next else {
                return self.take(self.rest.len());
            };
            at += found;
            let escape = backslash && self.rest[at] == b'\\';
            if escape || self.rest.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return self.take(at + 1);
            }
        }
    }

    fn take_line(&mut self) -> &'a [u8] {
        let count = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        self.take(count)
    }

    fn take_block_comment(&mut self) -> &'a [u8] {
        let mut depth = 0u32;
        let mut at = 0;
        while at < self.rest.len() {
            match self.rest.get(at..at + 2) {
                Some(b"/*") if depth == 0 || self.dialect == Dialect::PostgreSql => {
                    depth += 1;
                    at += 2;
                }
                Some(b"*/") => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return self.take(at);
                    }
                }
                _ => at += 1,
            }
        }
        self.take(self.rest.len())
    }

    /// `$tag$ ... $tag$`; `None` where there is no opening tag here.
    fn take_dollar_quoted(&mut self) -> Option<&'a [u8]> {
        let tag_rest = self.rest[1..]
            .iter()
            .position(|&byte| !is_word(byte) || byte == b'$')?;
        if self.rest.get(1 + tag_rest) != Some(&b'$') || self.rest[1].is_ascii_digit() {
            return None;
        }
        let tag = &self.rest[..tag_rest + 2];
        let body = &self.rest[tag.len()..];
        let end = memchr::memmem::find(body, tag).map_or(self.rest.len(), |at| at + 2 * tag.len());
        Some(self.take(end))
    }

    fn number_length(&self) -> usize {
        let mut at = 0;
        while let Some(&byte) = self.rest.get(at) {
            let sign = (byte == b'+' || byte == b'-')
                && matches!(self.rest[at - 1], b'e' | b'E')
                && !self.rest.starts_with(b"0x");
            if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || sign) {
                break;
            }
            at += 1;
        }
        at
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        use Dialect::{ClickHouse, Cql, MySql, PostgreSql};
        let &first = self.rest.first()?;
        let second = self.rest.get(1).copied().unwrap_or(0);
        let backslash = matches!(self.dialect, MySql | ClickHouse);
        Some(match first {
            b if b.is_ascii_whitespace() || b == 0 => {
                self.take_while(0, |byte| byte.is_ascii_whitespace() || byte == 0);
                Token::Space
            }
            b'\'' => Token::Literal(self.take_quoted(0, backslash)),
            b'"' if self.dialect == MySql => Token::Literal(self.take_quoted(0, true)),
            b'"' => Token::Quoted(self.take_quoted(0, self.dialect == ClickHouse)),
            b'`' => Token::Quoted(self.take_quoted(0, false)),
            b'-' if second == b'-'
                && (self.dialect != MySql || self.rest.get(2).is_none_or(|&b| b <= b' ')) =>
            {
                Token::Comment(self.take_line())
            }
            b'#' if matches!(self.dialect, MySql | ClickHouse) => Token::Comment(self.take_line()),
            b'/' if second == b'/' && self.dialect == Cql => Token::Comment(self.take_line()),
            b'/' if second == b'*' => {
                let opening = match self.rest.get(2..) {
                    Some([b'!', ..]) => 3,
                    Some([b'M', b'!', ..]) => 4,
                    _ => 0,
                };
                if self.dialect == MySql && opening > 0 {
                    self.executed_comment = true;
                    self.take_while(opening, |byte| byte.is_ascii_digit());
                    Token::Space
                } else {
                    Token::Comment(self.take_block_comment())
                }
            }
            b'*' if second == b'/' && self.executed_comment => {
                self.executed_comment = false;
                self.take(2);
                Token::Space
            }
            b'$' if matches!(self.dialect, PostgreSql | Cql) => {
                if second.is_ascii_digit() {
                    Token::Parameter(self.take_while(1, |byte| byte.is_ascii_digit()))
                } else if let Some(literal) = self.take_dollar_quoted() {
                    Token::Literal(literal)
                } else if self.rest[1..].iter().all(|&byte| is_word(byte)) {
                    // An opening tag that was cut off.
                    Token::Literal(self.take(self.rest.len()))
                } else {
                    self.take(1);
                    Token::Symbol(first)
                }
            }
            b'?' => Token::Parameter(self.take(1)),
            b'0'..=b'9' => Token::Literal(self.take(self.number_length())),
            b'.' if second.is_ascii_digit() => Token::Literal(self.take(self.number_length())),
            b if is_word(b) => {
                let length = self
                    .rest
                    .iter()
                    .position(|&byte| !is_word(byte))
                    .unwrap_or(self.rest.len());
                let word = &self.rest[..length];
                match self.rest.get(length) {
                    Some(b'\'') if is_literal_prefix(word, self.dialect) => {
                        let escapes = backslash || word.eq_ignore_ascii_case(b"e");
                        Token::Literal(self.take_quoted(length, escapes))
                    }
                    Some(b'&')
                        if word.eq_ignore_ascii_case(b"u") && self.rest.get(length + 1) == Some(&b'\'') =>
                    {
                        Token::Literal(self.take_quoted(length + 1, backslash))
                    }
                    _ => Token::Word(self.take(length)),
                }
            }
            _ => {
                self.take(1);
                Token::Symbol(first)
            }
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_literal_prefix(word: &[u8], dialect: Dialect) -> bool {
    match word {
        [letter] => matches!(letter.to_ascii_lowercase(), b'e' | b'b' | b'x' | b'n'),
        [b'_', ..] => dialect == Dialect::MySql,
        _ => false,
    }
}
