//! LLM APIs shaped like OpenAI's, Anthropic's, Gemini's or Ollama's: model and token counts (OpenTelemetry's `gen_ai.*`).
//! Prompts and answers are never kept.

use compact_str::CompactString;

use super::json::{self, Scanner};
use crate::protocol::{End, Protocol, Value};

/// `gen_ai.operation.name` by path.
pub(super) fn operation(path: &str) -> Option<&'static str> {
    const ENDINGS: [(&str, &str); 9] = [
        ("/chat/completions", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/responses", "chat"),
        ("/api/chat", "chat"),
        ("/v1/completions", "text_completion"),
        ("/api/generate", "text_completion"),
        (":generateContent", "generate_content"),
        (":streamGenerateContent", "generate_content"),
        ("/v1/embeddings", "embeddings"),
    ];
    ENDINGS
        .iter()
        .find(|(ending, _)| path.ends_with(ending))
        .map(|(_, name)| *name)
}

/// A request is one only with a model in its body, or for Gemini, which has it in the path.
pub(super) fn describe_request(operation: &'static str, body: &[u8], end: &mut End) {
    let model = json::text_of(body, "model", 96);
    if model.is_none() && operation != "generate_content" {
        return;
    }
    end.refined = Some(Protocol::Llm);
    end.attributes.push((
        "gen_ai.operation.name",
        Value::Text(CompactString::const_new(operation)),
    ));
    end.attributes
        .extend(model.map(|model| ("gen_ai.request.model", Value::Text(model))));
}

pub(super) fn describe_response(seen: &Scanner, end: &mut End) {
    let mut count = |name, tokens: Option<i64>| {
        end.attributes
            .extend(tokens.map(|tokens| (name, Value::Int(tokens))))
    };
    count("gen_ai.usage.input_tokens", seen.input_tokens);
    count("gen_ai.usage.output_tokens", seen.output_tokens);
    if let Some(model) = &seen.model {
        end.attributes
            .push(("gen_ai.response.model", Value::Text(model.clone())));
    }
}
