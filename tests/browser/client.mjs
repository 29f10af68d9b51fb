// Drives the example page of @tidegate/client in a real Chromium: calls of each kind, and a gateway that is restarted.
//
//     BASE_URL=http://127.0.0.1:8080/ node client.mjs TRANSPORT
//
// Prints `RESTART` when the gateway is to be restarted; a line on standard input says that it is there again. Last: `PASS`.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium' } = process.env;
const [transport] = process.argv.slice(2);
const faults = [];

async function open(context) {
  const page = await context.newPage();
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(`${BASE_URL}?transport=${transport}`);
  await page.waitForSelector('#state[data-state=open]');
  await page.waitForSelector('[data-post="1"]');
  return page;
}

const likes = async (page) => Number(await page.textContent('[data-post="1"] span'));

/** A like in one tab is seen in the other. */
async function likeIsSeen(here, there) {
  const before = await likes(there);
  await here.click('[data-post="1"] button');
  await there.waitForFunction((count) => document.querySelector('[data-post="1"] span').textContent === count, String(before + 1));
}

async function isHeard(here, there, text) {
  await here.fill('#text', text);
  await here.click('#say button');
  await there.waitForSelector(`#log li:has-text("${text}")`);
}

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // Without the sandbox it runs as root too.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  const context = await browser.newContext();
  const here = await open(context);
  const there = await open(context);
  console.log(`open: ${await here.textContent('#state')}`);
  await likeIsSeen(here, there);
  await isHeard(here, there, 'Is the tide in yet?');
  await here.click('#import');
  await here.waitForSelector('#note:has-text("3 posts published")');
  await there.waitForSelector('[data-post="9"]');
  console.log('calls of each kind');

  const input = once(createInterface({ input: process.stdin }), 'line');
  console.log('RESTART');
  await input;
  for (const page of [here, there]) await page.waitForSelector('#state[data-state=open]');
  await likeIsSeen(here, there);
  await isHeard(there, here, 'Still there?');
  console.log('the same after a restart');
  console.log(faults.length === 0 ? 'PASS' : `FAIL ${faults.join('; ')}`);
} finally {
  await browser.close();
}
process.exit(faults.length === 0 ? 0 : 1);
