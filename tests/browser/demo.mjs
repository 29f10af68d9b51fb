// Drives the demo page in a real Chromium: likes, live events, a chat, the table of proofs, and a backend that dies
// and comes back. README.md tells how it is started and what it says.

import { exec } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const { BASE_URL, SCREENSHOT, RESTART_COMMAND, CHROMIUM = '/usr/bin/chromium', TIMEOUT_MS = '20000' } = process.env;
const TIMEOUT = Number(TIMEOUT_MS);

/** What the page must prove by itself; compression is not here, because the gateway has none yet. */
const PROOFS = [
  'xhr.response', 'xhr.framing', 'xhr.binary', 'xhr.transport',
  'fetch.request', 'fetch.response', 'fetch.framing', 'fetch.binary', 'fetch.transport',
  'sse.response', 'sse.framing', 'sse.transport',
  'websocket.request', 'websocket.response', 'websocket.framing', 'websocket.binary', 'websocket.transport',
];

const faults = []; // what no page may do: uncaught exceptions, breaches of its own content security policy
let failed = 0;
let steps = 0;

async function step(name, run) {
  steps += 1;
  try {
    const note = await run();
    console.log(`ok ${steps} - ${name}${note ? ` (${note})` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${steps} - ${name}: ${String(error.message ?? error).split('\n')[0]}`);
  }
}

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

/** A tab of the page whose three connections are up. */
async function openTab(context, name) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  page.on('pageerror', (error) => faults.push(`${name}: ${error.message}`));
  page.on('console', (message) => {
    if (/content security policy/i.test(message.text())) faults.push(`${name}: ${message.text()}`);
  });
  await page.goto(BASE_URL);
  await page.waitForSelector('#live[data-state=live]');
  await page.waitForSelector('#socket[data-state=live]');
  await page.waitForSelector('[data-post="1"] .heart');
  return page;
}

const count = async (page, post) => Number(await page.textContent(`[data-post="${post}"] .count`));
const pressed = (page, post) => page.getAttribute(`[data-post="${post}"] .heart`, 'aria-pressed');
const toggle = (page, post) => page.click(`[data-post="${post}"] .heart`);

function countBecomes(page, post, likes) {
  const done = ([id, wanted]) => document.querySelector(`[data-post="${id}"] .count`)?.textContent === wanted;
  return page.waitForFunction(done, [post, String(likes)]);
}

/** Clicks a heart in one tab and waits for the count in the other. */
async function likeIsSeen(here, there, post) {
  const before = await count(there, post);
  const by = (await pressed(here, post)) === 'true' ? -1 : 1;
  await toggle(here, post);
  await countBecomes(there, post, before + by);
  await countBecomes(here, post, before + by);
  return `${before} to ${before + by}`;
}

async function say(page, text) {
  await page.fill('#chat-text', text);
  await page.click('#chat-form button');
}

const hears = (page, text) => page.waitForSelector(`#chat-log [data-kind=SAID] .text:text-is(${JSON.stringify(text)})`);

/** Notes every state of the live stream from now on. */
const noteStates = (page) => page.evaluate(() => {
  const live = document.getElementById('live');
  globalThis.states = [];
  new MutationObserver(() => globalThis.states.push(live.dataset.state)).observe(live, { attributeFilter: ['data-state'] });
});

/** Has the backend killed and started again: by a command, or by whoever reads our output. */
async function restartBackend() {
  if (RESTART_COMMAND) {
    await promisify(exec)(RESTART_COMMAND);
    return;
  }
  console.log('RESTART_BACKEND');
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === 'done') return;
  }
  throw new Error('standard input ended before it said "done"');
}

async function run(browser) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  let here;
  let there;
  await step('the page opens in two tabs and its streams are live', async () => {
    here = await openTab(context, 'first tab');
    there = await openTab(context, 'second tab');
    return here.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  });
  if (failed) return;

  await step('a like through fetch is seen in the other tab', async () => {
    const change = await likeIsSeen(here, there, 1);
    expect((await pressed(here, 1)) === 'true', 'the heart that was clicked is not pressed');
    expect((await pressed(there, 1)) === 'false', 'the heart of the other visitor is pressed');
    return change;
  });
  await step('a like through XMLHttpRequest is seen in the other tab', async () => {
    await here.check('input[name=via][value=xhr]', { force: true });
    const change = await likeIsSeen(here, there, 2);
    await here.waitForSelector('#calls tr[data-transport=xhr][data-end=ok]:has-text("/v1/posts/2:like")');
    return change;
  });
  await step('a like can be taken back', () => likeIsSeen(here, there, 2));
  await step('pictures are drawn', async () => {
    await here.waitForFunction(() => document.querySelector('.picture img')?.naturalWidth > 0);
  });
  await step('what is said in one tab is heard in the other, and the other way round', async () => {
    await say(here, 'Is the tide in yet?');
    await hears(there, 'Is the tide in yet?');
    await say(there, 'Nearly. Watch the hearts.');
    await hears(here, 'Nearly. Watch the hearts.');
  });
  await step('one request publishes three posts', async () => {
    await here.click('#import');
    await here.waitForFunction(() => /^3 posts published/.test(document.getElementById('import-note').textContent));
    await there.waitForSelector('[data-post="9"]');
  });
  await step('the page proves what each transport can do', async () => {
    await here.click('#prove');
    await here.waitForSelector('#prove:not([disabled])', { timeout: 4 * TIMEOUT });
    const cells = await here.$$eval('[data-cell]', (found) =>
      found.map((cell) => [cell.dataset.cell, cell.dataset.state, cell.querySelector('.evidence').textContent]));
    const missing = cells.filter(([cell, state]) => PROOFS.includes(cell) && state !== 'proven');
    expect(missing.length === 0, missing.map((cell) => cell.join(': ')).join('; '));
    return `${cells.filter(([, state]) => state === 'proven').length} of ${cells.length} cells`;
  });
  await step('an error is shown as the backend wrote it', async () => {
    await here.click('[data-trouble=fetch]');
    await here.waitForFunction(() => document.getElementById('trouble').textContent.includes('NOT_FOUND'));
    const shown = await here.textContent('#trouble');
    expect(shown.includes('POST_NOT_FOUND') && shown.includes('HTTP 404'), shown);
  });
  await step('a WebSocket that fails closes with the code of the error', async () => {
    await here.click('[data-trouble=websocket]');
    await here.waitForFunction(() => document.getElementById('trouble').textContent.includes('close frame 4003'));
  });
  if (SCREENSHOT) {
    await step('a picture of the page is taken', async () => {
      await here.evaluate(() => scrollTo(0, 0));
      await here.waitForFunction(() => document.getAnimations().every(({ playState }) => playState !== 'running'));
      await here.screenshot({ path: SCREENSHOT, fullPage: true });
      return SCREENSHOT;
    });
  }
  await step('EventSource and the chat come back by themselves after the backend was killed', async () => {
    await Promise.all([noteStates(here), noteStates(there)]);
    await restartBackend();
    for (const page of [here, there]) {
      await page.waitForFunction(() => globalThis.states.includes('reconnecting') && globalThis.states.at(-1) === 'live');
      await page.waitForSelector('#socket[data-state=live]');
    }
    // A refusal (503 while the backend is away) ends an EventSource for good; then the page has made a new one.
    const refused = await there.locator('#calls tr[data-transport=sse] td:last-child:text-is("refused")').count();
    return `${(await there.evaluate(() => globalThis.states)).join(', ')}; ${refused} refused`;
  });
  await step('a like is seen again after the restart', async () => {
    // The restarted backend has forgotten the like, and the page has noticed.
    await here.waitForSelector('[data-post="1"] .heart[aria-pressed=false]');
    return likeIsSeen(here, there, 1);
  });
  await step('the chat is heard again after the restart', async () => {
    await say(here, 'Still there?');
    await hears(there, 'Still there?');
  });
  await step('the page threw no exception and kept to its policy', () => expect(faults.length === 0, faults.join('; ')));
}

if (!BASE_URL) {
  console.error('BASE_URL is not set: the address of the demo page, as https://127.0.0.1:8443/');
  process.exit(2);
}
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // Without the sandbox it runs as root too; the local network checks would refuse calls to the loopback address.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-features=LocalNetworkAccessChecks'],
});
try {
  await run(browser);
} finally {
  await browser.close();
}
console.log(failed === 0 ? `PASS ${steps} steps` : `FAIL ${failed} of ${steps} steps`);
process.exit(failed === 0 ? 0 : 1);
