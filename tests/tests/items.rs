//! The items service by itself: it answers under concurrency and counts what it sends.

use spanhound_tests::service::{Items, Sent};
use spanhound_tests::stage::Stage;

#[test]
fn the_service_counts_what_each_request_sends() {
    let mut stage = Stage::open("test-items").unwrap();
    let items = Items::start(&mut stage).unwrap();
    // Of twelve: every third updates as well, every fourth sends two commands more.
    let sent = Sent {
        requests: 12,
        statements: 12 + 4,
        commands: 24 + 2 * 3,
    };
    assert_eq!(items.request(0..12, 1).unwrap(), sent);
    assert_eq!(items.request(12..24, 4).unwrap(), sent);
}
