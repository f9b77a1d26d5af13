use super::*;
use crate::process::memory::image::Image;

const EXPORTED: [u64; 6] = [0x100, 0x108, 0x110, 0x118, 0x120, 0x128];
const ENTRIES: u64 = 0x1000;
const LIST: u64 = 0x5000;

/// A virtual machine that describes these fields, each at this offset (or, if static, at this address).
fn machine(fields: &[(&str, &str, u64)]) -> Image {
    let mut image = Image::default();
    // Stride; names of type and field, offset, address.
    for (address, word) in EXPORTED.into_iter().zip([ENTRIES, 48, 0, 8, 32, 40]) {
        image.words(address, &[word]);
    }
    let mut text = 0x8000;
    let mut put_text = |image: &mut Image, name: &str| {
        image.put(text, &[name.as_bytes(), &[0; 16]].concat());
        text += 64;
        text - 64
    };
    for (at, (of, field, place)) in fields.iter().enumerate() {
        let names = [put_text(&mut image, of), put_text(&mut image, field)];
        let entry = ENTRIES + 48 * at as u64;
        image.words(entry, &[names[0], names[1], 0, 0, *place, *place]);
    }
    image.words(ENTRIES + 48 * fields.len() as u64, &[0; 6]);
    image
}

const FIELDS: [(&str, &str, u64); 8] = [
    ("ThreadsSMRSupport", "_java_thread_list", LIST),
    ("ThreadsList", "_length", 4),
    ("ThreadsList", "_threads", 16),
    ("Thread", "_osthread", 24),
    ("JavaThread", "_threadObj", 32),
    ("JavaThread", "_lock_stack", 48),
    ("JavaThread", "_vthread", 40),
    ("OSThread", "_thread_id", 12),
];

/// Threads with these numbers in Java; `eetop` is at 16, the number behind it.
fn threads_of(image: &mut Image, numbers: &[u64]) {
    let list = LIST + 0x100;
    image.words(LIST, &[list]);
    image.words(list, &[(numbers.len() as u64) << 32, 0, list + 0x100]);
    for (at, number) in numbers.iter().enumerate() {
        let place = 0x10_0000 + 0x1000 * at as u64;
        let (system, handle, object) = (place + 0x100, place + 0x200, place + 0x300);
        image.words(list + 0x100 + 8 * at as u64, &[place]);
        image.words(place, &[0, 0, 0, system, handle, handle + 8]);
        image.words(system, &[0, (1_000 + at as u64) << 32]);
        image.words(handle, &[object, object]);
        image.words(object, &[7, 7, place, *number, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn threads_and_the_place_of_their_number_are_found() {
    let mut image = machine(&FIELDS);
    threads_of(&mut image, &[1, 30, 31]);
    let structs = Structs::read(EXPORTED, &image).unwrap();
    let threads = threads(&structs, &image).unwrap();
    assert_eq!(
        threads.iter().map(|thread| thread.tid).collect::<Vec<_>>(),
        [1_000, 1_001, 1_002]
    );
    assert_eq!(number_offset(&threads, &image), Some(24));
    assert_eq!(structs.running, Some(40));
}

#[test]
fn threads_that_do_not_agree_tell_nothing() {
    let mut image = machine(&FIELDS);
    threads_of(&mut image, &[1, 30, 30]);
    let structs = Structs::read(EXPORTED, &image).unwrap();
    let found = threads(&structs, &image).unwrap();
    assert_eq!(number_offset(&found, &image), None, "two have the same number");
    threads_of(&mut image, &[1]);
    let found = threads(&structs, &image).unwrap();
    assert_eq!(number_offset(&found, &image), None, "one proves nothing");
}

#[test]
fn a_machine_without_virtual_threads_is_told_from_one_that_describes_nothing() {
    // As Java 17 says it.
    let mut before: Vec<_> = FIELDS.into_iter().filter(|field| field.1 != "_vthread").collect();
    before[3].0 = "JavaThread";
    assert_eq!(Structs::read(EXPORTED, &machine(&before)).unwrap().running, None);
    assert_eq!(Structs::read(EXPORTED, &machine(&FIELDS[..4])), None);
    assert_eq!(Structs::read(EXPORTED, &Image::default()), None);
}

#[test]
fn a_program_that_is_no_java_is_unknown() {
    let procfs = Procfs::new("/proc");
    assert_eq!(look(&procfs, std::process::id()), JavaLook::Unknown);
}
