use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::interpreter::{Minor, Types};
use super::*;
use crate::process::memory::image::Image;

const TYPES: Types = Types {
    type_: 0x10_0000,
    dictionary: 0x10_1000,
    module: 0x10_2000,
    text: 0x10_3000,
    integer: 0x10_4000,
    tuple: 0x10_5000,
};
const RUNTIME: u64 = 0x20_0000;
const RUNTIME_BYTES: u64 = 256;

/// An interpreter of that version with `sys`, `builtins` and `_asyncio`, at made-up addresses.
fn image(version: Minor) -> Image {
    let mut image = Image::default();
    let (modules, asyncio, running) = (0x30_0000, 0x31_0000, 0x32_0000);
    image.words(RUNTIME, &[0; 32]);
    if version.has_compact_keys() {
        image.words(RUNTIME + 64, &[3, modules]);
    } else {
        image.words(RUNTIME + 64, &[3, 0x28_0000]);
        image.words(0x28_0000, &[0; 256]);
        image.words(0x28_0000 + 96, &[modules]);
    }
    let empty = 0x33_0000;
    let modules_of = [
        ("sys", 0x50_0000, empty),
        ("builtins", 0x50_1000, empty),
        ("_asyncio", 0x50_2000, asyncio),
    ];
    for (_, module, dictionary) in modules_of {
        image.words(module, &[1, TYPES.module, dictionary]);
    }
    dictionary(
        &mut image,
        version,
        modules,
        &modules_of.map(|(name, module, _)| (name, module)),
    );
    dictionary(&mut image, version, empty, &[]);
    dictionary(
        &mut image,
        version,
        asyncio,
        &[("Task", 0x60_0000), ("_current_tasks", running)],
    );
    dictionary(&mut image, version, running, &[]);
    image
}

fn dictionary(image: &mut Image, version: Minor, at: u64, entries: &[(&str, u64)]) {
    let keys = at + 0x1000;
    image.words(at, &[1, TYPES.dictionary, entries.len() as u64, 0, keys, 0]);
    image.words(keys, &[0; 64]);
    let count = entries.len() as u64;
    let first = if version.has_compact_keys() {
        image.words(keys, &[1, 0x01_03_03, 0, count]);
        keys + 40
    } else {
        image.words(keys, &[1, 8, 0, 0, count]);
        keys + 48
    };
    for (number, (name, value)) in entries.iter().enumerate() {
        let (number, key) = (number as u64, at + 0x4000 + 0x100 * number as u64);
        image.words(key, &[1, TYPES.text, name.len() as u64, 0, 0, 0]);
        image.put(key + version.text_offset(), name.as_bytes());
        if version.has_compact_keys() {
            image.words(first + 16 * number, &[key, *value]);
        } else {
            image.words(first + 24 * number, &[99, key, *value]);
        }
    }
}

fn running_in(image: &Image, version: Minor) -> Option<u64> {
    let objects = Objects {
        memory: image,
        types: TYPES,
        version,
    };
    let modules = objects.modules(RUNTIME, RUNTIME_BYTES)?;
    let asyncio = objects.module_dictionary(objects.entry(modules, "_asyncio")?)?;
    let running = objects.entry(asyncio, "_current_tasks")?;
    objects.is_dictionary(running).then_some(running)
}

#[test]
fn the_running_tasks_are_found_in_every_known_layout() {
    for minor in 8..=13 {
        let version = Minor(minor);
        assert!(version.layout().is_some(), "3.{minor}");
        assert_eq!(running_in(&image(version), version), Some(0x32_0000), "3.{minor}");
    }
    assert_eq!(Minor(7).layout(), None);
    assert_eq!(Minor(16).layout(), None);
}

#[test]
fn threads_name_their_tasks_where_both_descriptions_agree() {
    let version = 0x030e_0af0;
    let mut asyncio = [0; threads::ASYNCIO_WORDS];
    (asyncio[1], asyncio[7], asyncio[11]) = (136, 9_000, 872);
    let mut debug = [0; 32];
    debug[0] = u64::from_le_bytes(*b"xdebugpy");
    (debug[1], debug[5], debug[6], debug[9]) = (version, 808, 9_000, 7_344);
    (debug[24], debug[27], debug[28]) = (8, 152, 160);
    let made = |debug: &[u64; 32]| {
        let mut image = Image::default();
        image.words(RUNTIME, debug);
        image.words(RUNTIME + 808, &[0x70_0000]);
        image.words(0x70_0000 + 7_344, &[0x80_0000]);
        for (state, next, native) in [(0x80_0000, 0x81_0000, 42), (0x81_0000, 0, 41)] {
            image.words(state, &[0, next]);
            image.words(state + 160, &[native]);
        }
        image
    };
    let interpreter = Interpreter::at(RUNTIME);
    let (tasks, found) = threads::described(&interpreter, &made(&debug), version, &asyncio).unwrap();
    assert_eq!(found, [(42, 0x80_0000), (41, 0x81_0000)]);
    let offsets = (tasks.running_offset, tasks.thread_offset, tasks.name_offset);
    assert_eq!(offsets, (872, 152, 136));
    let newer = 0x030f_02f0;
    let mut moved = debug;
    (moved[1], moved[27], moved[28], moved[30], moved[31]) = (newer, 1, 2, 152, 160);
    let same = threads::described(&interpreter, &made(&moved), newer, &asyncio);
    assert_eq!(same, Some((tasks, found)));
    for at in [0, 1, 2, 6] {
        let mut other = debug;
        other[at] += 1;
        assert_eq!(
            threads::described(&interpreter, &made(&other), version, &asyncio),
            None,
            "{at}"
        );
    }
}

#[test]
fn another_version_s_layout_finds_nothing() {
    assert_eq!(running_in(&image(Minor(10)), Minor(11)), None);
    assert_eq!(running_in(&image(Minor(12)), Minor(9)), None);
}

#[test]
fn an_object_of_another_type_is_not_taken() {
    for wrong in [0x50_0008, 0x50_2008, 0x30_0008, 0x31_0008, 0x32_0008] {
        let mut image = image(Minor(11));
        image.words(wrong, &[TYPES.integer]);
        assert_eq!(running_in(&image, Minor(11)), None, "{wrong:x}");
    }
    let mut image = image(Minor(11));
    // More entries than any dictionary of modules has.
    image.words(0x30_1000 + 24, &[u64::MAX]);
    assert_eq!(running_in(&image, Minor(11)), None);
}

/// The interpreter to be tested with: the system's, unless `SPANHOUND_PYTHON` names another.
fn python() -> String {
    std::env::var("SPANHOUND_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned())
}

fn run(script: &str) -> Option<(std::process::Child, u64)> {
    let mut child = Command::new(python())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
    Some((child, u64::from_str_radix(line.trim(), 16).ok()?))
}

#[test]
fn a_real_interpreter_keeps_them_where_they_are_found() {
    let script = "import asyncio, _asyncio, sys\nprint('%x' % id(getattr(_asyncio, '_current_tasks', None)), flush=True)\n\
                  sys.stdin.read()";
    let Some((mut child, running)) = run(script) else {
        eprintln!("skipped: there is no {}", python());
        return;
    };
    let found = look(&Procfs::new("/proc"), child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let PythonLook::Found(program) = found else {
        panic!("{found:?}");
    };
    if program.tasks.running == 0 {
        assert!(program.tasks.running_offset > 0 && program.tasks.name_offset > 0);
        assert_eq!(program.threads.len(), 1, "the main thread's state");
    } else {
        assert_eq!(program.tasks.running, running);
    }
    assert_eq!(program.uvloop, None);
}

#[test]
fn an_interpreter_without_asyncio_is_looked_at_again() {
    let Some((mut child, _)) = run("import sys\nprint(0, flush=True)\nsys.stdin.read()") else {
        return;
    };
    let found = look(&Procfs::new("/proc"), child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, PythonLook::NotYet);
}

#[test]
fn a_program_that_is_no_interpreter_has_no_tasks() {
    assert_eq!(
        look(&Procfs::new("/proc"), std::process::id()),
        PythonLook::Unknown
    );
    assert_eq!(look(&Procfs::new("/proc"), u32::MAX), PythonLook::Unknown);
}
