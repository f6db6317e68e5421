// A page of a real headless Chromium, and a server for it.
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** What `use` returns for the open page `name`; each file comes from the first of `folders` that has it. */
export async function withPage(executablePath, folders, name, use) {
  const server = createServer((request, response) => serve(folders, request, response));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  // Chromium's own sandbox does not start as root, as in a container; the page is ours.
  const browser = await chromium.launch({ executablePath, chromiumSandbox: false });
  try {
    const page = await browser.newPage();
    page.on("console", (message) => console.error(message.text(), message.location().url));
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`http://127.0.0.1:${server.address().port}/${name}`);
    return await use(page);
  } finally {
    await browser.close();
    server.close();
  }
}

/** The file of the URL's path. */
function serve(folders, request, response) {
  const { pathname } = new URL(request.url, "http://127.0.0.1"); // no longer holds ".."
  const file = folders.map((folder) => join(folder, pathname)).find(existsSync);
  response.writeHead(file ? 200 : 404, { "Content-Type": TYPES[extname(pathname)] ?? "application/octet-stream" });
  if (file) createReadStream(file).pipe(response);
  else response.end();
}
