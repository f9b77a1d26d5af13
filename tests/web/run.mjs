// Enters: SPANHOUND_PAGE_URL, the address of a collector that has requests to show; without it, a mock of the API with a
// made-up shop. Leaves: one line a test, then "N passed, N failed"; exit status 1 when any failed.
// SPANHOUND_WEB_SHOTS=DIRECTORY keeps a picture of every test's end.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startBrowser } from "./browser.mjs";
import { serve } from "./mock/serve.mjs";
import { keyboardTests } from "./suite/keyboard.mjs";
import { stateTests } from "./suite/states.mjs";
import { walkTests } from "./suite/walk.mjs";

const given = process.env.SPANHOUND_PAGE_URL;
const mock = given === undefined ? await serve() : null;
const base = (given ?? mock.url).replace(/\/?$/, "/");
const shots = process.env.SPANHOUND_WEB_SHOTS;
if (shots !== undefined) await mkdir(shots, { recursive: true });

const browser = await startBrowser();
let passed = 0;
let failed = 0;
for (const [name, options, body] of [...walkTests, ...keyboardTests, ...stateTests]) {
  let page = null;
  try {
    page = await browser.open("about:blank", options);
    page.setDefaultTimeout(15_000);
    await body(page, base);
    if (page.problems.length > 0) throw new Error(`the browser complained: ${page.problems.join("; ")}`);
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n        ${String(error.stack ?? error).replaceAll("\n", "\n        ")}`);
  }
  if (shots !== undefined) await page?.screenshot({ path: join(shots, `${name.replace(/\W+/g, "-")}.png`) }).catch(() => {});
  await page?.context().close();
}
await browser.close();
await mock?.stop();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
