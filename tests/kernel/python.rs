//! Python: what is written in a task of asyncio carries that task, and the one that waits for it.
//!
//! The truth is what the tasks write: their own addresses and that of the one that waits. Needs a `python3`
//! (`SPANHOUND_PYTHON` names another); says so and passes where there is none, as in the virtual machines.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use spanhound_agent::{
    event::{Direction, Event, Task},
    kernel::TierChoice,
    process::{Directory, Procfs, PythonLook},
};
use spanhound_common::record::{ROUTINE_TASK, TASK_NUMBER_SHIFT};

use crate::observer::Observer;

/// Each task writes `own waiting number`, in hexadecimal, 0 for none.
const SCRIPT: &str = "
import asyncio, sys

port = int(sys.argv[1])

def line(own, waiting, number):
    text = '%x %x %x\\n' % (id(own) if own else 0, id(waiting) if waiting else 0, number)
    return text.encode()

def number(task):
    name = task.get_name()
    return int(name[5:]) if name.startswith('Task-') else 0

async def write(waiting):
    own = asyncio.current_task()
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(line(own, waiting, number(own)))
    await asyncio.sleep(0.01)
    writer.close()

async def main():
    own = asyncio.current_task()
    await write(None)
    await asyncio.gather(*(write(own) for _ in range(4)))
    await asyncio.create_task(write(own))
    await asyncio.wait([asyncio.ensure_future(write(own))])
    alone = asyncio.create_task(write(None))
    named = asyncio.create_task(write(None))
    named.set_name('Taskless')
    await asyncio.sleep(0.1)
    # Outside of any task.
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    asyncio.get_running_loop().call_soon(writer.write, line(None, None, 0))
    await asyncio.sleep(0.1)

if len(sys.argv) > 2:
    import uvloop
    uvloop.install()
print('ready', flush=True)
sys.stdin.readline()
asyncio.run(main())
";
const LINES: usize = 10;

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
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    for _ in 0..LINES {
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_to_end(&mut Vec::new()).unwrap();
    }
    assert!(child.wait().unwrap().success());

    let (mut lines, mut main) = (Vec::new(), None);
    let deadline = Instant::now() + Duration::from_secs(10);
    while lines.len() < LINES && Instant::now() < deadline {
        observer.capture.poll(usize::MAX, |event| {
            if let Event::Data(data) = event
                && data.direction == Direction::Out
                && data.actor.pid == child.id()
            {
                let text = std::str::from_utf8(data.bytes).unwrap();
                let numbers: Vec<u64> = text
                    .split_ascii_whitespace()
                    .map(|number| u64::from_str_radix(number, 16).unwrap())
                    .collect();
                let own = routine(numbers[0], numbers[2]);
                assert_eq!(data.actor.task, own, "{text}");
                main = main.or(own);
                let waiting = (numbers[1] != 0).then_some(main).flatten();
                assert_eq!(data.actor.parent_task, waiting, "{text}");
                lines.push(own);
            }
        });
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lines.len(), LINES);
    let numbered = lines.iter().flatten().filter(|task| task.is_numbered());
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
