// Follows a finite event stream in a real Chromium, whose connections are cut again and again on the way.

import { chromium } from 'playwright-core';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium' } = process.env;

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // Without the sandbox it runs as root too.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  const page = await browser.newPage();
  await page.goto(`${BASE_URL}/-/openapi.json`);
  const told = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const numbers = [];
        let ends = 0;
        const source = new EventSource('/echo/down?count=2000');
        source.onmessage = (event) => {
          const { n = 0 } = JSON.parse(event.data);
          numbers.push(event.lastEventId === String(n) ? n : `${n} has the id ${event.lastEventId}`);
        };
        source.addEventListener('status', (event) => {
          if (JSON.parse(event.data).code === 0) ends += 1;
        });
        // It comes back after the end as after any other break, and is told to stay away.
        source.onerror = () => {
          if (source.readyState !== EventSource.CLOSED) return;
          const wrong = numbers.findIndex((n, place) => n !== place);
          resolve([
            wrong < 0
              ? `${numbers.length} events from 0 to ${numbers.at(-1)}, each once`
              : `event ${wrong} is ${numbers[wrong]}`,
            ends === 1 ? 'ended once' : `ended ${ends} times`,
            'closed',
          ]);
        };
      }),
  );
  told.forEach((line) => console.log(line));
} finally {
  await browser.close();
}
