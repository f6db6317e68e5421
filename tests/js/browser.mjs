// node browser.mjs CHROMIUM FOLDER: questions as JSON from stdin, to stdout onnxruntime-web's answers, in Chromium, as
// JSON. FOLDER holds model.onnx.
import { json } from "node:stream/consumers";
import { withPage } from "./chromium.mjs";

const [chromium, folder] = process.argv.slice(2);
const questions = await json(process.stdin);
const answers = await withPage(chromium, [folder, import.meta.dirname], "page.html", (page) =>
  page.evaluate((questions) => window.answerAll(questions), questions),
);
console.log(JSON.stringify(answers));
