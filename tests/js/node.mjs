// node node.mjs MODEL: questions as JSON from stdin, onnxruntime-node's answers as JSON to stdout.
import * as ort from "onnxruntime-node";
import { json } from "node:stream/consumers";
import { answerAll } from "./answer.mjs";

const [model] = process.argv.slice(2);
console.log(JSON.stringify(await answerAll(ort, model, await json(process.stdin))));
