//! API keys 0 to 23: data, metadata, groups, topics.

use super::super::walk::Field::{
    Acks, Array, Bytes, Error, First, I8, I16, I32, I64, Numbers, Partition, Records, Text, Texts, TopicId,
};
use super::super::walk::Role::{Group, Name, Other, Topic};
use super::super::walk::{always, between, since, until};
use super::{Api, ERROR_FIRST, NAME_FIRST, NEVER, NOTHING, THROTTLED_ERROR, THROTTLED_ERROR_SINCE_1, api};

/// In the order of their keys.
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
            between(8, 10, I32),
            since(13, Error),
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
];
