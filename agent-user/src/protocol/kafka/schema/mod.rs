//! Kafka's requests and responses, as far as they name or judge something (the message definitions in Kafka's source,
//! `clients/src/main/resources/common/message`).

mod early;
mod late;

use super::walk::Field::{Error, I32, Text};
use super::walk::Role::{Group, Name};
use super::walk::{Item, always, since};

pub(in crate::protocol::kafka) const PRODUCE: i16 = 0;
pub(in crate::protocol::kafka) const FETCH: i16 = 1;
pub(in crate::protocol::kafka) const METADATA: i16 = 3;
pub(in crate::protocol::kafka) const OFFSET_COMMIT: i16 = 8;
pub(in crate::protocol::kafka) const SASL_HANDSHAKE: i16 = 17;
pub(in crate::protocol::kafka) const API_VERSIONS: i16 = 18;
pub(in crate::protocol::kafka) const SHARE_FETCH: i16 = 78;

/// One kind of request.
pub(in crate::protocol::kafka) struct Api {
    pub(in crate::protocol::kafka) name: &'static str,
    /// The highest version described here.
    pub(in crate::protocol::kafka) newest: i16,
    /// From this version on lengths are variable and there are tagged fields; beyond `newest` where never.
    pub(in crate::protocol::kafka) flexible: i16,
    pub(in crate::protocol::kafka) request: &'static [Item],
    pub(in crate::protocol::kafka) response: &'static [Item],
}

const NEVER: i16 = i16::MAX;
const NOTHING: &[Item] = &[];

const fn api(
    name: &'static str,
    newest: i16,
    flexible: i16,
    request: &'static [Item],
    response: &'static [Item],
) -> Api {
    Api {
        name,
        newest,
        flexible,
        request,
        response,
    }
}

/// Most responses begin with the time the client is asked to hold back, some only since a version.
const THROTTLED_ERROR: &[Item] = &[always(I32), always(Error)];
const THROTTLED_ERROR_SINCE_1: &[Item] = &[since(1, I32), always(Error)];
const ERROR_FIRST: &[Item] = &[always(Error)];
const GROUP_FIRST: &[Item] = &[always(Text(Group))];
const NAME_FIRST: &[Item] = &[always(Text(Name))];

/// The kind of request with this API key; `None` for keys that no broker answers clients with.
pub(in crate::protocol::kafka) fn find(key: i16) -> Option<&'static Api> {
    let key = usize::try_from(key).ok()?;
    early::APIS
        .get(key)
        .or_else(|| late::APIS.get(key.checked_sub(early::APIS.len())?))
}

impl Api {
    pub(in crate::protocol::kafka) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Whether the description covers this version.
    pub(in crate::protocol::kafka) fn describes(&self, version: i16) -> bool {
        version <= self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_they_belong() {
        for (key, name) in [
            (PRODUCE, "Produce"),
            (FETCH, "Fetch"),
            (METADATA, "Metadata"),
            (OFFSET_COMMIT, "OffsetCommit"),
            (SASL_HANDSHAKE, "SaslHandshake"),
            (API_VERSIONS, "ApiVersions"),
            (22, "InitProducerId"),
            (36, "SaslAuthenticate"),
            (47, "OffsetDelete"),
            (60, "DescribeCluster"),
            (68, "ConsumerGroupHeartbeat"),
            (75, "DescribeTopicPartitions"),
            (SHARE_FETCH, "ShareFetch"),
            (92, "DeleteShareGroupOffsets"),
        ] {
            assert_eq!(find(key).map(|api| api.name), Some(name));
        }
        assert!(find(-1).is_none() && find(93).is_none());
    }
}
