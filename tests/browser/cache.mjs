// Asks for the same twice in a real Chromium: what it keeps it asks about again, and gets it from its own cache.

import { chromium } from 'playwright-core';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium' } = process.env;

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // Without the sandbox it runs as root too.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  const page = await browser.newPage();
  await page.goto(`${BASE_URL}/p1/page`);
  for (const id of ['first', 'second']) {
    // No header of the cache's own is set here: Chromium adds If-None-Match by itself.
    const answer = await page.evaluate(async (id) => {
      const response = await fetch('/p1/kept', { headers: { 'x-request-id': id } });
      return `${response.status} ${await response.text()}`;
    }, id);
    console.log(`${id} ${answer}`);
  }
} finally {
  await browser.close();
}
