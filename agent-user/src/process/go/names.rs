//! Names of a Go program's functions where its symbol table was stripped: the table with which the runtime itself names them
//! in stack traces (`runtime/symtab.go`: `pcHeader`, `functab`, `_func`) stays.
//!
//! Enters: the bytes of that table and the names wanted. Leaves: entries, counted from the start of the program's text.
//! Bounded: one pass over the functions; every offset is checked. Deliberately absent: tables before Go 1.20.

/// Since Go 1.20, as the machine writes it.
const MAGIC: u32 = 0xFFFF_FFF1;
/// Sizes in bytes, and places of the header's words: count of functions, start of the text, names, functions.
const WORD: usize = 8;
const POINTER_SIZE_AT: usize = 7;
const COUNT_AT: usize = 8;
const TEXT_AT: usize = 24;
const NAMES_AT: usize = 32;
const FUNCTIONS_AT: usize = 64;
const ENTRY: usize = 8;
const NAME_MAX: usize = 128;

pub(super) struct FunctionNames<'data> {
    names: &'data [u8],
    functions: &'data [u8],
    count: usize,
    /// Where the text starts, 0 where the table does not tell.
    pub(super) text: u64,
}

impl<'data> FunctionNames<'data> {
    /// `None` for a table of another version, or one that does not hold together.
    pub(super) fn read(table: &'data [u8]) -> Option<Self> {
        if half(table, 0)? != MAGIC || usize::from(*table.get(POINTER_SIZE_AT)?) != WORD {
            return None;
        }
        let offset = |at| usize::try_from(word(table, at)?).ok();
        Some(Self {
            names: table.get(offset(NAMES_AT)?..)?,
            functions: table.get(offset(FUNCTIONS_AT)?..)?,
            count: offset(COUNT_AT)?,
            text: word(table, TEXT_AT)?,
        })
    }

    /// Entries of these functions, from the start of the text, as far as they are there; `None` for a damaged table.
    pub(super) fn entries<const N: usize>(&self, wanted: [&str; N]) -> Option<[Option<u64>; N]> {
        let mut found = [None; N];
        for at in 0..self.count.min(self.functions.len() / ENTRY) {
            let entry = half(self.functions, at * ENTRY)?;
            let function = half(self.functions, at * ENTRY + 4)? as usize;
            let Some(name) = half(self.functions, function.checked_add(4)?) else {
                continue;
            };
            let Some(place) = self.position(name as usize, &wanted) else {
                continue;
            };
            found[place] = Some(u64::from(entry));
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        Some(found)
    }

    fn position(&self, name: usize, wanted: &[&str]) -> Option<usize> {
        let rest = self.names.get(name..)?;
        let rest = &rest[..rest.len().min(NAME_MAX)];
        wanted
            .iter()
            .position(|one| rest.get(one.len()) == Some(&0) && rest.starts_with(one.as_bytes()))
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(WORD)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(functions: &[(u32, &str)]) -> Vec<u8> {
        let mut names = Vec::new();
        let mut entries = Vec::new();
        let mut bodies = Vec::new();
        let bodies_at = functions.len() * ENTRY + 4;
        for (entry, name) in functions {
            entries.extend(entry.to_le_bytes());
            entries.extend(((bodies_at + bodies.len()) as u32).to_le_bytes());
            bodies.extend(entry.to_le_bytes());
            bodies.extend((names.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        entries.extend([0; 4]);
        let header = FUNCTIONS_AT + WORD;
        let mut table = MAGIC.to_le_bytes().to_vec();
        table.extend([0, 0, 1, WORD as u8]);
        let words = [
            functions.len(),
            0,
            0x40_1000,
            header,
            0,
            0,
            0,
            header + names.len(),
        ];
        words
            .iter()
            .for_each(|word| table.extend((*word as u64).to_le_bytes()));
        table.extend(names);
        table.extend(entries);
        table.extend(bodies);
        table
    }

    #[test]
    fn functions_are_found_by_their_whole_names() {
        let bytes = table(&[(0, "main.main"), (0x40, "main.main.func1"), (0x99, "main.mai")]);
        let names = FunctionNames::read(&bytes).unwrap();
        assert_eq!(names.text, 0x40_1000);
        assert_eq!(
            names.entries(["main.mai", "main.main.func1"]),
            Some([Some(0x99), Some(0x40)])
        );
        assert_eq!(names.entries(["main.main", "main.other"]), Some([Some(0), None]));
    }

    #[test]
    fn a_damaged_table_is_no_table() {
        let bytes = table(&[(0, "main.main"), (0x40, "main.other")]);
        for cut in 0..bytes.len() {
            if let Some(names) = FunctionNames::read(&bytes[..cut]) {
                let _ = names.entries(["main.main", "main.none"]);
            }
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] = 0xFF;
            if let Some(names) = FunctionNames::read(&other) {
                let _ = names.entries(["main.main", "main.none"]);
            }
        }
        assert!(FunctionNames::read(&[0xFB, 0xFF, 0xFF, 0xFF, 0, 0, 1, 8]).is_none());
    }
}
