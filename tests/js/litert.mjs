// node litert.mjs CHROMIUM FOLDER PAGES: texts as JSON from stdin, to stdout, as JSON, LiteRT.js's `answers` in Chromium
// and what the page `shown` for the first text, typed in; or the `error` that the page shows when it is opened.
// FOLDER holds model.tflite and labels.json, PAGES the page index.html and its classify.js.
import { json } from "node:stream/consumers";
import { withPage } from "./chromium.mjs";

const [chromium, folder, pages] = process.argv.slice(2);
const texts = await json(process.stdin);
const result = await withPage(chromium, [folder, pages, import.meta.dirname], "index.html", async (page) => {
  const output = page.locator("output");
  await page.waitForFunction(() => document.querySelector("button:enabled") || document.querySelector("output").value);
  if (await output.innerText()) return { error: await output.innerText() };
  await page.locator("textarea").fill(texts[0]);
  await page.locator("button").click();
  await page.waitForFunction(() => document.querySelector("output").value);
  const shown = await output.innerText();
  return { shown, answers: await page.evaluate(answerAll, texts) };
});
console.log(JSON.stringify(result));

/** Runs in the page. */
async function answerAll(texts) {
  const { loadClassifier } = await import("./classify.js");
  const classify = await loadClassifier("model.tflite", "labels.json", "./node_modules/@litertjs/core/wasm/");
  const answers = [];
  for (const text of texts) answers.push(await classify(text));
  return answers;
}
