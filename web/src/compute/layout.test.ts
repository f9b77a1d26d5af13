import { describe, expect, test } from "vitest";
import { layOut, layoutKey, neighbour, RING_RADIUS, type Shape, strokeWidth } from "./layout";

const edge = (source: string, target: string) => ({ id: `${source}->${target}`, source, target });
const shop: Shape = {
  nodes: ["user", "edge", "web", "db", "cache", "orders"].map((id) => ({ id })),
  edges: [
    edge("user", "edge"),
    edge("edge", "web"),
    edge("web", "db"),
    edge("web", "cache"),
    edge("web", "orders"),
    edge("orders", "db"),
  ],
};

describe("layout", () => {
  test("every call goes from left to right", () => {
    const { nodes } = layOut(shop);
    for (const { source, target } of shop.edges) {
      expect(nodes.get(source)?.x).toBeLessThan(nodes.get(target)?.x ?? 0);
    }
  });

  test("no two rings touch and all lies inside the drawing", () => {
    const { nodes, width, height } = layOut(shop);
    const places = [...nodes.values()];
    places.forEach((a, index) => {
      expect(a.x).toBeGreaterThan(0);
      expect(a.x).toBeLessThan(width);
      expect(a.y).toBeLessThan(height);
      for (const b of places.slice(index + 1)) {
        expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(3 * RING_RADIUS);
      }
    });
  });

  test("the order of the answer moves nothing", () => {
    const turned = { nodes: [...shop.nodes].reverse(), edges: [...shop.edges].reverse() };
    expect(layoutKey(turned)).toBe(layoutKey(shop));
    expect([...layOut(turned).nodes].sort()).toEqual([...layOut(shop).nodes].sort());
  });

  test("cycles, calls to oneself and edges to unknown nodes are laid out or left out, never an error", () => {
    const odd: Shape = {
      nodes: [{ id: "a" }, { id: "b" }],
      edges: [edge("a", "b"), edge("b", "a"), edge("a", "a"), edge("a", "gone")],
    };
    const { edges } = layOut(odd);
    expect([...edges.keys()].sort()).toEqual(["a->a", "a->b", "b->a"]);
    for (const { path } of edges.values()) expect(path).toMatch(/^M[-\d.]/);
    for (const { path } of edges.values()) expect(path).not.toContain("NaN");
    expect(layOut({ nodes: [], edges: [] }).nodes.size).toBe(0);
  });

  test("more traffic is never thinner", () => {
    const widths = [0, 1, 10, 100, 1000].map((count) => strokeWidth(count, 1000));
    expect([...widths].sort((a, b) => a - b)).toEqual(widths);
    expect(widths.at(-1)).toBe(5);
    expect(strokeWidth(0, 0)).toBe(1.25);
  });

  test("arrow keys lead to the nearest node that way, and nowhere past the last", () => {
    const nodes = new Map([
      ["a", { x: 0, y: 0 }],
      ["b", { x: 100, y: 10 }],
      ["c", { x: 90, y: 200 }],
    ]);
    expect(neighbour(nodes, "a", "right")).toBe("b");
    expect(neighbour(nodes, "b", "left")).toBe("a");
    expect(neighbour(nodes, "b", "down")).toBe("c");
    expect(neighbour(nodes, "b", "right")).toBeNull();
    expect(neighbour(nodes, "gone", "right")).toBeNull();
  });
});
