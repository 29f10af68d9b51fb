// Ordinary clients in a page in Chromium, connect-web, grpc-web and @improbable-eng/grpc-web, that make the calls they
// are told: the same lines in and out as of ../node/clients.mjs.
//
// The page stands at the gateway's own origin, but none of its files come from there.

import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [httpsPort, httpPort, caFile, descriptorSet] = process.argv.slice(2);
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const packages = ['@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-web', 'grpc-web'];

/** What a bundler would resolve: each package's modules by the names that others import. */
function importMap() {
  const imports = {};
  for (const name of packages) {
    const { exports, module } = JSON.parse(readFileSync(new URL(`../node/node_modules/${name}/package.json`, import.meta.url)));
    for (const [path, target] of Object.entries(exports ?? { '.': { import: `./${module}` } })) {
      const file = target.import?.default ?? target.import;
      if (file) imports[name + path.slice(1)] = `./node_modules/${name}/${file.slice(2)}`;
    }
  }
  return JSON.stringify({ imports });
}

const index = `<!doctype html><title>clients</title><script type="importmap">${importMap()}</script>
<script src="node_modules/@improbable-eng/grpc-web/dist/grpc-web-client.umd.js"></script>
<script type="module" src="main.mjs"></script>`;

/** The file that the page asks for. */
function file(name) {
  if (name === '') return { body: index, contentType: 'text/html' };
  if (name === 'descriptors') return { path: descriptorSet };
  const own = ['main.mjs', 'grpc_web.mjs', 'improbable.mjs'].includes(name);
  return { path: new URL(own ? `page/${name}` : `../node/${name}`, import.meta.url).pathname, contentType: 'text/javascript' };
}

async function open(browser, origin) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(error));
  page.on('console', (message) => console.error(message.text()));
  await page.route(`${origin}/page/**`, (route) => route.fulfill(file(route.request().url().slice(`${origin}/page/`.length))));
  await page.goto(`${origin}/page/`);
  await page.waitForFunction(() => globalThis.make);
  return page;
}

const { publicKey } = new X509Certificate(readFileSync(caFile));
const trusted = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // Without the sandbox it runs as root too; the local network checks would refuse calls to the loopback address. The
  // certificate is trusted by its key: this one, and no other.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-features=LocalNetworkAccessChecks',
    `--ignore-certificate-errors-spki-list=${trusted}`],
});
try {
  const https = await open(browser, `https://127.0.0.1:${httpsPort}`);
  const http = await open(browser, `http://127.0.0.1:${httpPort}`);
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const call = JSON.parse(line.value);
    const page = call.client.includes(' http') ? http : https;
    const made = page.evaluate((told) => globalThis.make(told), call);
    const allowed = call.cancelAfter === undefined ? undefined : lines.next();
    allowed?.then(() => page.evaluate(() => globalThis.allow()));
    console.log(JSON.stringify({ id: call.id, ...await made }));
    await allowed;
  }
} finally {
  await browser.close();
}
