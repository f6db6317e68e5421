// node ask.mjs CHROMIUM FOLDER WIDTH BATCH: as JSON to stdout, by the name of each runtime, `ids` and `probabilities` of
// the rows in FOLDER's rows.bin. FOLDER holds model.onnx, front-end.onnx and model.tflite; what runs them is installed
// in tests/js.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { withPage } from "../../tests/js/chromium.mjs";
import { byOnnxRuntime } from "./answers.mjs";

const [chromium, folder, ...sizes] = process.argv.slice(2);
const [width, batch] = sizes.map(Number);
const packages = join(import.meta.dirname, "../../tests/js");
const ort = createRequire(join(packages, "package.json"))("onnxruntime-node");
const rows = { bytes: new Uint8Array(readFileSync(join(folder, "rows.bin"))), width, batch };
const inNode = { "onnxruntime-node": await byOnnxRuntime(ort, (name) => join(folder, name), rows) };
const inChromium = await withPage(chromium, [folder, import.meta.dirname, packages], "page.html", async (page) => {
  await page.waitForFunction(() => window.ask);
  return page.evaluate((sizes) => window.ask(sizes), { width, batch });
});
console.log(JSON.stringify({ ...inNode, ...inChromium }));
