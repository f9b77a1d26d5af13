//! Kafka's requests and responses, as far as they name or judge something (the message definitions in Kafka's source,
//! `clients/src/main/resources/common/message`).

use super::walk::Field::{
    Acks, Array, Bytes, Error, First, I8, I16, I32, I64, Numbers, Partition, Records, Text, Texts, TopicId,
};
use super::walk::Role::{Group, Name, Other, Topic};
use super::walk::{Item, always, between, since, until};

pub(super) const PRODUCE: i16 = 0;
pub(super) const FETCH: i16 = 1;
pub(super) const METADATA: i16 = 3;
pub(super) const OFFSET_COMMIT: i16 = 8;
pub(super) const SASL_HANDSHAKE: i16 = 17;
pub(super) const API_VERSIONS: i16 = 18;
pub(super) const SHARE_FETCH: i16 = 78;

/// One kind of request.
pub(super) struct Api {
    pub(super) name: &'static str,
    /// The highest version described here.
    pub(super) newest: i16,
    /// From this version on lengths are variable and there are tagged fields; beyond `newest` where never.
    pub(super) flexible: i16,
    pub(super) request: &'static [Item],
    pub(super) response: &'static [Item],
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

/// By API key; `None` for keys that no broker answers clients with.
pub(super) static APIS: &[Api] = &[
    api(
        "Produce",
        13,
        9,
        &[
            since(3, Text(Name)),
            always(Acks),
            always(I32),
            always(Array(&[
                until(12, Text(Topic)),
                since(13, TopicId),
                always(Array(&[always(Partition), always(Records)])),
            ])),
        ],
        &[
            always(Array(&[
                until(12, Text(Topic)),
                since(13, TopicId),
                always(Array(&[
                    always(Partition),
                    always(Error),
                    always(I64),
                    since(2, I64),
                    since(5, I64),
                    since(8, Array(&[always(I32), always(Text(Other))])),
                    since(8, Text(Other)),
                ])),
            ])),
            since(1, I32),
        ],
    ),
    api(
        "Fetch",
        18,
        12,
        &[
            until(14, I32),
            always(I32),
            always(I32),
            since(3, I32),
            since(4, I8),
            since(7, I32),
            since(7, I32),
            always(Array(&[
                until(12, Text(Topic)),
                since(13, TopicId),
                always(Array(&[
                    always(Partition),
                    since(9, I32),
                    always(I64),
                    since(12, I32),
                    since(5, I64),
                    always(I32),
                ])),
            ])),
            since(
                7,
                Array(&[
                    until(12, Text(Other)),
                    since(13, I64),
                    since(13, I64),
                    always(Numbers),
                ]),
            ),
            since(11, Text(Other)),
        ],
        &[
            since(1, I32),
            since(7, Error),
            since(7, I32),
            always(Array(&[
                until(12, Text(Topic)),
                since(13, TopicId),
                always(Array(&[
                    always(Partition),
                    always(Error),
                    always(I64),
                    since(4, I64),
                    since(5, I64),
                    since(4, Array(&[always(I64), always(I64)])),
                    since(11, I32),
                    always(Records),
                ])),
            ])),
        ],
    ),
    api(
        "ListOffsets",
        11,
        6,
        &[
            always(I32),
            since(2, I8),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[
                    always(Partition),
                    since(4, I32),
                    always(I64),
                    until(0, I32),
                ])),
            ])),
            since(10, I32),
        ],
        &[
            since(2, I32),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[
                    always(Partition),
                    always(Error),
                    between(0, 0, Array(&[always(I64)])),
                    since(1, I64),
                    since(1, I64),
                    since(4, I32),
                ])),
            ])),
        ],
    ),
    api(
        "Metadata",
        13,
        9,
        &[
            always(Array(&[since(10, I64), since(10, I64), always(Text(Topic))])),
            since(4, I8),
            between(8, 10, I8),
            since(8, I8),
        ],
        &[
            since(3, I32),
            always(Array(&[
                always(I32),
                always(Text(Other)),
                always(I32),
                since(1, Text(Other)),
            ])),
            since(2, Text(Other)),
            since(1, I32),
            always(Array(&[
                always(Error),
                always(Text(Topic)),
                since(10, TopicId),
                since(1, I8),
                // A partition's error tells of a replica that is away.
                always(Array(&[
                    always(I16),
                    always(I32),
                    always(I32),
                    since(7, I32),
                    always(Numbers),
                    always(Numbers),
                    since(5, Numbers),
                ])),
                since(8, I32),
            ])),
        ],
    ),
    api("LeaderAndIsr", 7, 4, NOTHING, NOTHING),
    api("StopReplica", 4, 2, NOTHING, NOTHING),
    api("UpdateMetadata", 8, 6, NOTHING, NOTHING),
    api("ControlledShutdown", 3, 3, NOTHING, ERROR_FIRST),
    api(
        "OffsetCommit",
        10,
        8,
        &[
            always(Text(Group)),
            since(1, I32),
            since(1, Text(Other)),
            since(7, Text(Other)),
            between(2, 4, I64),
            always(Array(&[
                until(9, Text(Topic)),
                since(10, TopicId),
                always(Array(&[
                    always(Partition),
                    always(I64),
                    between(1, 1, I64),
                    since(6, I32),
                    always(Text(Other)),
                ])),
            ])),
        ],
        &[
            since(3, I32),
            always(Array(&[
                until(9, Text(Topic)),
                since(10, TopicId),
                always(Array(&[always(Partition), always(Error)])),
            ])),
        ],
    ),
    api(
        "OffsetFetch",
        10,
        6,
        &[
            until(7, Text(Group)),
            until(7, Array(&[always(Text(Topic)), always(Numbers)])),
            since(
                8,
                Array(&[
                    always(Text(Group)),
                    since(9, Text(Other)),
                    since(9, I32),
                    always(Array(&[
                        until(9, Text(Topic)),
                        since(10, TopicId),
                        always(Numbers),
                    ])),
                ]),
            ),
            since(7, I8),
        ],
        &[
            since(3, I32),
            until(
                7,
                Array(&[
                    always(Text(Topic)),
                    always(Array(&[
                        always(Partition),
                        always(I64),
                        since(5, I32),
                        always(Text(Other)),
                        always(Error),
                    ])),
                ]),
            ),
            between(2, 7, Error),
            since(
                8,
                Array(&[
                    always(Text(Group)),
                    always(Array(&[
                        until(9, Text(Topic)),
                        since(10, TopicId),
                        always(Array(&[
                            always(Partition),
                            always(I64),
                            always(I32),
                            always(Text(Other)),
                            always(Error),
                        ])),
                    ])),
                    always(Error),
                ]),
            ),
        ],
    ),
    api(
        "FindCoordinator",
        6,
        3,
        &[until(3, Text(Name)), since(1, I8), since(4, Texts(Name))],
        &[
            since(1, I32),
            until(3, Error),
            between(1, 3, Text(Other)),
            until(3, I32),
            until(3, Text(Other)),
            until(3, I32),
            since(
                4,
                Array(&[
                    always(Text(Name)),
                    always(I32),
                    always(Text(Other)),
                    always(I32),
                    always(Error),
                    always(Text(Other)),
                ]),
            ),
        ],
    ),
    api(
        "JoinGroup",
        9,
        6,
        &[
            always(Text(Group)),
            always(I32),
            since(1, I32),
            always(Text(Other)),
            since(5, Text(Other)),
            always(Text(Other)),
            always(Array(&[always(Text(Other)), always(Bytes)])),
            since(8, Text(Other)),
        ],
        &[since(2, I32), always(Error)],
    ),
    api(
        "Heartbeat",
        4,
        4,
        &[
            always(Text(Group)),
            always(I32),
            always(Text(Other)),
            since(3, Text(Other)),
        ],
        THROTTLED_ERROR_SINCE_1,
    ),
    api(
        "LeaveGroup",
        5,
        4,
        &[
            always(Text(Group)),
            until(2, Text(Other)),
            since(
                3,
                Array(&[always(Text(Other)), always(Text(Other)), since(5, Text(Other))]),
            ),
        ],
        THROTTLED_ERROR_SINCE_1,
    ),
    api(
        "SyncGroup",
        5,
        4,
        &[
            always(Text(Group)),
            always(I32),
            always(Text(Other)),
            since(3, Text(Other)),
            since(5, Text(Other)),
            since(5, Text(Other)),
            always(Array(&[always(Text(Other)), always(Bytes)])),
        ],
        THROTTLED_ERROR_SINCE_1,
    ),
    api(
        "DescribeGroups",
        6,
        5,
        &[always(Texts(Group)), since(3, I8)],
        &[since(1, I32), always(First(&[always(Error)]))],
    ),
    api(
        "ListGroups",
        5,
        3,
        &[since(4, Texts(Other)), since(5, Texts(Other))],
        THROTTLED_ERROR_SINCE_1,
    ),
    api(
        "SaslHandshake",
        1,
        NEVER,
        NAME_FIRST,
        &[always(Error), always(Texts(Other))],
    ),
    api(
        "ApiVersions",
        4,
        3,
        &[since(3, Text(Other)), since(3, Text(Other))],
        ERROR_FIRST,
    ),
    api(
        "CreateTopics",
        7,
        5,
        &[
            always(Array(&[
                always(Text(Topic)),
                always(I32),
                always(I16),
                always(Array(&[always(I32), always(Numbers)])),
                always(Array(&[always(Text(Other)), always(Text(Other))])),
            ])),
            always(I32),
            since(1, I8),
        ],
        &[
            since(2, I32),
            always(Array(&[
                always(Text(Topic)),
                since(7, I64),
                since(7, I64),
                always(Error),
                since(1, Text(Other)),
                since(5, I32),
                since(5, I16),
                since(
                    5,
                    Array(&[
                        always(Text(Other)),
                        always(Text(Other)),
                        always(I8),
                        always(I8),
                        always(I8),
                    ]),
                ),
            ])),
        ],
    ),
    api(
        "DeleteTopics",
        6,
        4,
        &[
            until(5, Texts(Topic)),
            since(6, Array(&[always(Text(Topic)), always(I64), always(I64)])),
            always(I32),
        ],
        &[
            since(1, I32),
            always(Array(&[
                always(Text(Topic)),
                since(6, I64),
                since(6, I64),
                always(Error),
                since(5, Text(Other)),
            ])),
        ],
    ),
    api(
        "DeleteRecords",
        2,
        2,
        &[
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[always(Partition), always(I64)])),
            ])),
            always(I32),
        ],
        &[
            always(I32),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[always(Partition), always(I64), always(Error)])),
            ])),
        ],
    ),
    api(
        "InitProducerId",
        5,
        2,
        &[always(Text(Name)), always(I32), since(3, I64), since(3, I16)],
        THROTTLED_ERROR,
    ),
    api(
        "OffsetForLeaderEpoch",
        4,
        4,
        &[since(3, I32), always(First(&[always(Text(Topic))]))],
        &[
            since(2, I32),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[
                    always(Error),
                    always(Partition),
                    since(1, I32),
                    always(I64),
                ])),
            ])),
        ],
    ),
    api(
        "AddPartitionsToTxn",
        5,
        3,
        &[
            until(3, Text(Name)),
            until(3, I64),
            until(3, I16),
            until(3, Array(&[always(Text(Topic)), always(Numbers)])),
        ],
        &[
            always(I32),
            since(4, Error),
            until(
                3,
                Array(&[
                    always(Text(Topic)),
                    always(Array(&[always(Partition), always(Error)])),
                ]),
            ),
        ],
    ),
    api(
        "AddOffsetsToTxn",
        4,
        3,
        &[always(Text(Name)), always(I64), always(I16), always(Text(Group))],
        THROTTLED_ERROR,
    ),
    api(
        "EndTxn",
        5,
        3,
        &[always(Text(Name)), always(I64), always(I16), always(I8)],
        THROTTLED_ERROR,
    ),
    api("WriteTxnMarkers", 2, 1, NOTHING, NOTHING),
    api(
        "TxnOffsetCommit",
        5,
        3,
        &[
            always(Text(Name)),
            always(Text(Group)),
            always(I64),
            always(I16),
            since(3, I32),
            since(3, Text(Other)),
            since(3, Text(Other)),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[
                    always(Partition),
                    always(I64),
                    since(2, I32),
                    always(Text(Other)),
                ])),
            ])),
        ],
        &[
            always(I32),
            always(Array(&[
                always(Text(Topic)),
                always(Array(&[always(Partition), always(Error)])),
            ])),
        ],
    ),
    api("DescribeAcls", 3, 2, NOTHING, THROTTLED_ERROR),
    api(
        "CreateAcls",
        3,
        2,
        NOTHING,
        &[always(I32), always(Array(&[always(Error), always(Text(Other))]))],
    ),
    api("DeleteAcls", 3, 2, NOTHING, NOTHING),
    api(
        "DescribeConfigs",
        4,
        4,
        NOTHING,
        &[always(I32), always(First(&[always(Error)]))],
    ),
    api(
        "AlterConfigs",
        2,
        2,
        NOTHING,
        &[
            always(I32),
            always(Array(&[
                always(Error),
                always(Text(Other)),
                always(I8),
                always(Text(Other)),
            ])),
        ],
    ),
    api("AlterReplicaLogDirs", 2, 2, NOTHING, NOTHING),
    api("DescribeLogDirs", 5, 2, NOTHING, NOTHING),
    api("SaslAuthenticate", 2, 2, &[always(Bytes)], ERROR_FIRST),
    api(
        "CreatePartitions",
        3,
        2,
        &[always(First(&[always(Text(Topic))]))],
        &[
            always(I32),
            always(Array(&[always(Text(Topic)), always(Error), always(Text(Other))])),
        ],
    ),
    api("CreateDelegationToken", 3, 2, NOTHING, ERROR_FIRST),
    api("RenewDelegationToken", 2, 2, NOTHING, ERROR_FIRST),
    api("ExpireDelegationToken", 2, 2, NOTHING, ERROR_FIRST),
    api("DescribeDelegationToken", 3, 2, NOTHING, ERROR_FIRST),
    api(
        "DeleteGroups",
        2,
        2,
        &[always(Texts(Group))],
        &[always(I32), always(Array(&[always(Text(Group)), always(Error)]))],
    ),
    api("ElectLeaders", 2, 2, NOTHING, &[always(I32), since(1, Error)]),
    api(
        "IncrementalAlterConfigs",
        1,
        1,
        NOTHING,
        &[always(I32), always(First(&[always(Error)]))],
    ),
    api("AlterPartitionReassignments", 1, 0, NOTHING, NOTHING),
    api("ListPartitionReassignments", 0, 0, NOTHING, THROTTLED_ERROR),
    api("OffsetDelete", 0, NEVER, GROUP_FIRST, &[always(Error)]),
    api("DescribeClientQuotas", 1, 1, NOTHING, THROTTLED_ERROR),
    api("AlterClientQuotas", 1, 1, NOTHING, NOTHING),
    api("DescribeUserScramCredentials", 0, 0, NOTHING, THROTTLED_ERROR),
    api("AlterUserScramCredentials", 0, 0, NOTHING, NOTHING),
    api("Vote", 2, 0, NOTHING, ERROR_FIRST),
    api("BeginQuorumEpoch", 1, 1, NOTHING, ERROR_FIRST),
    api("EndQuorumEpoch", 1, 1, NOTHING, ERROR_FIRST),
    api("DescribeQuorum", 2, 0, NOTHING, ERROR_FIRST),
    api("AlterPartition", 3, 0, NOTHING, THROTTLED_ERROR),
    api("UpdateFeatures", 2, 0, NOTHING, THROTTLED_ERROR),
    api("Envelope", 0, 0, NOTHING, NOTHING),
    api("FetchSnapshot", 1, 0, NOTHING, THROTTLED_ERROR),
    api("DescribeCluster", 2, 0, NOTHING, THROTTLED_ERROR),
    api("DescribeProducers", 0, 0, NOTHING, NOTHING),
    api("BrokerRegistration", 4, 0, NOTHING, THROTTLED_ERROR),
    api("BrokerHeartbeat", 1, 0, NOTHING, THROTTLED_ERROR),
    api("UnregisterBroker", 0, 0, NOTHING, THROTTLED_ERROR),
    api("DescribeTransactions", 0, 0, NOTHING, NOTHING),
    api("ListTransactions", 1, 0, NOTHING, THROTTLED_ERROR),
    api("AllocateProducerIds", 0, 0, NOTHING, THROTTLED_ERROR),
    api("ConsumerGroupHeartbeat", 1, 0, GROUP_FIRST, THROTTLED_ERROR),
    api(
        "ConsumerGroupDescribe",
        1,
        0,
        &[always(Texts(Group))],
        &[always(I32), always(First(&[always(Error)]))],
    ),
    api("ControllerRegistration", 0, 0, NOTHING, THROTTLED_ERROR),
    api("GetTelemetrySubscriptions", 0, 0, NOTHING, THROTTLED_ERROR),
    api("PushTelemetry", 0, 0, NOTHING, THROTTLED_ERROR),
    api("AssignReplicasToDirs", 0, 0, NOTHING, THROTTLED_ERROR),
    api("ListConfigResources", 1, 0, NOTHING, THROTTLED_ERROR),
    api(
        "DescribeTopicPartitions",
        0,
        0,
        &[always(Array(&[always(Text(Topic))]))],
        &[always(I32), always(First(&[always(Error), always(Text(Topic))]))],
    ),
    api("ShareGroupHeartbeat", 1, 0, GROUP_FIRST, THROTTLED_ERROR),
    api(
        "ShareGroupDescribe",
        1,
        0,
        &[always(Texts(Group))],
        &[always(I32), always(First(&[always(Error)]))],
    ),
    api("ShareFetch", 2, 0, GROUP_FIRST, THROTTLED_ERROR),
    api("ShareAcknowledge", 2, 0, GROUP_FIRST, THROTTLED_ERROR),
    api("AddRaftVoter", 1, 0, NOTHING, THROTTLED_ERROR),
    api("RemoveRaftVoter", 0, 0, NOTHING, THROTTLED_ERROR),
    api("UpdateRaftVoter", 0, 0, NOTHING, THROTTLED_ERROR),
    api("InitializeShareGroupState", 0, 0, GROUP_FIRST, NOTHING),
    api("ReadShareGroupState", 0, 0, GROUP_FIRST, NOTHING),
    api("WriteShareGroupState", 1, 0, GROUP_FIRST, NOTHING),
    api("DeleteShareGroupState", 0, 0, GROUP_FIRST, NOTHING),
    api("ReadShareGroupStateSummary", 1, 0, GROUP_FIRST, NOTHING),
    api("StreamsGroupHeartbeat", 0, 0, GROUP_FIRST, THROTTLED_ERROR),
    api(
        "StreamsGroupDescribe",
        0,
        0,
        &[always(Texts(Group))],
        &[always(I32), always(First(&[always(Error)]))],
    ),
    api("DescribeShareGroupOffsets", 1, 0, NOTHING, NOTHING),
    api("AlterShareGroupOffsets", 0, 0, GROUP_FIRST, THROTTLED_ERROR),
    api("DeleteShareGroupOffsets", 0, 0, GROUP_FIRST, THROTTLED_ERROR),
];

pub(super) fn find(key: i16) -> Option<&'static Api> {
    APIS.get(usize::try_from(key).ok()?)
}

impl Api {
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Whether the description covers this version.
    pub(super) fn describes(&self, version: i16) -> bool {
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
