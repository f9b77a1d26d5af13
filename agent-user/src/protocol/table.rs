//! The one table of protocols. Its order never decides anything.

use super::{Opening, Parser, Settings, Verdict};

/// What kind of peer speaks a protocol: decides span attributes' family and the node's icon on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Http,
    Rpc,
    Database,
    Cache,
    Messaging,
    Name,
}

/// What one protocol brings to the table.
pub struct Definition {
    pub family: Family,
    /// OpenTelemetry's system name (`db.system.name`, `messaging.system`, `rpc.system.name`), empty for HTTP and DNS.
    pub system: &'static str,
    pub detect: fn(&Opening<'_>) -> Verdict,
    pub open: fn(&Settings) -> Box<dyn Parser>,
    /// How many bytes of each write its parser wants to see, from the first byte of the write on.
    pub capture_prefix_bytes: u32,
}

macro_rules! protocols {
    (
        connections { $($variant:ident = $name:literal, $definition:path;)* }
        refinements { $($refined:ident = $refined_name:literal, $family:expr, $system:literal;)* }
    ) => {
        /// Every protocol by name. Refinements are recognised inside another protocol's connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Protocol { $($variant,)* $($refined,)* }

        /// The protocols a connection can speak.
        pub static TABLE: &[(Protocol, &Definition)] = &[$((Protocol::$variant, &$definition),)*];

        impl Protocol {
            pub const ALL: &'static [Protocol] = &[$(Protocol::$variant,)* $(Protocol::$refined,)*];

            /// The name used on every surface: `replay`, the wire, the page.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* $(Self::$refined => $refined_name,)* }
            }

            /// `None` for a refinement: no connection is opened as one.
            pub fn definition(self) -> Option<&'static Definition> {
                TABLE.iter().find(|(protocol, _)| *protocol == self).map(|(_, definition)| *definition)
            }

            pub fn family(self) -> Family {
                match self { $(Self::$variant => $definition.family,)* $(Self::$refined => $family,)* }
            }

            pub fn system(self) -> &'static str {
                match self { $(Self::$variant => $definition.system,)* $(Self::$refined => $system,)* }
            }

            /// An API on top of HTTP rather than a protocol of its own.
            pub fn is_api(self) -> bool {
                matches!(self, Self::GraphQl | Self::JsonRpc | Self::Elasticsearch | Self::Llm)
            }

            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|protocol| protocol.name() == name)
            }
        }
    };
}

protocols! {
    connections {
        Dubbo = "dubbo", super::dubbo::DEFINITION;
        Thrift = "thrift", super::thrift::DEFINITION;
        Kafka = "kafka", super::kafka::DEFINITION;
        Amqp = "amqp", super::amqp::DEFINITION;
        Mqtt = "mqtt", super::mqtt::DEFINITION;
        Nats = "nats", super::nats::DEFINITION;
        Dns = "dns", super::dns::DEFINITION;
        Http = "http", super::http::DEFINITION;
        PostgreSql = "postgresql", super::postgresql::DEFINITION;
        Redis = "redis", super::redis::DEFINITION;
        MySql = "mysql", super::mysql::DEFINITION;
        Memcached = "memcached", super::memcached::DEFINITION;
        MongoDb = "mongodb", super::mongodb::DEFINITION;
        Cassandra = "cassandra", super::cassandra::DEFINITION;
        ClickHouse = "clickhouse", super::clickhouse::DEFINITION;
        Http2 = "http2", super::http2::DEFINITION;
        WebSocket = "websocket", super::websocket::DEFINITION;
        FastCgi = "fastcgi", super::fastcgi::DEFINITION;
    }
    refinements {
        Grpc = "grpc", Family::Rpc, "grpc";
        GraphQl = "graphql", Family::Rpc, "graphql";
        JsonRpc = "jsonrpc", Family::Rpc, "jsonrpc";
        Elasticsearch = "elasticsearch", Family::Database, "elasticsearch";
        Llm = "llm", Family::Http, "";
    }
}
