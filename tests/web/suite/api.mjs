// Enters: the page's address and a path of the API. Leaves: the answer, asked for beside the page, to compare with what it shows.
import assert from "node:assert/strict";

export async function ask(base, path, params = {}) {
  const address = new URL(`api/v1/${path}`, base);
  for (const [name, value] of Object.entries(params)) if (value !== null && value !== undefined) address.searchParams.set(name, value);
  const response = await fetch(address);
  assert.equal(response.status, 200, `${address} answered ${response.status}`);
  return response.json();
}

const MINUTE_MS = 60_000;
/** What the agents still hold back. */
const LATE_MS = 5000;
let settled = null;

/**
 * A range of whole minutes that has ended, so that page and test are told the same however often they ask; with the map of it.
 * When the first requests are younger than the last whole minute, waits for that minute to end.
 */
export async function settledRange(base) {
  settled ??= findSettled(base);
  return settled;
}

async function findSettled(base) {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const now_ms = Date.now();
    const to_ms = Math.floor((now_ms - LATE_MS) / MINUTE_MS) * MINUTE_MS;
    for (const minutes of [5, 60, 2880]) {
      const range = { from_ms: to_ms - minutes * MINUTE_MS, to_ms };
      const map = await ask(base, "map", range);
      if (map.nodes.length > 0) return { range, map };
    }
    if (attempt === 0) await new Promise((resolve) => setTimeout(resolve, to_ms + MINUTE_MS + LATE_MS - now_ms + 500));
  }
  throw new Error("the collector has no requests of the last two days: the tests need some");
}

export function link(base, params) {
  const address = new URL(base);
  for (const [name, value] of Object.entries(params)) address.searchParams.set(name, value);
  return address.href;
}

/** The service with most requests whose scatter is not sampled, with what the API says about it. */
export async function busiestService(base) {
  const { range, map } = await settledRange(base);
  const services = map.nodes.filter((node) => node.kind === "service").sort((a, b) => b.summary.count - a.summary.count);
  for (const node of services) {
    const scatter = await ask(base, "scatter", { ...range, node: node.id });
    if (scatter.points.length > 2 && !scatter.sampled) return { range, map, node, scatter };
  }
  throw new Error("no service with three or more requests");
}

/** Digits of a shown count: `1,234` -> 1234. */
export function count(text) {
  return Number(text.replace(/[^\d]/g, ""));
}
