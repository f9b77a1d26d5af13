//! Python: what is written in a task of asyncio carries that task, and the one that waits for it.
//!
//! The truth is what the tasks write: their own addresses and that of the one that waits. Needs a `python3`
//! (`SPANHOUND_PYTHON` names another); says so and passes where there is none, as in the virtual machines.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use spanhound_agent::{
    event::{Direction, Event, Task},
    kernel::TierChoice,
    process::{Directory, Procfs, PythonLook, PythonProgram, UvloopFunctions},
};
use spanhound_common::{
    PythonTasks,
    record::{ROUTINE_TASK, TASK_NUMBER_SHIFT},
};

use crate::observer::Observer;

/// Each task writes its address and number, and those of the one that waits for it, in hexadecimal, 0 for none.
const SCRIPT: &str = "
import asyncio, sys

port = int(sys.argv[1])

def line(*tasks):
    return (' '.join('%x %x' % (id(task) if task else 0, number(task)) for task in tasks) + '\\n').encode()

def number(task):
    name = task.get_name() if task else ''
    return int(name[5:]) if name.startswith('Task-') else 0

async def write(waiting):
    own = asyncio.current_task()
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(line(own, waiting))
    await asyncio.sleep(0.01)
    writer.close()

async def between():
    await asyncio.create_task(write(asyncio.current_task()))

async def main():
    own = asyncio.current_task()
    await write(None)
    await asyncio.gather(*(write(own) for _ in range(4)))
    await asyncio.create_task(write(own))
    await asyncio.wait([asyncio.ensure_future(write(own))])
    if hasattr(asyncio, 'TaskGroup'):
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(write(own))
    else:
        await asyncio.gather(write(own), write(own))
    # A task of its own before 3.12.
    await asyncio.wait_for(write(own if sys.version_info < (3, 12) else None), 5)
    # The one that waits for the one that waits.
    await asyncio.gather(between())
    alone = asyncio.create_task(write(None))
    named = asyncio.create_task(write(None))
    named.set_name('Taskless')
    await asyncio.sleep(0.1)
    # Outside of any task.
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    asyncio.get_running_loop().call_soon(writer.write, line(None, None))
    await asyncio.sleep(0.1)

if len(sys.argv) > 2:
    import uvloop
    uvloop.install()
print('ready', flush=True)
sys.stdin.readline()
asyncio.run(main())
";
const LINES: usize = 14;

/// What a line says, as a record would.
fn routine(address: u64, number: u64) -> Option<Task> {
    let mut low = number & 0xFFFF;
    if address == 0 {
        low = 0;
    }
    let marked = if address == 0 { 0 } else { ROUTINE_TASK };
    Task::from_routine(marked | low << TASK_NUMBER_SHIFT | address)
}

fn written_by(python: &str, arguments: &[&str]) {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let started = Command::new(python)
        .args(["-c", SCRIPT, &port.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: there is no {python}");
        return;
    };
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    observer.choose(child.id());
    let look = Directory::new(Procfs::new("/proc"), 100, 8).python(child.id());
    let PythonLook::Found(program) = look else {
        panic!("{look:?}");
    };
    assert_eq!(program.uvloop.is_some(), !arguments.is_empty());
    observer.capture.watch_python(child.id(), &program);
    assert_eq!(observer.capture.python_turned_away(), 0);
    // What else is said of the process later leaves its tasks known.
    observer.choose(child.id());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    for _ in 0..LINES {
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_to_end(&mut Vec::new()).unwrap();
    }
    assert!(child.wait().unwrap().success());

    let (mut lines, mut others, mut betweens) = (Vec::new(), 0, 0);
    let mut waits = HashMap::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while lines.len() + others < LINES && Instant::now() < deadline {
        observer.capture.poll(usize::MAX, |event| match event {
            Event::Awaited(awaited) => {
                waits.insert(awaited.task, awaited.waiting);
            }
            Event::Data(data) if data.direction == Direction::Out && data.actor.pid == child.id() => {
                let text = std::str::from_utf8(data.bytes).unwrap();
                let numbers: Vec<u64> = text
                    .split_ascii_whitespace()
                    .map(|number| u64::from_str_radix(number, 16).unwrap())
                    .collect();
                let (own, waiting) = (routine(numbers[0], numbers[1]), routine(numbers[2], numbers[3]));
                assert_eq!(data.actor.task, own, "{text}");
                assert_eq!(data.actor.parent_task, waiting, "{text}");
                // One that never writes itself: `main` waits for it.
                if let Some(between) = waiting.filter(|waiting| !lines.contains(waiting)) {
                    assert_eq!(waits.get(&between), Some(&lines[0]), "{text}");
                    betweens += 1;
                }
                lines.extend(own);
                others += usize::from(own.is_none());
            }
            _ => {}
        });
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((lines.len(), others, betweens), (LINES - 1, 1, 1));
    let numbered = lines.iter().filter(|task| task.is_numbered());
    assert_eq!(numbered.count(), LINES - 2);
}

fn python() -> String {
    std::env::var("SPANHOUND_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned())
}

#[test]
fn what_a_task_writes_carries_the_task_and_the_one_that_waits_for_it() {
    written_by(&python(), &[]);
}

#[test]
fn what_uvloop_writes_later_carries_the_task_that_wrote_it() {
    let python = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/tools/python-links/bin/python"
    );
    let python = std::env::var("SPANHOUND_UVLOOP_PYTHON").unwrap_or_else(|_| python.to_owned());
    written_by(&python, &["uvloop"]);
}

/// Where a function of this very program is in its file.
pub(crate) fn place(function: usize) -> Option<u64> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let inside = (function as u64).checked_sub(number(start)?)?;
        ((function as u64) < number(end)?).then_some(inside + number(fields.nth(1)?)?)
    })
}

#[inline(never)]
extern "C" fn written(stream: u64) -> u64 {
    std::hint::black_box(stream)
}

#[test]
fn the_probes_of_uvloop_load_on_every_kernel() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    let place = place(written as *const () as usize).unwrap();
    let program = PythonProgram {
        tasks: PythonTasks::default(),
        threads: vec![(std::process::id(), 0)],
        uvloop: Some(UvloopFunctions {
            file: "/proc/self/exe".into(),
            queue_write: place,
            exec_write: place,
        }),
    };
    observer.capture.watch_python(std::process::id(), &program);
    assert_eq!(observer.capture.python_turned_away(), 0);
    // Neither finds anything where there is no interpreter.
    assert_eq!(written(7), 7);
    observer.capture.forget_process(std::process::id());
}
