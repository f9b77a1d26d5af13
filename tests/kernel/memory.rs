//! Memory: what the kernel charges for all maps together.

use spanhound_agent::kernel::TierChoice;

use crate::observer::Observer;

/// With default settings, whatever happens: 8 MiB of ring buffer, 32 Ki connections, settings, processes and callers.
const SHARED_BYTES_MAX: u64 = 24 << 20;
/// Drafts and counters of one processor.
const PROCESSOR_BYTES_MAX: u64 = 256 << 10;

#[test]
fn all_maps_together_stay_within_their_bound() {
    let Some(observer) = Observer::start(TierChoice::Auto) else {
        return;
    };
    // The kernel gives each processor that may ever be there its part.
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = possible.trim().rsplit(['-', ',']).next().unwrap();
    let processors = last.parse::<u64>().unwrap() + 1;
    let limit = SHARED_BYTES_MAX + processors * PROCESSOR_BYTES_MAX;
    let bytes = observer.capture.map_bytes();
    assert!(bytes > 8 << 20, "the ring buffer alone is more than {bytes}");
    assert!(
        bytes <= limit,
        "{bytes} bytes of maps, at most {limit} with {processors} processors"
    );
}
