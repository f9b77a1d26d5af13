//! Conversations with APIs on top of HTTP, as the harness shows them, and what the refinements take from them.

use super::*;
use crate::protocol::Attributes;

fn end_of(content_type: &str, path: &str, body: &str) -> Option<End> {
    use crate::protocol::{Class, Ends, Pairing};
    let mut message = Message::new(Class::Request, Pairing::InOrder, Ends::Here);
    (message.operation, message.target) = ("POST".into(), path.into());
    let mut refiner = Refiner::of_request(&mut message, content_type.as_bytes())?;
    body.as_bytes()
        .chunks(7)
        .for_each(|part| _ = refiner.request_body(part));
    let mut end = End::default();
    refiner.request_end(&mut end);
    Some(end)
}

fn text(attributes: &Attributes, key: &str) -> Option<String> {
    attributes
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| match value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        })
}

#[test]
fn graphql_operations_are_named_and_their_documents_not_kept() {
    for (body, kind, name) in [
        (
            r#"{"query":"query Cart($id: ID!) { cart(id: $id) { total } }"}"#,
            "query",
            Some("Cart"),
        ),
        (
            r#"{"operationName":"Pay","query":"\n  mutation  Other { pay(card: \"4111\") { ok } }"}"#,
            "mutation",
            Some("Pay"),
        ),
        (r#"{ "query" : "{ me { name } }" }"#, "query", None),
    ] {
        let end = end_of("application/json; charset=utf-8", "/graphql", body).unwrap();
        assert_eq!(end.refined, Some(Protocol::GraphQl));
        assert_eq!(
            text(&end.attributes, "graphql.operation.type").as_deref(),
            Some(kind)
        );
        assert_eq!(text(&end.attributes, "graphql.operation.name").as_deref(), name);
        assert!(!format!("{end:?}").contains("4111"));
    }
    assert_eq!(
        end_of("application/json", "/graphql", r#"{"other":1}"#)
            .unwrap()
            .refined,
        None
    );
}

#[test]
fn json_rpc_calls_are_named() {
    let end = end_of(
        "application/json",
        "/rpc",
        r#"[{"jsonrpc": "2.0", "method": "eth_call", "params": ["secret"]}]"#,
    )
    .unwrap();
    assert_eq!(
        (end.refined, text(&end.attributes, "rpc.method").as_deref()),
        (Some(Protocol::JsonRpc), Some("eth_call"))
    );
    assert_eq!(
        end_of("application/json", "/rpc", r#"{"text":"\"jsonrpc\": \"2.0\""}"#)
            .unwrap()
            .refined,
        None
    );
    assert!(end_of("text/plain", "/rpc", "{}").is_none());
}

#[test]
fn llm_calls_tell_model_and_tokens_and_nothing_said() {
    let body = r#"{"model":"some-model-1","stream":true,"messages":[{"role":"user","content":"my secret \"prompt_tokens\": 1"}]}"#;
    let mut message = Message::new(
        crate::protocol::Class::Request,
        crate::protocol::Pairing::InOrder,
        crate::protocol::Ends::Here,
    );
    (message.operation, message.target) = ("POST".into(), "/v1/chat/completions".into());
    let mut refiner = Refiner::of_request(&mut message, b"application/json").unwrap();
    refiner.request_body(body.as_bytes());
    let (mut asked, mut answered) = (End::default(), End::default());
    refiner.request_end(&mut asked);
    assert_eq!(
        text(&asked.attributes, "gen_ai.request.model").as_deref(),
        Some("some-model-1")
    );
    assert!(refiner.response_head(b"text/event-stream"));
    assert!(!refiner.response_body(b": comment\n\n"));
    assert!(refiner.response_body(
        b"data: {\"model\":\"some-model-1-b\",\"choices\":[{\"delta\":{\"content\":\"hello secret\"}}]}\n\n"
    ));
    assert!(!refiner.response_body(b"data: {\"usage\":{\"prompt_tokens\":12,\"comple"));
    refiner.response_body(b"tion_tokens\": 345}}\n\ndata: [DONE]\n\n");
    refiner.response_end(&mut answered);
    assert_eq!(
        answered.attributes,
        [
            ("gen_ai.usage.input_tokens", Value::Int(12)),
            ("gen_ai.usage.output_tokens", Value::Int(345)),
            ("gen_ai.response.model", Value::Text("some-model-1-b".into())),
        ]
    );
    assert!(!format!("{asked:?}{answered:?}").contains("secret"));
}

#[test]
fn elasticsearch_is_told_by_its_paths() {
    for (path, found) in [
        ("/shop/_search", true),
        ("/_bulk", true),
        ("/_cluster/health", true),
        ("/shop/_doc/17", true),
        ("/users/_me", false),
        ("/search", false),
        ("/a/b/_search", false),
    ] {
        assert_eq!(elasticsearch::recognise("GET", path).is_some(), found, "{path}");
    }
}

#[test]
fn a_long_request_is_not_kept() {
    let mut message = Message::new(
        crate::protocol::Class::Request,
        crate::protocol::Pairing::InOrder,
        crate::protocol::Ends::Here,
    );
    (message.operation, message.target) = ("POST".into(), "/graphql".into());
    let mut refiner = Refiner::of_request(&mut message, b"application/json").unwrap();
    assert!(refiner.request_body(&[b' '; 100]));
    assert!(!refiner.request_body(&[b' '; 100_000]));
    assert_eq!(refiner.request.len(), PEEK_BYTES);
    for _ in 0..100 {
        refiner.response_body(&[b'x'; 10_000]);
    }
}
