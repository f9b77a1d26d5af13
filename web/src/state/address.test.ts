import { describe, expect, test } from "vitest";
import {
  type Address,
  nodeOfService,
  readAddress,
  refreshEvery_ms,
  resolveRange,
  START,
  serviceName,
  serviceOfNode,
  writeAddress,
} from "./address";

describe("address", () => {
  test("an empty one is the start: the last five minutes, live", () => {
    expect(readAddress("")).toEqual(START);
    expect(START.range).toEqual({ kind: "last", key: "5m", live: true });
  });

  test("everything written is read back", () => {
    const full: Address = {
      view: "transactions",
      range: { kind: "custom", from_ms: 1000, to_ms: 2000 },
      service: "shop web",
      node: null,
      edge: "service:shop-web->database:postgresql@10.0.0.5:5432",
      mapAs: "table",
      selection: { from_ms: 1100, to_ms: 1200, min_duration_ms: 0.5, max_duration_ms: null, status: "error" },
      name: "GET /a&b=c",
      sort: "duration",
      order: "asc",
      trace: "0af7651916cd43dd8448eb211c80319c",
      span: "b7ad6b7169203331",
      tab: "timeline",
    };
    expect(readAddress(writeAddress(full))).toEqual(full);
    const live: Address = { ...START, range: { kind: "last", key: "2d", live: true }, node: "service:a" };
    expect(readAddress(writeAddress(live))).toEqual(live);
    const still: Address = { ...START, range: { kind: "last", key: "5m", live: false } };
    expect(readAddress(writeAddress(still))).toEqual(still);
  });

  test("what cannot be read falls back instead of breaking the page", () => {
    const broken = readAddress(
      "?view=nope&range=9y&from=5&to=1&trace=xyz&sort=name&select=1,2&tab=&order=up",
    );
    expect(broken).toEqual(START);
    expect(readAddress("?from=a&to=b&range=1h").range).toEqual({ kind: "last", key: "1h", live: false });
  });

  test("a node and an edge at once: the edge", () => {
    const address = readAddress("?node=service:a&edge=a->b");
    expect([address.node, address.edge]).toEqual([null, "a->b"]);
  });

  test("ranges end now, or where they were set", () => {
    expect(resolveRange({ kind: "last", key: "1h", live: false }, 10_000_000)).toEqual({
      from_ms: 6_400_000,
      to_ms: 10_000_000,
    });
    expect(resolveRange({ kind: "custom", from_ms: 1, to_ms: 2 }, 99)).toEqual({ from_ms: 1, to_ms: 2 });
  });

  test("a picked service is a bare name, anything else that is watched its node's id", () => {
    for (const id of ["service:shop-web", "database:postgresql@10.0.0.5:5432", "service:a:b"]) {
      expect(nodeOfService(serviceOfNode(id))).toBe(id);
    }
    expect(serviceOfNode("service:shop-web")).toBe("shop-web");
    expect(serviceName("database:postgresql@10.0.0.5:5432")).toBe("postgresql@10.0.0.5:5432");
  });

  test("only a live range asks again, a longer one less often", () => {
    expect(refreshEvery_ms({ kind: "last", key: "5m", live: false })).toBeNull();
    expect(refreshEvery_ms({ kind: "custom", from_ms: 1, to_ms: 2 })).toBeNull();
    const every = (["5m", "20m", "3h", "2d"] as const).map((key) =>
      refreshEvery_ms({ kind: "last", key, live: true }),
    );
    expect(every).toEqual([5000, 10_000, 30_000, 60_000]);
  });
});
