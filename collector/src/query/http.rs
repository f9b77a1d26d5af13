//! The JSON API's routes. Queries read files, so each runs on a thread that may block; a panic in one is an answer 500,
//! not the collector's end.

use super::answer::ApiError;
use super::parameters::Parameters;
use super::{agents, map, scatter, timeseries, trace, transactions};
use crate::store::Shared;
use axum::extract::{Path, Query, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Queries that run at the same time; others wait.
const MAX_RUNNING: usize = 8;

#[derive(Clone)]
struct Room {
    store: Arc<Shared>,
    running: Arc<Semaphore>,
}

/// The routes under `/api/v1` and `/healthz`.
pub fn routes(store: Arc<Shared>) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(serde_json::json!({"status": "ok"})) }),
        )
        .route(
            "/api/v1/services",
            get(|room, query| answer(room, query, map::services)),
        )
        .route("/api/v1/map", get(|room, query| answer(room, query, map::map)))
        .route(
            "/api/v1/timeseries",
            get(|room, query| answer(room, query, timeseries::timeseries)),
        )
        .route(
            "/api/v1/scatter",
            get(|room, query| answer(room, query, scatter::scatter)),
        )
        .route(
            "/api/v1/transactions",
            get(|room, query| answer(room, query, transactions::transactions)),
        )
        .route(
            "/api/v1/agents",
            get(|room, query| answer(room, query, |store, _| Ok(agents::agents(store)))),
        )
        .route(
            "/api/v1/traces/{trace_id}",
            get(|room, query, Path(id): Path<String>| {
                answer(room, query, move |store, _| trace::trace(store, &id))
            }),
        )
        .route(
            "/api/{*rest}",
            get(|| async { ApiError::not_found("there is no such endpoint") }),
        )
        .with_state(Room {
            store,
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
        })
}

async fn answer<A: Serialize + Send + 'static>(
    State(room): State<Room>,
    Query(parameters): Query<HashMap<String, String>>,
    query: impl FnOnce(&Shared, &Parameters) -> Result<A, ApiError> + Send + 'static,
) -> Response {
    let Ok(permit) = room.running.acquire_owned().await else {
        return ApiError::internal("the collector is stopping").into_response();
    };
    let answered = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let answer = query(&room.store, &Parameters(parameters))?;
        serde_json::to_vec(&answer).map_err(|error| ApiError::internal(&error.to_string()))
    });
    match answered.await {
        Ok(Ok(body)) => {
            let headers = [
                (axum::http::header::CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, body).into_response()
        }
        Ok(Err(error)) => error.into_response(),
        Err(error) => {
            tracing::error!(%error, "a query panicked");
            ApiError::internal("the query failed; the collector's log says why").into_response()
        }
    }
}
