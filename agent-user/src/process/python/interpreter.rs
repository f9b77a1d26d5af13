//! The interpreter in a process: which mapped file it is, what that exports, and which version it is.

use std::fs::File;
use std::path::{Path, PathBuf};

use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSymbol};
use spanhound_common::PythonTasks;
use spanhound_common::rule::{ATTRIBUTES_APART, ATTRIBUTES_TAGGED};

use crate::process::elf::{file_offset, load_bias};
use crate::process::mapping::Mapping;
use crate::process::memory::Memory;
use crate::process::procfs::Procfs;

/// Addresses of the types whose objects are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types {
    pub(super) type_: u64,
    pub(super) dictionary: u64,
    pub(super) module: u64,
    pub(super) text: u64,
    pub(super) integer: u64,
    pub(super) tuple: u64,
}

/// Exported by the interpreter, by address in the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub(super) file: PathBuf,
    /// `_PyRuntime`
    pub(super) runtime: u64,
    pub(super) runtime_bytes: u64,
    pub(super) types: Types,
    /// `Py_Version`, since 3.11
    version: u64,
    /// Whether there is what came with 3.8, 3.9 and 3.10.
    has: [bool; 3],
}

/// The 8 of 3.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Minor(pub(super) u32);

/// Functions of the stable interface that tell one version from the one before.
const CAME_WITH: [&str; 3] = ["PyVectorcall_Call", "PyInterpreterState_Get", "PyIter_Send"];
/// Larger than the runtime state of any version by far.
const RUNTIME_MAX_BYTES: u64 = 4 << 20;

/// A `libpython3` where there is one, the executable itself otherwise.
pub(super) fn find(procfs: &Procfs, pid: u32, mappings: &[Mapping], executable: &str) -> Option<Interpreter> {
    let is_library = |mapping: &&Mapping| {
        let name = mapping.path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libpython3.") && name.contains(".so.")
    };
    if let Some(library) = mappings.iter().find(is_library) {
        return exported(&procfs.mapped_file(pid, &library.path), library.start);
    }
    let mapping = mappings
        .iter()
        .find(|mapping| mapping.path.trim_end_matches(" (deleted)") == executable)?;
    exported(&procfs.executable_file(pid), mapping.start)
}

fn exported(file: &Path, start: u64) -> Option<Interpreter> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let bias = load_bias(&object, start);
    let mut interpreter = Interpreter {
        file: file.to_path_buf(),
        runtime: 0,
        runtime_bytes: 0,
        types: Types::default(),
        version: 0,
        has: [false; 3],
    };
    for symbol in object.dynamic_symbols() {
        let Ok(name) = symbol.name() else { continue };
        if symbol.is_undefined() {
            continue;
        }
        let address = symbol.address().wrapping_add(bias);
        match name {
            "_PyRuntime" => {
                interpreter.runtime = address;
                interpreter.runtime_bytes = symbol.size().min(RUNTIME_MAX_BYTES);
            }
            "PyType_Type" => interpreter.types.type_ = address,
            "PyDict_Type" => interpreter.types.dictionary = address,
            "PyModule_Type" => interpreter.types.module = address,
            "PyUnicode_Type" => interpreter.types.text = address,
            "PyLong_Type" => interpreter.types.integer = address,
            "PyTuple_Type" => interpreter.types.tuple = address,
            "Py_Version" => interpreter.version = address,
            _ => {
                if let Some(at) = CAME_WITH.iter().position(|came| *came == name) {
                    interpreter.has[at] = true;
                }
            }
        }
    }
    let Types {
        type_,
        dictionary,
        module,
        text,
        integer,
        tuple,
    } = interpreter.types;
    let complete = [
        interpreter.runtime,
        type_,
        dictionary,
        module,
        text,
        integer,
        tuple,
    ]
    .iter()
    .all(|address| *address != 0);
    complete.then_some(interpreter)
}

impl Interpreter {
    #[cfg(test)]
    pub(super) fn at(runtime: u64) -> Self {
        Self {
            runtime,
            ..Self::default()
        }
    }

    /// `PY_VERSION_HEX`, where it is exported.
    pub(super) fn version_word(&self, memory: &impl Memory) -> Option<u64> {
        memory.word(self.version)
    }

    /// `None` before 3.8, and for another major version.
    pub(super) fn minor_version(&self, memory: &impl Memory) -> Option<Minor> {
        if self.version != 0 {
            // As `PY_VERSION_HEX`.
            let version = self.version_word(memory)?;
            return (version >> 24 == 3).then_some(Minor((version >> 16) as u32 & 0xFF));
        }
        match self.has {
            [true, false, false] => Some(Minor(8)),
            [true, true, false] => Some(Minor(9)),
            [true, true, true] => Some(Minor(10)),
            _ => None,
        }
    }
}

impl Minor {
    /// What does not depend on the process. Read from 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0,
    /// 3.14.10 and 3.15.2.
    pub(super) fn layout(self) -> Option<PythonTasks> {
        let name_offset = match self.0 {
            8 => 120,
            9 => 160,
            10 => 168,
            11 | 12 => 144,
            13 => 128,
            // It says so itself.
            14 | 15 => 0,
            _ => return None,
        };
        let compact = self.has_compact_keys();
        // `_PyObject_ValuesPointer`, then `_PyObject_DictOrValuesPointer`, then `_PyObject_InlineValues`.
        let (attributes_offset, attributes) = match self.0 {
            11 => (-32, ATTRIBUTES_APART),
            12 => (-24, ATTRIBUTES_APART | ATTRIBUTES_TAGGED),
            13..=15 => (24, 0),
            _ => (0, 0),
        };
        Some(PythonTasks {
            // Eight places: as a number, then as its logarithm.
            table_size: if compact { 3 } else { 8 },
            entries_offset: if compact { 40 } else { 48 },
            closure_offset: if self.0 >= 10 { 72 } else { 48 },
            // Tuples remember their hash since 3.14.
            items_offset: if self.0 >= 14 { 32 } else { 24 },
            woken_offset: if self.0 >= 10 { 24 } else { 16 },
            name_offset,
            text_offset: self.text_offset() as u32,
            attributes_offset,
            attributes,
            ..PythonTasks::default()
        })
    }

    pub(super) fn names_task_in_threads(self) -> bool {
        self.0 >= 14
    }

    /// `PyDictKeysObject` since 3.11: sizes as logarithms, and no keys' hashes where all are texts.
    pub(super) fn has_compact_keys(self) -> bool {
        self.0 >= 11
    }

    /// Characters of a text in ASCII, in bytes from its start (`PyASCIIObject`, shorter since 3.12).
    pub(super) fn text_offset(self) -> u64 {
        if self.0 >= 12 { 40 } else { 48 }
    }
}

/// The first words of a section.
pub(super) fn words_of_section<const N: usize>(file: &Path, name: &str) -> Option<[u64; N]> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let data = object.section_by_name(name)?.data().ok()?;
    let mut words = [0; N];
    let read = data
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    let mut count = 0;
    for (word, value) in words.iter_mut().zip(read) {
        *word = value;
        count += 1;
    }
    (count == N).then_some(words)
}

/// Where functions of these names begin in the file.
pub(super) fn function_offsets<const N: usize>(file: &Path, names: [&str; N]) -> Option<[u64; N]> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let mut found = [None; N];
    for symbol in object.symbols() {
        let Ok(name) = symbol.name() else { continue };
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            found[at] = file_offset(&object, symbol.address());
        }
    }
    let mut offsets = [0; N];
    for (offset, found) in offsets.iter_mut().zip(found) {
        *offset = found?;
    }
    Some(offsets)
}
