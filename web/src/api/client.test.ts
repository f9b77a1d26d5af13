import { describe, expect, test } from "vitest";
import { errorFromBody, requestPath } from "./client";

describe("client", () => {
  test("absent parameters are left out, zero is not absent", () => {
    expect(requestPath("map", { from_ms: 0, service: null, depth: undefined, name: "" })).toBe(
      "map?from_ms=0",
    );
    expect(requestPath("agents")).toBe("agents");
    expect(requestPath("scatter", { edge: "a->b", node: undefined })).toBe("scatter?edge=a-%3Eb");
  });

  test("the API's own words are kept", () => {
    const error = errorFromBody(400, '{"error":{"code":"bad_range","message":"from after to"}}');
    expect([error.code, error.message, error.status]).toEqual(["bad_range", "from after to", 400]);
  });

  test.each(["", "<html>", "null", "{}", '{"error":{"message":7}}'])("%s is not the API's error", (body) => {
    const error = errorFromBody(502, body);
    expect([error.code, error.status]).toEqual(["http", 502]);
    expect(error.message).toContain("502");
  });
});
