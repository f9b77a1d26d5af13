//! The shapes that several answers share: times, ids, the response summary, the error object.

use crate::store::summary::{Class, Summary};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn bad(code: &'static str, message: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            message: message.to_owned(),
        }
    }

    pub fn not_found(message: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.to_owned(),
        }
    }

    pub fn internal(message: &str) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: message.to_owned(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}

/// A response summary.
#[derive(Debug, Serialize)]
pub struct SummaryAnswer {
    count: u64,
    error_count: u64,
    fast: u64,
    normal: u64,
    slow: u64,
    very_slow: u64,
    error: u64,
    average_ms: f64,
    max_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

impl SummaryAnswer {
    pub fn new(summary: &Summary) -> Self {
        let class = |class: Class| summary.classes[class as usize];
        let quantile = |quantile| milliseconds(summary.quantile_ns(quantile));
        Self {
            count: summary.count(),
            error_count: summary.error_count(),
            fast: class(Class::Fast),
            normal: class(Class::Normal),
            slow: class(Class::Slow),
            very_slow: class(Class::VerySlow),
            error: class(Class::Error),
            average_ms: summary.average_ns() / 1e6,
            max_ms: milliseconds(summary.max_ns),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        }
    }
}

/// Nanoseconds as milliseconds with fraction.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// A Unix time in nanoseconds as milliseconds, exact to the microsecond.
pub fn unix_ms(unix_ns: u64) -> f64 {
    (unix_ns / 1_000) as f64 / 1e3
}

pub fn trace_id_text(id: u128) -> String {
    format!("{id:032x}")
}

pub fn span_id_text(id: u64) -> String {
    format!("{id:016x}")
}
