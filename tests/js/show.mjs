// node show.mjs CHROMIUM FOLDER PAGE: to stdout, as JSON, the text that a page in FOLDER shows in Chromium, once it
// shows any, and the paths of all files it fetched.
import { withPage } from "./chromium.mjs";

const [chromium, folder, name] = process.argv.slice(2);
const shown = await withPage(chromium, [folder], name, async (page) => {
  await page.waitForFunction(() => document.body.innerText.trim());
  return page.evaluate(() => ({
    text: document.body.innerText,
    fetched: performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname),
  }));
});
console.log(JSON.stringify(shown));
