//! Threads of this process that wake each other, and what is told of it when the woken one writes to a socket.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use spanhound_agent::{
    event::{Wake, Woken},
    kernel::{ProcessRule, TierChoice},
};
use spanhound_common::{
    record::{WAKE_END, WAKE_START, WAKE_WRITE},
    rule::{PROCESS_CHOSEN, PROCESS_WAKES},
};

use crate::{
    observer::Observer,
    sockets::{Family, tcp},
};

/// An observer that is told of this process's wake-ups.
fn start() -> Option<Observer> {
    let mut observer = Observer::start(TierChoice::Auto)?;
    let hooks = observer.capture.hooks();
    let refused = hooks.iter().find(|hook| {
        let needed = hook.event.contains("woken") || hook.event.contains("forked");
        needed && hook.tier.is_none()
    });
    assert!(refused.is_none(), "{refused:?}");
    let rule = ProcessRule {
        flags: PROCESS_CHOSEN | PROCESS_WAKES,
        ..ProcessRule::default()
    };
    observer.capture.set_process(std::process::id(), rule);
    Some(observer)
}

fn own_tid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() as u32 }
}

/// Until the thread sleeps: only then can it be woken.
fn wait_asleep(tid: u32) {
    loop {
        let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        if stat.rsplit(')').next().unwrap().trim_start().starts_with('S') {
            return;
        }
        thread::yield_now();
    }
}

fn write_somewhere() {
    let pair = tcp(Family::V4);
    TcpStream::from(pair.client).write_all(b"x").unwrap();
    let mut byte = [0];
    TcpStream::from(pair.server).read_exact(&mut byte).unwrap();
}

/// Who woke the thread before its first write.
fn wakes_of(observer: &mut Observer, tid: u32) -> Vec<Wake> {
    let of = |woken: &&Woken| (woken.pid, woken.tid) == (std::process::id(), tid);
    observer.watch(|this| this.woken.iter().any(|woken| of(&woken)));
    let woken = observer.woken.iter().find(of);
    let woken = woken.unwrap_or_else(|| panic!("nothing is told of {tid}: {:?}", observer.woken));
    woken.wakes.into_iter().filter(|wake| wake.waker != 0).collect()
}

#[test]
fn a_baton_passed_from_thread_to_thread_is_told_with_who_passed_it_before() {
    let Some(mut observer) = start() else { return };
    let (to_first, first_takes) = mpsc::channel::<()>();
    let (to_second, second_takes) = mpsc::channel::<()>();
    let (tids, tid) = mpsc::channel();
    let first_tids = tids.clone();
    let first = thread::spawn(move || {
        // It was started by the test, too: what it writes first takes that with it.
        write_somewhere();
        first_tids.send(own_tid()).unwrap();
        first_takes.recv().unwrap();
        to_second.send(()).unwrap();
        write_somewhere();
    });
    let first_tid = tid.recv().unwrap();
    let second = thread::spawn(move || {
        write_somewhere();
        tids.send(own_tid()).unwrap();
        second_takes.recv().unwrap();
        write_somewhere();
    });
    let second_tid = tid.recv().unwrap();
    wait_asleep(first_tid);
    wait_asleep(second_tid);
    observer.take_waiting();
    observer.woken.clear();
    to_first.send(()).unwrap();
    first.join().unwrap();
    second.join().unwrap();
    let of_first = wakes_of(&mut observer, first_tid);
    assert!(
        of_first.iter().any(|wake| wake.waker == own_tid()),
        "{of_first:?}"
    );
    let of_second = wakes_of(&mut observer, second_tid);
    let passed = |wake: &Wake| wake.waker == first_tid && wake.before == own_tid();
    assert!(of_second.iter().any(passed), "{of_second:?}");
    assert!(
        of_second.iter().all(|wake| wake.place > WAKE_END),
        "{of_second:?}"
    );
    observer.nothing_lost(TierChoice::Auto);
}

#[test]
fn threads_that_start_end_and_read_a_pipe_are_woken_by_whoever_did_that() {
    let Some(mut observer) = start() else { return };
    let mut ends = [0; 2];
    // SAFETY: room for both descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let (tids, tid) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        write_somewhere();
        tids.send(own_tid()).unwrap();
        let mut byte = 0u8;
        // SAFETY: one byte of ours; the pipe is open until the test ends.
        assert_eq!(unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) }, 1);
        write_somewhere();
        goes.recv().unwrap();
    });
    let reader_tid = tid.recv().unwrap();
    let started = wakes_of(&mut observer, reader_tid);
    let by = |wakes: &[Wake], waker: u32, place: u32| {
        wakes
            .iter()
            .any(|wake| (wake.waker, wake.place) == (waker, place))
    };
    assert!(by(&started, own_tid(), WAKE_START), "{started:?}");
    wait_asleep(reader_tid);
    observer.woken.clear();
    // SAFETY: one byte of ours.
    assert_eq!(unsafe { libc::write(ends[1], [1u8].as_ptr().cast(), 1) }, 1);
    let written = wakes_of(&mut observer, reader_tid);
    assert!(by(&written, own_tid(), WAKE_WRITE), "{written:?}");
    // SAFETY: nobody uses them any more.
    ends.iter()
        .for_each(|end| assert_eq!(unsafe { libc::close(*end) }, 0));
    observer.woken.clear();
    let (main_tid, waiting) = (own_tid(), reader);
    thread::spawn(move || {
        wait_asleep(main_tid);
        go.send(()).unwrap();
    });
    waiting.join().unwrap();
    write_somewhere();
    let ended = wakes_of(&mut observer, own_tid());
    assert!(ended.iter().any(|wake| wake.waker == reader_tid), "{ended:?}");
}

#[test]
fn nothing_is_told_of_processes_nobody_asked_for() {
    let Some(mut observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    thread::spawn(write_somewhere).join().unwrap();
    write_somewhere();
    observer.watch(|this| this.told.values().filter(|told| told.closed.is_some()).count() >= 4);
    assert!(observer.woken.is_empty(), "{:?}", observer.woken);
}
