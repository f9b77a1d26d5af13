// Enters: nothing. Leaves: one headless Chromium with a profile of its own, and pages in it whose errors are kept.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const BROWSERS = [process.env.SPANHOUND_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Resolves to `open(options)` for pages and `close()`. */
export async function startBrowser() {
  const executablePath = BROWSERS.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error("no Chromium found: install it or set SPANHOUND_CHROMIUM to its path");
  const profile = await mkdtemp(join(tmpdir(), "spanhound-web-"));
  const contexts = [];
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--disk-cache-dir=${profile}`,
    ],
  });
  return {
    /** A fresh page at the address; `problems` fills with uncaught errors, refused resources and policy violations. */
    async open(url, { width = 1280, height = 800, colorScheme = "dark", touch = false } = {}) {
      const context = await browser.newContext({
        viewport: { width, height },
        colorScheme,
        hasTouch: touch,
        isMobile: touch,
        deviceScaleFactor: touch ? 2 : 1,
      });
      contexts.push(context);
      const page = await context.newPage();
      const problems = [];
      page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
      page.on("console", (message) => {
        // A failed request is the API's answer, which the error-state tests provoke on purpose.
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) problems.push(message.text());
      });
      page.problems = problems;
      await page.goto(url);
      return page;
    },
    async close() {
      for (const context of contexts) await context.close();
      await browser.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
