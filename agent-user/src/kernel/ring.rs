//! The ring buffer's reading end (`BPF_MAP_TYPE_RINGBUF`, kernel/bpf/ringbuf.c).
//!
//! Enters: the map. Leaves: records, where the kernel wrote them; and how much waits. Bounded: by the map. Its data is mapped
//! once, where a library maps it twice to have records that wrap around in one piece: every page counts as resident as often
//! as it is mapped. A record that wraps around is copied.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// `BPF_RINGBUF_HDR_SZ`, and bits of a record's length (`include/uapi/linux/bpf.h`).
const HEADER_BYTES: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
/// Read before the kernel is told: telling it takes a write to memory that every processor reads.
const TOLD_BYTES: usize = 64 * 1024;

pub(super) struct Ring {
    consumer: Pages,
    /// One page with the producer's position, then the data.
    producer: Pages,
    data_bytes: usize,
    /// Read up to here; the kernel is told now and then.
    position: usize,
    told: usize,
    /// The producer's position when it was last looked at.
    end: usize,
    /// A record that wrapped around.
    joined: Vec<u8>,
}

impl Ring {
    /// `file` is a map of so many bytes, a power of two.
    pub(super) fn open(file: BorrowedFd<'_>, data_bytes: usize) -> io::Result<Self> {
        // SAFETY: sysconf only reads.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096);
        let consumer = Pages::map(file, 0, page, page, libc::PROT_READ | libc::PROT_WRITE)?;
        let producer = Pages::map(file, page, page, page + data_bytes, libc::PROT_READ)?;
        let position = consumer.position().load(Ordering::Acquire);
        Ok(Self {
            consumer,
            producer,
            data_bytes,
            position,
            told: position,
            end: position,
            joined: Vec::new(),
        })
    }

    /// Bytes of records that wait to be read.
    pub(super) fn waiting_bytes(&self) -> usize {
        let end = self.producer.position().load(Ordering::Acquire);
        end.wrapping_sub(self.position)
    }

    /// Shows up to `limit` records; answers how many it showed. Fewer than `limit` means that no more are there.
    pub(super) fn read(&mut self, limit: usize, mut show: impl FnMut(&[u8])) -> usize {
        let mut shown = 0;
        while shown < limit {
            if self.position == self.end {
                self.end = self.producer.position().load(Ordering::Acquire);
            }
            if self.position == self.end {
                break;
            }
            let at = self.position & (self.data_bytes - 1);
            let header = self.producer.length_at(at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                // It is being written.
                break;
            }
            let length = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                show(self.record(at + HEADER_BYTES, length));
                shown += 1;
            }
            let taken = (HEADER_BYTES + length).next_multiple_of(8);
            self.position = self.position.wrapping_add(taken);
            if self.position.wrapping_sub(self.told) >= TOLD_BYTES {
                self.tell();
            }
        }
        self.tell();
        shown
    }

    fn tell(&mut self) {
        if self.told != self.position {
            self.told = self.position;
            self.consumer.position().store(self.position, Ordering::Release);
        }
    }

    /// The record of this length that begins there, in one piece.
    fn record(&mut self, at: usize, length: usize) -> &[u8] {
        let first = length.min(self.data_bytes - at);
        let begin = self.producer.data(at, first);
        if first == length {
            return begin;
        }
        self.joined.clear();
        self.joined.extend_from_slice(begin);
        self.joined
            .extend_from_slice(self.producer.data(0, length - first));
        &self.joined
    }
}

/// Rings when the kernel programs ask to be read.
pub(super) struct Bell(OwnedFd);

impl Bell {
    /// Only being woken counts (`EPOLLET`): there is nearly always something to read.
    pub(super) fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: it takes no pointer.
        let epoll = match unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: the kernel just made it, for nobody else.
            epoll => unsafe { OwnedFd::from_raw_fd(epoll) },
        };
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET) as u32,
            u64: 0,
        };
        let (bell, file) = (epoll.as_raw_fd(), file.as_raw_fd());
        // SAFETY: `event` lives through the call, which copies it.
        match unsafe { libc::epoll_ctl(bell, libc::EPOLL_CTL_ADD, file, &raw mut event) } {
            0 => Ok(Self(epoll)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for it, at most so long.
    pub(super) fn wait(&self, timeout_ms: i32) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` has room for the one event asked for. An interrupted or failed wait is a short one, which is
        // harmless.
        let _ = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, timeout_ms) };
    }
}

/// Pages shared with the kernel, until dropped. The first one begins with a position.
struct Pages {
    start: NonNull<u8>,
    page: usize,
    length: usize,
}

// SAFETY: the pages belong to this value alone, and may be read from any thread.
unsafe impl Send for Pages {}

impl Pages {
    fn map(file: BorrowedFd<'_>, offset: usize, page: usize, length: usize, access: i32) -> io::Result<Self> {
        let (file, offset) = (file.as_raw_fd(), offset as libc::off_t);
        // SAFETY: a new mapping of an open descriptor, where the kernel finds room.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                file,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, page, length })
    }

    fn position(&self) -> &AtomicUsize {
        // SAFETY: a page begins here, mapped as long as `self` lives, and the kernel reads and writes this word as a whole.
        unsafe { self.start.cast().as_ref() }
    }

    /// The first word of the record at this place of the data.
    fn length_at(&self, at: usize) -> &AtomicU32 {
        let at = self.page + at;
        assert!(
            at + HEADER_BYTES <= self.length,
            "it is masked by the data's length"
        );
        // SAFETY: inside the mapping, as just checked; records are aligned to eight bytes, and the kernel writes this word as a
        // whole.
        unsafe { self.start.add(at).cast().as_ref() }
    }

    /// So many bytes of a record that is written and was not given back yet: the kernel leaves it alone.
    fn data(&self, at: usize, length: usize) -> &[u8] {
        let at = self.page + at;
        assert!(at + length <= self.length, "no record is longer than the ring");
        // SAFETY: inside the mapping, as just checked; nobody writes there while it is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.add(at).as_ptr(), length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    const PAGE: u64 = 4_096;
    const DATA: usize = 4_096;

    /// A file laid out as the map is, written to as the kernel does.
    struct Kernel {
        file: File,
        position: u64,
    }

    impl Kernel {
        fn new() -> Self {
            // SAFETY: the name is a C string; the descriptor is nobody else's.
            let file = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"ring".as_ptr(), 0)) };
            let mut file = File::from(file);
            file.write_all(&vec![0; 2 * PAGE as usize + DATA]).unwrap();
            Self { file, position: 0 }
        }

        fn put(&mut self, flags: u32, record: &[u8]) {
            let header = [(record.len() as u32 | flags).to_ne_bytes(), [0; 4]].concat();
            for (offset, byte) in [&header, record].concat().iter().enumerate() {
                let at = (self.position as usize + offset) % DATA;
                self.file.write_at(&[*byte], 2 * PAGE + at as u64).unwrap();
            }
            self.position += (HEADER_BYTES + record.len()).next_multiple_of(8) as u64;
            self.file.write_at(&self.position.to_ne_bytes(), PAGE).unwrap();
        }

        fn told(&self) -> u64 {
            let mut told = [0; 8];
            self.file.read_at(&mut told, 0).unwrap();
            u64::from_ne_bytes(told)
        }
    }

    fn read(ring: &mut Ring, limit: usize) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let count = ring.read(limit, |record| records.push(record.to_vec()));
        assert_eq!(count, records.len());
        records
    }

    #[test]
    fn records_are_shown_in_order_wherever_they_lie() {
        let mut kernel = Kernel::new();
        let mut ring = Ring::open(kernel.file.as_fd(), DATA).unwrap();
        assert_eq!(read(&mut ring, 9), Vec::<Vec<u8>>::new());
        for round in 0..200u32 {
            // Lengths that end at every place, also across the end of the data.
            let records: Vec<Vec<u8>> = (0..3)
                .map(|number| vec![number; (round * 37 % 901) as usize])
                .collect();
            kernel.put(0, &records[0]);
            kernel.put(DISCARDED, b"not to be seen");
            kernel.put(0, &records[1]);
            kernel.put(0, &records[2]);
            assert!(ring.waiting_bytes() >= 4 * HEADER_BYTES);
            assert_eq!(read(&mut ring, 2), records[..2]);
            assert_eq!(read(&mut ring, 2), records[2..]);
            assert_eq!((kernel.told(), ring.waiting_bytes()), (kernel.position, 0));
        }
    }

    #[test]
    fn a_record_that_is_being_written_is_waited_for() {
        let mut kernel = Kernel::new();
        let mut ring = Ring::open(kernel.file.as_fd(), DATA).unwrap();
        kernel.put(BUSY, b"half");
        kernel.put(0, b"whole");
        assert_eq!(read(&mut ring, 9), Vec::<Vec<u8>>::new());
        kernel.position = 0;
        kernel.put(0, b"half");
        kernel.put(0, b"whole");
        assert_eq!(read(&mut ring, 9), [b"half".to_vec(), b"whole".to_vec()]);
    }
}
