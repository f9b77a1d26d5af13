import { describe, expect, test } from "vitest";
import type { Service } from "../api/types";
import { matchingServices } from "./service-picker";
import { traceIdIn } from "./trace-search";

const named = (name: string): Service => ({
  id: `service:${name}`,
  name,
  kind: "service",
  family: "",
  instances: 1,
  count: 1,
  error_count: 0,
});

test("all words must match; names that start with the first come first", () => {
  const services = ["web-shop", "shop-web", "shop-orders", "mail"].map(named);
  const found = (typed: string) => matchingServices(services, typed).map((service) => service.name);
  expect(found("shop")).toEqual(["shop-orders", "shop-web", "web-shop"]);
  expect(found("WEB shop")).toEqual(["web-shop", "shop-web"]);
  expect(found("")).toEqual(["mail", "shop-orders", "shop-web", "web-shop"]);
  expect(found("none")).toEqual([]);
});

describe("a trace id is found in what was pasted", () => {
  const id = "0af7651916cd43dd8448eb211c80319c";
  test.each([
    id,
    ` ${id.toUpperCase()}\n`,
    `00-${id}-b7ad6b7169203331-01`,
    `https://host/?trace=${id}&span=1`,
  ])("%s", (text) => expect(traceIdIn(text)).toBe(id));
  test.each(["", "abc", `${id}0`, id.slice(1)])("not in %s", (text) => expect(traceIdIn(text)).toBeNull());
});
